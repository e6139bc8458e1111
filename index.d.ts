// Public types of llm-runner-router. Every option says its unit, range and default; the checks at run time are in lib/options.js.
/// <reference types="node" />
import { EventEmitter } from 'node:events';
import type { CallAliases, LoadAliases, SamplingAliases } from './lib/types/aliases.js';
import type {
  AdvancedCall, Chat, ChatOptions, ChatReply, Config, EnsembleMember, EnsembleOptions, EnsembleResult,
} from './lib/types/chat.js';
import type { ModelRegistry, Pipeline, Router } from './lib/types/parts.js';
import type { RemoteLoadOptions, RemoteLoadSpec, RemoteModel } from './lib/types/remote.js';
import type {
  AnyModel, ModelStatus, Price, RoutedResult, RouteOptions, RouterEvents, Strategy, StrategyName,
} from './lib/types/routing.js';

export * from './lib/types/chat.js';
export * from './lib/types/parts.js';
export * from './lib/types/remote.js';
export type * from './lib/types/routing.js';

/** One message of a chat. `content` may also be an array of parts where the chat template of the model takes that. */
export interface ChatMessage {
  role: 'system' | 'user' | 'assistant' | (string & {});
  content: unknown;
  [key: string]: unknown;
}

export type Prompt = string | ChatMessage[];
export type Isa = 'scalar' | 'avx2' | 'avxvnni' | 'avx512vnni' | 'avx512vbmi' | 'neon';
export type Speculation = 'auto' | 'off';
export type QuantType = 'i2_s' | 'tl1' | 'tl2';

/** How tokens are chosen. Given to `load()` they are the defaults of the model, given to a call they win over those. */
export interface SamplingOptions extends SamplingAliases {
  /** 0 (greedy: the likeliest token) to 100. @default what the model recommends, else 0.8 */
  temperature?: number;
  /** Choose among the k likeliest tokens; 0 = among all. @default what the model recommends, else 40 */
  topK?: number;
  /** Choose among the likeliest tokens that together reach this probability; above 0, 1 = all. @default what the model recommends, else 0.95 */
  topP?: number;
  /** Leave out tokens below this share of the likeliest one's probability; 0 to 1. @default 0 */
  minP?: number;
  /** Divides the logits of tokens that occurred; 0.01 to 10, 1 = off. @default 1 */
  repetitionPenalty?: number;
  /** Taken off a token's logit each time that it is in the answer; -2 to 2. @default 0 */
  frequencyPenalty?: number;
  /** Taken off a token's logit once it is in the answer; -2 to 2. @default 0 */
  presencePenalty?: number;
  /** 0 to 2^53 - 1. The same seed gives the same text on every machine. @default random, told in the result */
  seed?: number;
}

export interface LoadProgress {
  phase: 'download' | 'open' | 'weights' | 'tokenizer' | 'ready';
  /** Bytes of this phase; of a download, those of all files. */
  loadedBytes: number;
  totalBytes: number;
  /** Of a download: the file that is being fetched. `waiting`: another process is fetching it. */
  file?: { name: string; loadedBytes: number; totalBytes: number; waiting: boolean };
}

/** Options of `downloadModel()`. */
export interface DownloadOptions {
  /** Branch, tag or commit. @default main */
  revision?: string;
  /** Stops the download with an AbortError; what has arrived is kept. */
  signal?: AbortSignal;
  /** Alias of `signal`. */
  abortSignal?: AbortSignal;
  /** Called about ten times a second. */
  onProgress?: (progress: LoadProgress) => void;
}

