// Model files into other model files, and what is in them.
import type { BitNetModel, Isa, LoadProgress, QuantType } from '../../index.js';

/** What the ternary weights of a model become: a packing in a GGUF file, or `hf`, packed uint8 in a Hugging Face folder. */
export type OutputType = QuantType | 'hf';

/** Options of `convert()`. */
export interface ConvertOptions {
  /** @default i2_s where the name of the output ends in .gguf, else hf */
  type?: OutputType;
  /** Type of embedding and head; q8_0 and q6_k in GGUF only. @default what they are */
  embeddingType?: 'f32' | 'f16' | 'bf16' | 'q8_0' | 'q6_k';
  /** CPU threads, 1 to 256. @default one per processor */
  threads?: number;
  /** Block order of the input's I2_S tensors. @default what a file of this package says, else 'x86' */
  i2sLayout?: 'x86' | 'arm';
  /** Block order of I2_S tensors that are written: 'arm' for builds of bitnet.cpp for ARM64 since November 2025. @default 'x86' */
  outputI2sLayout?: 'x86' | 'arm';
  /** The `kernel_config.ini` with tile sizes of TL1 and TL2 tensors, of input and output. @default the one beside the input, if there is one */
  kernelConfig?: string;
  /** Stops the conversion with an AbortError; nothing is left of it. */
  signal?: AbortSignal;
  /** Alias of `signal`. */
  abortSignal?: AbortSignal;
  /** Called for each tensor, with phase `convert`. */
  onProgress?: (progress: LoadProgress) => void;
}

/** What `convert()` made. */
export interface ConvertedModel {
  /** File or folder. */
  path: string;
  /** Bytes of its tensors. */
  bytes: number;
  tensors: number;
  /** What the ternary weights are stored as; absent where there are none. */
  type?: OutputType;
  /** As the output names it. */
  architecture: string;
  /** What the output has no place for, in words. */
  losses: string[];
  seconds: number;
}

/** What `inspect()` tells of a model file. */
export interface Inspection {
  /** As it was given. */
  path: string;
  format: 'gguf' | 'huggingface';
  /** As the file names it; empty where it does not. */
  architecture: string;
  /** Why the engine cannot load it, if it cannot. */
  problem?: string;
  parameters: number;
  ternaryParameters: number;
  /** Bytes of all tensors. */
  bytes: number;
  /** Over all weights, and over the ternary ones. */
  bitsPerWeight: number;
  ternaryBitsPerWeight?: number;
  /** Tensors of each type. */
  types: Record<string, number>;
  /** `shape` is rows first; of packed weights in a folder, that of the bytes. */
  tensors: { name: string; dtype: string; shape: number[]; bytes: number }[];
  layers?: number;
  embeddingSize?: number;
  feedForwardSize?: number;
  heads?: number;
  kvHeads?: number;
  vocabSize?: number;
  /** The limit of the model, in tokens. */
  contextLength?: number;
  /** Tokens that `memory` is for. */
  contextSize: number;
  /** Bytes once it is loaded: weights of its own at most, dense ones that stay in the file, keys and values of the whole context. */
  memory: { weightsBytes: number; mappedBytes: number; kvBytes: number };
  tokenizer?: { kind: string; preTokenizer?: string; tokens: number };
  hasChatTemplate: boolean;
  /** Instruction set that this machine would run it with, and how it multiplies its projections. */
  isa: Isa;
  kernel: string;
}

/** Options of `quantize()`: those of `convert()`, and two of its own. */
export interface QuantizeOptions extends ConvertOptions {
  /** true: round a model that was not trained for ternary weights, which ruins it. @default false */
  force?: boolean;
  /** Text of the perplexities. @default a few sentences */
  text?: string;
}

/** A perplexity with its interval of 95 %. */
export interface MeasuredPerplexity { perplexity: number; low: number; high: number; nll: number; tokens: number }

/** What `quantize()` made. */
export interface QuantizedModel extends Omit<ConvertedModel, 'seconds'> {
  /** Whether the model was trained for ternary weights. */
  isTrained: boolean;
  /** How well it predicts the text with its own weights, and with those of the output. */
  before: MeasuredPerplexity;
  after: MeasuredPerplexity;
}

/** Options of `verify()`. */
export interface VerifyOptions {
  /** Text whose logits are compared, its first 256 tokens. @default a few sentences */
  text?: string;
  /** false: compare the weights only; neither model is loaded. @default true */
  logits?: boolean;
  /** Block order of the first model's I2_S tensors. @default what a file of this package says, else 'x86' */
  firstI2sLayout?: 'x86' | 'arm';
  /** The same of the second. */
  secondI2sLayout?: 'x86' | 'arm';
  /** The `kernel_config.ini` with tile sizes of TL1 and TL2 tensors. @default the one beside each model, if there is one */
  kernelConfig?: string;
  signal?: AbortSignal;
  /** Alias of `signal`. */
  abortSignal?: AbortSignal;
  /** Called for each tensor, with phase `verify`; counts tensors, not bytes. */
  onProgress?: (progress: LoadProgress) => void;
}

/** What `verify()` found. */
export interface Verification {
  /** Whether all weights and all logits are equal. */
  same: boolean;
  /** Tensors that both have. */
  compared: number;
  /** `largest`: the largest difference of two of their numbers. */
  differences: { name: string; what: string; largest?: number }[];
  /** `largest`: the largest difference; `sameTop`: places where the likeliest token is the same; `sameTokens`: of the text. */
  logits?: { tokens: number; largest: number; sameTop: number; sameTokens: boolean };
}

/**
 * Converts a model, streaming; the output is there whole or not at all. Gives the same logits, bit for bit. Models are files or folders here
 * and below, `'demo'`, or ids of models that are on this machine.
 */
export function convert(input: string, output: string, options?: ConvertOptions): Promise<ConvertedModel>;
/**
 * Tells what a model file or folder holds, without loading it. `path` may also be the URL of a .gguf file, of a folder, or of a model's page, or the
 * id of a model that is not here: headers are fetched by ranges, weights are not.
 */
export function inspect(path: string, options?: { contextSize?: number; signal?: AbortSignal }): Promise<Inspection>;
/** Rounds full-precision weights to ternary ones, and measures the perplexity before and after. A model not trained for it is refused without `force`. */
export function quantize(input: string, output: string, options?: QuantizeOptions): Promise<QuantizedModel>;
/** Tells whether two model files hold the same weights, and how far their logits over a text are apart. */
export function verify(first: string, second: string, options?: VerifyOptions): Promise<Verification>;
/**
 * How well a model predicts a text of any length, in windows (512 tokens) that overlap by half; `low` and `high`: the interval of 95 %.
 * `state`: a file that keeps how far it is; the same call goes on from there.
 */
export function measurePerplexity(
  model: Pick<BitNetModel, 'tokenize' | 'perplexity' | 'info'>,
  text: string,
  options?: { window?: number; state?: string; signal?: AbortSignal; onProgress?: (now: { done: number; total: number; perplexity: number; low: number; high: number }) => void },
): Promise<MeasuredPerplexity>;
