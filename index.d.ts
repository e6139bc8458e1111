// Public types of llm-runner-router. Every option says its unit, range and default; the checks at run time are in lib/options.js.
/// <reference types="node" />
import { EventEmitter } from 'node:events';
import type { ChatMessage, GenerateOptions, GenerateResult, Prompt, QuantType, TextStream } from './lib/types/call.js';
import type {
  AdvancedCall, Chat, ChatOptions, ChatReply, Config, EnsembleMember, EnsembleOptions, EnsembleResult,
} from './lib/types/chat.js';
import type { DownloadOptions, LoadOptions, LoadSpec, RegisterOptions } from './lib/types/load.js';
import type { BitNetModel } from './lib/types/model.js';
import type { ModelRegistry, Pipeline, Router } from './lib/types/parts.js';
import type { RemoteLoadOptions, RemoteLoadSpec, RemoteModel } from './lib/types/remote.js';
import type {
  AnyModel, ModelStatus, RoutedResult, RouteOptions, RouterEvents, Strategy, StrategyName,
} from './lib/types/routing.js';

export type * from './lib/types/answer.js';
export * from './lib/types/call.js';
export * from './lib/types/chat.js';
export * from './lib/types/convert.js';
export type * from './lib/types/load.js';
export type * from './lib/types/model.js';
export * from './lib/types/parts.js';
export * from './lib/types/remote.js';
export type * from './lib/types/routing.js';

/** A call as one object. */
export type CallSpec = RouteOptions & ({ prompt: Prompt } | { messages: ChatMessage[] });

/** Options of `new LLMRouter()`. */
export interface RouterOptions {
  /** Searched first for `models/<name>/`. @default LLM_RUNNER_BITNET_PATH, ./temp/bitnet-repo, then the same in the package */
  bitnetPath?: string;
  /** `cacheDir` of loads that name none. */
  cacheDir?: string;
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
   * models unloaded, or is refused with `INSUFFICIENT_MEMORY` before it is read. Where keys and values grow beyond what the weights leave,
   * what is kept of finished calls is given up, calls wait, and at last the newest one fails with `INSUFFICIENT_MEMORY`. @default four fifths of the machine or control group
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
  /** Loads a model. */
  load(spec: LoadSpec): Promise<LoadedModel>;
}