/** Options of `load()`. */
export interface LoadOptions extends SamplingOptions, LoadAliases {
  /** Which loader: `bitnet`, `gguf`, `mock` or one of your own. @default read from the file or folder */
  type?: string;
  /** Which file of several: `i2_s` on every processor, `tl1` on ARM64, `tl2` on x86_64. @default i2_s, else what is there */
  quantType?: QuantType;
  /** Id of the model in the router; a model of the same id is replaced. @default made up, unique */
  id?: string;
  /** Name shown in results. @default the last part of the source */
  name?: string;
  /** CPU threads, 1 to 256. @default the physical cores that the process may use */
  threads?: number;
  /** Tokens of prompt and answer together, at least 1; above the limit of the model that limit is used, with a warning. @default the limit of the model */
  contextSize?: number;
  /** Kernel to compute with; one that the machine lacks is refused. Wins over LLM_RUNNER_ISA. @default the best there is */
  isa?: Isa;
  /**
   * How logits are computed; they are the same either way. 'auto': where only the largest ones count, they are found through a rounded copy of
   * a large output head, which takes 8 bits a weight in memory. 'full': the whole head for every token, slower, without that copy. @default 'auto'
   */
  head?: 'auto' | 'full';
  /** There is no GPU back-end: above 0 warns once (LLM_ROUTER_NO_GPU) and runs on the CPU. @default 0 */
  gpuLayers?: number;
  /** Speculation of calls that do not say. @default 'auto' */
  speculation?: Speculation;
  /**
   * A matrix that is all zero fails the load with `MODEL_SELFTEST_FAILED`, for it is a sign of a damaged file. true: the model also writes
   * a few tokens, which must be numbers and not one and the same; false: no test. @default that of the matrices only
   */
  selfTest?: boolean;
  /** Keep the turns: the next prompt sees the answers before it. @default false */
  conversation?: boolean;
  /** true: build the native engine if it is missing (in a checkout). @default as the loader */
  autoBuild?: boolean;
  /** Branch, tag or commit of a Hugging Face id. @default what is in the cache, else main */
  revision?: string;
  /** Fetch nothing: a model that is not on the disk is not found. Wins over HF_HUB_OFFLINE. @default as the loader or router, else HF_HUB_OFFLINE */
  offline?: boolean;
  /** Stops the load with an AbortError; what was downloaded is kept. */
  signal?: AbortSignal;
  /** Alias of `signal`. */
  abortSignal?: AbortSignal;
  /** Called while files are fetched and weights are read. */
  onProgress?: (progress: LoadProgress) => void;
}

/** Options of `load()` that only a router reads. */
export interface RegisterOptions {
  /** How good the answers are, 0 to 1, for `quality-first` and `balanced`. @default assumed from the number of parameters */
  quality?: number;
  /** What the model costs, for `cost-optimized`, `balanced` and `maxPrice`. @default nothing */
  price?: Price;
}

export interface LoadSpec extends LoadOptions {
  /** A file, a folder, a model id (`owner/name`, or `owner/name/file.gguf`), `demo`, or any of these behind `bitnet:`. */
  source: string;
}

/** Options of one call on a model. */
export interface GenerateOptions extends SamplingOptions, CallAliases {
  /** Most tokens of the answer, at least 1. @default 128 */
  maxTokens?: number;
  /** The answer ends before the first of these. */
  stop?: string | string[];
  /** Go on past the end token of the model. @default false */
  ignoreEos?: boolean;
  /** Complete the text as it stands, without the chat template. @default false */
  raw?: boolean;
  /** The whole chat, in place of a prompt. */
  messages?: ChatMessage[];
  /** System message before the prompt. */
  systemPrompt?: string;
  /** Text around the prompt, which stands for `{prompt}`. */
  template?: string;
  /**
   * A context that is full: `error` refuses a prompt that does not fit, `truncate` drops its oldest tokens, `shift` drops the oldest
   * tokens whenever the context is full. @default error
   */
  contextOverflow?: 'error' | 'shift' | 'truncate';
  /**
   * `auto`: where the text repeats itself, what followed the last time is computed along with the next token, and kept if it is
   * what would have been chosen. The text is the same, sooner. @default as the model was loaded
   */
  speculation?: Speculation;
  /** Stops the call with an AbortError. */
  signal?: AbortSignal;
  /**
   * Measure the energy of the call: `usage.joules` of the result. The counters are the machine's, so other work at the same time is
   * in the figure. @default false
   */
  energy?: boolean;
  /** Called with each piece of text. */
  onToken?: (text: string) => void;
}

/** A call as one object. */
export type CallSpec = RouteOptions & ({ prompt: Prompt } | { messages: ChatMessage[] });

export interface Usage {
  promptTokens: number;
  /** Of these, tokens that an earlier call had already been through. */
  cachedTokens: number;
  completionTokens: number;
  totalTokens: number;
  /**
   * With the option `energy`: joules that the processor packages and their memory took from the call to its end (Linux powercap,
   * RAPL); null where the machine has no such counters or keeps them from this user.
   */
  joules?: number | null;
  /** Tokens guessed ahead and computed beside others; up to the speed of the machine, so it may differ from run to run. */
  draftedTokens: number;
  /** Of these, tokens that were right: each saved a step. */
  acceptedTokens: number;
}

