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
  /** `convert()` by the name that it had: resolves to the output's path. */
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
