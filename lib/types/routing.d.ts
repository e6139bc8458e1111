// Which model answers a call, and what is told about it.
import type { BitNetModel, GenerateOptions, GenerateResult, LoadedModel, Prompt } from '../../index.js';
import type { RemoteModel } from './remote.js';

/** A model of whatever loader. */
export type AnyModel = BitNetModel | RemoteModel | LoadedModel;

/** Ways to choose a model that come with the package. */
export type StrategyName =
  | 'quality-first' | 'cost-optimized' | 'speed-priority' | 'balanced' | 'random' | 'round-robin' | 'least-loaded' | 'capability-match';

/** Money per million tokens, in whatever currency all prices are given in. */
export interface Price {
  /** @default 0 */
  input?: number;
  /** @default 0 */
  output?: number;
}

/** A model as strategies see it. What nobody knows is undefined. */
export interface Candidate {
  id: string;
  name: string;
  format?: string;
  /** Answers come over the network. */
  remote: boolean;
  parameters?: number;
  /** Tokens. */
  contextSize?: number;
  /** Bytes of the weights in memory. */
  readonly memoryBytes?: number;
  capabilities: Record<string, boolean>;
  /** As it was declared at load(): 0 to 1. */
  quality?: number;
  price: Required<Price>;
  /** Calls that ended, and those of them that failed. */
  requests: number;
  failures: number;
  /** Calls that the model is answering, and that wait for it. */
  running: number;
  waiting: number;
  /** A number that grows with each choice: when the model was last chosen. 0 = never. */
  lastPicked: number;
  /** Running means over the last calls. */
  tokensPerSecond?: number;
  ttftMs?: number;
  latencyMs?: number;
  model: AnyModel;
}

/** What a strategy sees of a call. */
export interface RouteRequest {
  prompt: Prompt;
  characters: number;
  /** Estimated. */
  promptTokens: number;
  maxTokens: number;
  requirements: Requirements & { capabilities: string[] };
  /** Those required, and those that the call implies: `chat` for messages, `streaming` for a stream. */
  capabilities: string[];
}

/** What a strategy returns: the id of a candidate, a candidate, a score for each (the highest wins), or scores with a reason. */
export type Choice = string | Candidate | number[] | { scores: number[]; reason?: string };

/** A strategy of one's own. Candidates come in the order of loading, at least one. */
export type Strategy = (candidates: Candidate[], request: RouteRequest) => Choice | Promise<Choice>;

/** What a model must have to be considered at all. */
export interface Requirements {
  capabilities?: string[] | Record<string, boolean>;
  /** Most parameters. */
  maxSize?: number;
  /** Fewest tokens of context. */
  minContext?: number;
  /** Most money per million tokens, of prompt or answer. */
  maxPrice?: number;
  format?: string;
  /** true: remote models only; false: local ones only. */
  remote?: boolean;
}

/** One try of one model. */
export interface RouteAttempt {
  modelId: string;
  /** Wall clock, the wait in the queue included. */
  ms: number;
  /** Missing in the last one, which answered. */
  error?: { code?: string; message: string };
}

/** Why a model was chosen. */
export interface Routing {
  /** `none` where the call names its model. */
  strategy: string;
  /** Ids, best first. */
  candidates: string[];
  /** id -> score of the strategy; higher is better, and only to be compared within one call. */
  scores: Record<string, number>;
  /** In words. */
  reason: string;
}

/** A result of the router. */
export interface RoutedResult extends GenerateResult {
  routing: Routing & {
    /** The model that answered. */
    modelId: string;
    /** True when it was not the one chosen first. */
    fallback: boolean;
    /** What was tried, in order; empty when the answer came from the cache. */
    attempts: RouteAttempt[];
  };
}

/** Options of one call that the router reads. */
export interface RouteOptions extends GenerateOptions {
  /** Which model answers. @default the strategy chooses */
  modelId?: string;
  /** Alias of `modelId`. */
  model?: string;
  /** How a model is chosen when the call names none. @default as the router */
  strategy?: StrategyName | (string & {}) | Strategy;
  /** Alias of `strategy`. */
  routingStrategy?: StrategyName | (string & {}) | Strategy;
  /**
   * Ids of models that are asked in turn when the chosen one fails before its first text; `true`: all other candidates, best first.
   * @default as the router, which has none
   */
  fallbacks?: string[] | true;
  /** What the model must have. */
  requirements?: Requirements;
  /**
   * Tries of one model after the first, for errors that may pass (`retryable`), with pauses of 0.5 s, 1 s, 2 s, … or as the server
   * asks; 0 to 10. @default 0 for local models, 2 for others
   */
  retries?: number;
  /** Alias of `retries`. */
  maxRetries?: number;
  /** The call fails with `TIMEOUT` when it is not done after so many ms, the wait in the queue included. @default none */
  timeout?: number;
  /** Among calls that wait for one model, those of higher priority go first; -1000 to 1000. @default 0 */
  priority?: number;
  /** Answer a repeated call from the response cache; not for streams. @default as the router, which caches greedy and seeded calls only */
  cache?: boolean;
}

/** What getStatus() tells of one model. */
export interface ModelStatus {
  id: string;
  name: string;
  format?: string;
  loaded: boolean;
  requests: number;
  failures: number;
  running: number;
  waiting: number;
  tokensPerSecond?: number;
  ttftMs?: number;
  latencyMs?: number;
  /** `open`: it failed several times in a row and is left alone; `half-open`: the next call tries it. */
  breaker: 'closed' | 'open' | 'half-open';
}

/** Events of LLMRouter, by name: the arguments of a listener. */
export interface RouterEvents {
  initialized: [];
  'model-loaded': [model: AnyModel];
  'model-unloaded': [model: AnyModel];
  'strategy-changed': [name: string];
  route: [routing: Routing];
  'inference-start': [call: { model: string; prompt: Prompt; routing: Routing; streaming: boolean }];
  'inference-complete': [result: RoutedResult];
  /** Text of a call that began after the listener was added. */
  token: [text: string];
  'cache-hit': [hit: { model: string }];
  fallback: [fallback: { from: string; to: string; error: Error }];
  /** Only emitted to those who listen; the promise or stream of the call tells the same. */
  error: [error: Error];
}

/** Work before and after every call of a router. */
export interface PipelineStage {
  /** Returns what takes the place of the prompt or the options. */
  before?(call: { prompt: Prompt; options: object }): { prompt?: Prompt; options?: object } | void | Promise<{ prompt?: Prompt; options?: object } | void>;
  /** Returns what takes the place of the result. */
  after?(result: RoutedResult): RoutedResult | void | Promise<RoutedResult | void>;
}