/** Milliseconds of wall clock. */
export interface Timings {
  queueMs: number;
  prefillMs: number;
  decodeMs: number;
  /** From the call to its first token. */
  ttftMs: number;
}

export interface GenerateResult {
  /** The completion only. */
  text: string;
  /** How many tokens were made. */
  tokens: number;
  /** Milliseconds from the call to its end. */
  latency: number;
  /** Name of the model. */
  model: string;
  modelId: string;
  /** True when the answer came from the response cache. */
  cached: boolean;
  /** The last two come from remote models only. */
  finishReason: 'stop' | 'length' | 'content_filter' | 'tool_calls';
  usage: Usage;
  timings: Timings;
  performance: { tokensPerSecond: number };
  /** With this seed the same call gives the same text. */
  seed: number;
  /** The tokens made, the end token included. */
  tokenIds: number[];
}

/** Text as it is made: iterate it once, or await `result`. */
export class TextStream<Result = GenerateResult> implements AsyncIterableIterator<string>, AsyncDisposable {
  /** The result of `generate()`, at the end. Fails with what ended the stream early. */
  readonly result: Promise<Result>;
  /** Reads the stream to its end. */
  readToEnd(): Promise<Result>;
  /** True once the stream has ended in whatever way. */
  readonly settled: boolean;
  /** Stops the engine; the iterator and `result` fail with an AbortError whose cause is `reason`. */
  abort(reason?: unknown): void;
  next(): Promise<IteratorResult<string, undefined>>;
  return(value?: unknown): Promise<IteratorResult<string, undefined>>;
  [Symbol.asyncIterator](): this;
  [Symbol.asyncDispose](): Promise<void>;
  toReadableStream(): ReadableStream<string>;
}

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
  resetConversation(): void;
  generate(prompt: Prompt, options?: GenerateOptions): Promise<GenerateResult>;
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
  /** Logits `[vocab]` after the last id, or with `all` `[ids.length * vocab]`. */
  forward(ids: Iterable<number>, options?: { all?: boolean }): Promise<Float32Array>;
  /**
   * `nll`: mean negative log-likelihood of a token, in nats; `tokenNll`: that of each token but the first; `tokens`: tokens of the text,
   * the first included.
   */
  perplexity(text: string): Promise<{ perplexity: number; nll: number; tokens: number; tokenNll: number[] }>;
  info(): ModelInfo;
  getInfo(): object;
  supports(capability: string): boolean;
  toJSON(): object;
  /** True while it answers. */
  readonly busy: boolean;
  /** Bytes of weights, keys and values; models with the same key share them. Undefined once it is unloaded. */
  readonly usage: { key: string; bytes: number } | undefined;
  /** Ends what runs on it and frees its memory, unless another model shares it. A second call does nothing. */
  unload(): Promise<void>;
  cleanup(): Promise<void>;
  dispose(): Promise<void>;
}

export interface RouterOptions {
  /** Searched first for `models/<name>/`. @default LLM_RUNNER_BITNET_PATH, ./temp/bitnet-repo, then the same in the package */
  bitnetPath?: string;
  /** How a model is chosen when a call names none: a name, or a function of your own. @default 'balanced' */
  strategy?: StrategyName | Strategy;
  /** Alias of `strategy`. */
  routingStrategy?: StrategyName | Strategy;
  /** For calls that name none: see RouteOptions. @default none */
  fallbacks?: string[] | true;
  /** For calls that say nothing else: see RouteOptions. */
  retries?: number;
  /** Alias of `retries`. */
  maxRetries?: number;
  /** For calls that say nothing else, ms: see RouteOptions. @default none */
  timeout?: number;
  /** Calls that one model answers at a time; the others wait. A stream that is neither read nor left keeps its place. @default 64 */
  maxConcurrent?: number;
  /** Calls that may wait for one model; more are refused with `QUEUE_FULL`. @default 256 */
  maxQueue?: number;
  /** Failures in a row after which a model is left alone; 0: never. Errors of the caller do not count. @default 5 */
  breakerFailures?: number;
  /** For how long it is left alone the first time, ms; each further time twice as long. @default 30000 */
  breakerCooldown?: number;
  /**
   * Bytes that all models of the router may take: weights, keys and values. A model that does not fit has the least recently used idle
   * models unloaded, or is refused with `INSUFFICIENT_MEMORY` before it is read. @default four fifths of the machine or control group
   */
  maxMemory?: number;
  /** File that keeps the list of models; they are loaded when a call names them. @default none */
  registryPath?: string;
  /** Most models held; the least recently used idle one is unloaded. @default 100 */
  maxModels?: number;
  /** Cache greedy and seeded answers. @default false */
  cache?: boolean;
  /** Lifetime of cached answers, ms. @default 3600000 */
  cacheTTL?: number;
  /** false: `load()` does not initialize by itself. @default true */
  autoInit?: boolean;
  /** Fetch nothing. Wins over HF_HUB_OFFLINE. @default HF_HUB_OFFLINE */
  offline?: boolean;
}

