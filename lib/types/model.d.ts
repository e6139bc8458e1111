// Models that the native engine has loaded.
import type { ChatMessage, GenerateOptions, GenerateResult, Isa, Prompt, QuantType, SamplingOptions, TextStream } from './call.js';

/** What is loaded and how it runs. */
export interface ModelInfo {
  id: string;
  name: string;
  path: string;
  /** As the model file names it. */
  architecture: string;
  parameters: number;
  ternaryParameters: number;
  bitsPerWeight: number;
  weightTypes: string;
  /** Bytes of weights that a decoded token reads. */
  weightBytesPerToken: number;
  /** 'searched': the largest logits are found through a rounded copy of the output head, exactly; all others by the whole head. */
  head: 'searched' | 'full';
  vocabSize: number;
  layers: number;
  embeddingSize: number;
  /** The limit of the model, in tokens. */
  contextLength: number;
  /** The limit in force, in tokens. */
  contextSize: number;
  hasChatTemplate: boolean;
  /** Made to turn texts into vectors: see `embed()`. */
  embeds: boolean;
  /** Kernel in use. */
  isa: Isa;
  threads: number;
  /** Always 0: there is no GPU back-end. */
  gpuLayers: number;
  /** Bytes. */
  memory: { weightsBytes: number; mappedBytes: number; kvBytes: number };
}

/** What a model has done so far; times in ms. */
export interface ModelMetrics {
  loadTime: number;
  inferenceCount: number;
  totalTokens: number;
  avgLatency: number;
  lastUsed: Date | null;
}

/** A model loaded by the native engine. */
export interface BitNetModel extends AsyncDisposable {
  readonly id: string;
  readonly name: string;
  readonly type: 'bitnet';
  readonly format: 'bitnet';
  readonly source: string;
  readonly path: string;
  readonly quantType?: QuantType;
  /** `1.58-bit`, or the weight types of a model that is not ternary. */
  readonly quantization: string;
  readonly architecture: string;
  readonly parameters: { size: number };
  readonly config: SamplingOptions & { path: string; threads: number; contextSize: number; gpuLayers: number };
  readonly loaded: boolean;
  readonly capabilities: Record<string, boolean>;
  readonly metrics: ModelMetrics;
  /** True with the load option `conversation`. */
  readonly conversation: boolean;
  /** The turns kept so far (a copy). */
  readonly turns: ChatMessage[];
  /** Forgets the turns. */
  resetConversation(): void;
  /** The whole answer to a prompt. */
  generate(prompt: Prompt, options?: GenerateOptions): Promise<GenerateResult>;
  /** The answer to a prompt as it is made. */
  stream(prompt: Prompt, options?: GenerateOptions): TextStream;
  /** `addSpecial`: also the tokens that the tokenizer puts around every text. @default true */
  tokenize(text: string, options?: { addSpecial?: boolean }): number[];
  /** `skipSpecial`: leave special tokens out. @default true */
  detokenize(ids: Iterable<number>, options?: { skipSpecial?: boolean }): string;
  /** Further keys reach the template: `tools`, `documents`, ... */
  applyChatTemplate(messages: ChatMessage[], options?: { addGenerationPrompt?: boolean; [key: string]: unknown }): string;
  /**
   * One vector a text, `[embeddingSize]`, in the order of the texts: the last token's hidden state behind the final norm, divided by its
   * length, so that the dot product of two vectors is their cosine. Many texts share a pass. Meant for models whose `info().embeds` is
   * true; others, made to generate, give vectors that tell less.
   */
  embed(texts: readonly string[], options?: { signal?: AbortSignal }): Promise<Float32Array[]>;
  /**
   * Writes the keys and values that are kept of a chat to a file, with a checksum; resolves to its number of tokens, 0 (and no file) where
   * nothing is kept or the model has no chat template.
   */
  saveContext(messages: ChatMessage[], file: string): Promise<number>;
  /**
   * Reads such a file, so that a chat of the same beginning goes on without computing it again; resolves to the number of tokens. A file
   * that is not there, damaged, or of another model (its beginning is computed again and compared) gives 0 and does no harm.
   */
  loadContext(file: string): Promise<number>;
  /** Logits `[vocab]` after the last id, or with `all` `[ids.length * vocab]`. */
  forward(ids: Iterable<number>, options?: { all?: boolean }): Promise<Float32Array>;
  /**
   * `nll`: mean negative log-likelihood of a token, in nats; `tokenNll`: that of each token but the first; `tokens`: tokens of the text,
   * the first included.
   */
  perplexity(text: string | Iterable<number>): Promise<{ perplexity: number; nll: number; tokens: number; tokenNll: number[] }>;
  /** What is loaded and how it runs. */
  info(): ModelInfo;
  /** Names, format, capabilities and metrics as plain data. */
  getInfo(): object;
  /** Whether it has a capability. */
  supports(capability: string): boolean;
  /** Names and source as plain data. */
  toJSON(): object;
  /** True while it answers. */
  readonly busy: boolean;
  /** Bytes of weights, keys and values; models with the same key share them. Undefined once it is unloaded. */
  readonly usage: { key: string; bytes: number } | undefined;
  /** Ends what runs on it and frees its memory, unless another model shares it. A second call does nothing. */
  unload(): Promise<void>;
  /** `unload()` under its other name. */
  cleanup(): Promise<void>;
  /** `unload()` under its other name. */
  dispose(): Promise<void>;
}