/** What a loader gives: at least an id and generate(). */
export interface LoadedModel {
  id: string;
  /** Answers a prompt: a text, or an object with one. */
  generate(prompt: Prompt, options?: object): Promise<unknown>;
  /** The same piece by piece. */
  stream?(prompt: Prompt, options?: object): AsyncIterable<unknown> | Promise<AsyncIterable<unknown>>;
  /** Frees it. */
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
  /** Registers the loaders; `load()` does it by itself. A second call does nothing. */
  initialize(): Promise<void>;
  /** Adds a loader of your own for a format. */
  registerLoader(format: string, loader: Loader): void;
  /** A model behind an endpoint. */
  load(spec: RemoteLoadSpec & { type: 'openai' | 'ollama' } & RegisterOptions): Promise<RemoteModel>;
  /** The same by its name behind the name of an API. */
  load(source: `openai:${string}` | `ollama:${string}`, options?: RemoteLoadOptions & RegisterOptions): Promise<RemoteModel>;
  /** Loads a model from a file, a folder or an id, `demo` among them. */
  load(source: string, options?: LoadOptions & RegisterOptions): Promise<BitNetModel>;
  /** The same as one object. */
  load(spec: LoadSpec & RegisterOptions): Promise<BitNetModel>;
  /** The whole answer to a prompt. */
  generate(prompt: Prompt, options?: RouteOptions): Promise<RoutedResult>;
  /** The same of a model in hand. */
  generate(model: AnyModel, prompt: Prompt, options?: RouteOptions): Promise<RoutedResult>;
  /** The same of a model by its id. */
  generate(modelId: string, prompt: Prompt, options?: RouteOptions): Promise<RoutedResult>;
  /** The same as one object. */
  generate(call: CallSpec): Promise<RoutedResult>;
  /** The answer to a prompt as it is made, at once: it may be awaited, but need not be. */
  stream(prompt: Prompt, options?: RouteOptions): TextStream<RoutedResult>;
  /** The same of a model in hand. */
  stream(model: AnyModel, prompt: Prompt, options?: RouteOptions): TextStream<RoutedResult>;
  /** The same of a model by its id. */
  stream(modelId: string, prompt: Prompt, options?: RouteOptions): TextStream<RoutedResult>;
  /** The same as one object. */
  stream(call: CallSpec): TextStream<RoutedResult>;
  /** `generate()` under its other name. */
  quick(prompt: Prompt, options?: RouteOptions): Promise<RoutedResult>;
  /** One call as one object; with `stream: true` it resolves to the stream. */
  advanced(call: AdvancedCall & { stream?: false }): Promise<RoutedResult>;
  /** The stream. */
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
  /** Unloads a model; false when there is none of this id. */
  unload(modelId: string): Promise<boolean>;
  /** Models, their measurements, and memory. */
  getStatus(): RouterStatus;
  /** What the program runs in. */
  detectEnvironment(): Environment;
  /** Unloads everything; the router can be used again afterwards. */
  cleanup(): Promise<void>;
  /** cleanup() under its other name. */
  dispose(): Promise<void>;
  /** `cleanup()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** What the program runs in. */
export type Environment = 'node' | 'worker' | 'bun' | 'deno';
/** What the program runs in. */
export function detectEnvironment(): Environment;

/** What `getStatus()` tells. */
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

/** What loaders of this package have in common. */
export class BaseLoader extends EventEmitter {
  constructor(config?: object);
  supportedFormats: string[];
  /** Whether it loads what has this format or extension. */
  supportsFormat(format: string): boolean;
  /** What its models can do, and the formats that it loads. */
  getCapabilities(): { streaming: boolean; quantization: boolean; gpu: boolean; formats: string[] };
  /** The whole answer of the model that was loaded last. */
  generate(prompt: Prompt, options?: object): Promise<unknown>;
  /** The same as it is made. */
  stream(prompt: Prompt, options?: object): AsyncIterable<unknown> | Promise<AsyncIterable<unknown>>;
  /** Unloads the model that was loaded last. */
  unload(): Promise<unknown>;
}

/** Options of `new BitNetLoader()`. */
export interface BitNetLoaderOptions {
  /** Searched first for `models/<name>/`. @default as `RouterOptions.bitnetPath` */
  bitnetPath?: string;
  /** `cacheDir` of loads that name none. */
  cacheDir?: string;
  /** true: build the native engine if it is missing (in a checkout); false: fail at once. @default fail, naming the cure */
  autoBuild?: boolean;
  /** Fetch nothing. Wins over HF_HUB_OFFLINE. @default HF_HUB_OFFLINE */
  offline?: boolean;
}

/** Loads models; generate() and stream() use the one loaded last. */
export class BitNetLoader extends BaseLoader {
  constructor(options?: BitNetLoaderOptions);
  /** Ids of the models that the guide names. */
  static listAvailableModels(): Promise<{ official: string[]; community: string[] }>;
  readonly bitnetPath: string;
  readonly buildDir: string;
  readonly modelDir: string;
  readonly supportedQuantTypes: QuantType[];
  readonly isReady: boolean;
  /** Loads a model from a file, a folder or an id. */
  load(source: string, options?: LoadOptions): Promise<BitNetModel>;
  /** The same as one object. */
  load(spec: LoadSpec): Promise<BitNetModel>;
  /** The whole answer of the model that was loaded last. */
  generate(prompt: Prompt, options?: GenerateOptions): Promise<GenerateResult & { raw: string; config: BitNetModel['config'] }>;
  /** The answer of the model that was loaded last, as it is made. */
  stream(prompt: Prompt, options?: GenerateOptions): TextStream;
  /** What is loaded, in the words of the original. */
  getModelInfo(): Promise<{ type: 'bitnet'; format: 'gguf'; quantization: string; path: string; config: BitNetModel['config'] }>;
  /** Whether the native engine is there. */
  checkBitNetInstallation(): Promise<boolean>;
  /** Path of the native engine. */
  getCliPath(): string;
  /** Builds the native engine; only in a checkout. */
  buildBitNet(): Promise<void>;
  /** Path of a model: in a BitNet folder where it is there, else in the Hugging Face cache, which gets what it lacks. */
  downloadModel(modelId: string, quantType?: QuantType, options?: DownloadOptions): Promise<string>;
  /** `convert()` by the name that it had: resolves to the output's path. */
  convertModel(modelPath: string, outputPath: string, quantType?: QuantType): Promise<string>;
}

/** Answers with fixed sentences, for tests of programs around a model. */
export class MockLoader extends BaseLoader implements Loader {
  /** A model that answers with fixed sentences. */
  load(source: string, options?: object): Promise<LoadedModel>;
  /** The same as one object. */
  load(spec: object): Promise<LoadedModel>;
  /** The answer word by word. */
  stream(prompt: Prompt, options?: object): AsyncIterable<string>;
  /** Whether the source is one of its own: `mock://…`. */
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
/** Registers the loaders of the router that the package keeps. */
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