/** A loader of your own. */
export interface Loader {
  load(spec: LoadSpec): Promise<LoadedModel>;
}

/** What a loader gives: at least an id and generate(). */
export interface LoadedModel {
  id: string;
  generate(prompt: Prompt, options?: object): Promise<unknown>;
  stream?(prompt: Prompt, options?: object): AsyncIterable<unknown> | Promise<AsyncIterable<unknown>>;
  unload?(): Promise<void>;
  [key: string]: unknown;
}

/** Loads models and sends each call to one of them. */
export class LLMRouter extends EventEmitter<RouterEvents> implements AsyncDisposable {
  constructor(options?: RouterOptions | Config);
  readonly initialized: boolean;
  readonly registry: ModelRegistry;
  readonly router: Router;
  readonly pipeline: Pipeline;
  readonly loaders: Map<string, Loader>;
  initialize(): Promise<void>;
  registerLoader(format: string, loader: Loader): void;
  /** A model behind an endpoint. */
  load(spec: RemoteLoadSpec & { type: 'openai' | 'ollama' } & RegisterOptions): Promise<RemoteModel>;
  load(source: `openai:${string}` | `ollama:${string}`, options?: RemoteLoadOptions & RegisterOptions): Promise<RemoteModel>;
  load(source: string, options?: LoadOptions & RegisterOptions): Promise<BitNetModel>;
  load(spec: LoadSpec & RegisterOptions): Promise<BitNetModel>;
  generate(prompt: Prompt, options?: RouteOptions): Promise<RoutedResult>;
  generate(model: AnyModel, prompt: Prompt, options?: RouteOptions): Promise<RoutedResult>;
  generate(modelId: string, prompt: Prompt, options?: RouteOptions): Promise<RoutedResult>;
  generate(call: CallSpec): Promise<RoutedResult>;
  stream(prompt: Prompt, options?: RouteOptions): TextStream<RoutedResult>;
  stream(model: AnyModel, prompt: Prompt, options?: RouteOptions): TextStream<RoutedResult>;
  stream(modelId: string, prompt: Prompt, options?: RouteOptions): TextStream<RoutedResult>;
  stream(call: CallSpec): TextStream<RoutedResult>;
  quick(prompt: Prompt, options?: RouteOptions): Promise<RoutedResult>;
  /** One call as one object; with `stream: true` it resolves to the stream. */
  advanced(call: AdvancedCall & { stream?: false }): Promise<RoutedResult>;
  advanced(call: AdvancedCall & { stream: true }): Promise<TextStream<RoutedResult>>;
  /** Asks several models side by side and makes one answer of theirs. A member that fails has no vote. */
  ensemble(models: EnsembleMember[], prompt: Prompt, options?: EnsembleOptions): Promise<EnsembleResult>;
  /** A conversation. */
  chat(options?: ChatOptions): Chat;
  /** One answer to messages. */
  chat(messages: ChatMessage[], options?: RouteOptions): Promise<ChatReply>;
  /** Changes how models are chosen from now on. */
  setStrategy(strategy: StrategyName | (string & {}) | Strategy): void;
  /** Gives a strategy of your own a name. */
  addStrategy(name: string, strategy: Strategy): void;
  unload(modelId: string): Promise<boolean>;
  getStatus(): RouterStatus;
  detectEnvironment(): Environment;
  cleanup(): Promise<void>;
  /** cleanup() under its other name. */
  dispose(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export type Environment = 'node' | 'worker' | 'bun' | 'deno';
export function detectEnvironment(): Environment;

export interface RouterStatus {
  initialized: boolean;
  engine?: string;
  strategy: string | Strategy;
  modelsLoaded: number;
  models: ModelStatus[];
  environment: Environment;
  /** The budget of `maxMemory`, and what the models take of it. */
  memory: { maxBytes: number; usedBytes: number };
  memoryUsage: NodeJS.MemoryUsage;
}
export default LLMRouter;

export class BaseLoader extends EventEmitter {
  constructor(config?: object);
  supportedFormats: string[];
  supportsFormat(format: string): boolean;
  getCapabilities(): { streaming: boolean; quantization: boolean; gpu: boolean; formats: string[] };
  unload(): Promise<unknown>;
}

export interface BitNetLoaderOptions {
  /** Searched first for `models/<name>/`. @default as `RouterOptions.bitnetPath` */
  bitnetPath?: string;
  /** true: build the native engine if it is missing (in a checkout); false: fail at once. @default fail, naming the cure */
  autoBuild?: boolean;
  /** Fetch nothing. Wins over HF_HUB_OFFLINE. @default HF_HUB_OFFLINE */
  offline?: boolean;
}

/** Loads models; generate() and stream() use the one loaded last. */
export class BitNetLoader extends BaseLoader {
  constructor(options?: BitNetLoaderOptions);
  static listAvailableModels(): Promise<{ official: string[]; community: string[] }>;
  readonly bitnetPath: string;
  readonly buildDir: string;
  readonly modelDir: string;
  readonly supportedQuantTypes: QuantType[];
  readonly isReady: boolean;
  load(source: string, options?: LoadOptions): Promise<BitNetModel>;
  load(spec: LoadSpec): Promise<BitNetModel>;
  generate(prompt: Prompt, options?: GenerateOptions): Promise<GenerateResult & { raw: string; config: BitNetModel['config'] }>;
  stream(prompt: Prompt, options?: GenerateOptions): TextStream;
  getModelInfo(): Promise<{ type: 'bitnet'; format: 'gguf'; quantization: string; path: string; config: BitNetModel['config'] }>;
  checkBitNetInstallation(): Promise<boolean>;
  getCliPath(): string;
  buildBitNet(): Promise<void>;
  /** Path of a model: in a BitNet folder where it is there, else in the Hugging Face cache, which gets what it lacks. */
  downloadModel(modelId: string, quantType?: QuantType, options?: DownloadOptions): Promise<string>;
  /** Always rejects with `UNSUPPORTED_FORMAT`: load() takes Hugging Face folders as they are. */
  convertModel(modelPath: string, outputPath: string, quantType?: QuantType): Promise<string>;
}

/** Answers with fixed sentences, for tests of programs around a model. */
export class MockLoader extends BaseLoader implements Loader {
  load(source: string, options?: object): Promise<LoadedModel>;
  load(spec: object): Promise<LoadedModel>;
  generate(prompt: Prompt, options?: object): Promise<unknown>;
  stream(prompt: Prompt, options?: object): AsyncIterable<string>;
  canLoad(source: unknown): boolean;
}

/** Codes are listed in docs/errors.md. */
export class ModelError extends Error {
  constructor(message: string, code?: string, details?: object, options?: { cause?: unknown });
  readonly code: string;
  readonly details: Record<string, unknown>;
  /** True when the same call may succeed later. */
  readonly retryable: boolean;
  /** ISO 8601. */
  readonly timestamp: string;
}
export { ModelError as LlmError };

/** Code `ABORTED`; `cause` is the reason given to the signal. */
export class AbortError extends ModelError {
  constructor(reason?: unknown, partialText?: string);
  /** What had been generated until then. */
  readonly partialText: string;
}

// The same calls on one router that the package keeps.
export function initialize(): Promise<void>;
export const load: LLMRouter['load'];
export const generate: LLMRouter['generate'];
export const stream: LLMRouter['stream'];
export const quick: LLMRouter['quick'];
export const advanced: LLMRouter['advanced'];
export const ensemble: LLMRouter['ensemble'];
export const chat: LLMRouter['chat'];
export const unload: LLMRouter['unload'];
export const getStatus: LLMRouter['getStatus'];
export const cleanup: LLMRouter['cleanup'];
