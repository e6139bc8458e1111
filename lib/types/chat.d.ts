// Conversations, ensembles and configuration.
import type { ChatMessage, Prompt, RouterOptions, TextStream } from '../../index.js';
import type { AnyModel, RoutedResult, RouteOptions } from './routing.js';

/** Options of `router.chat()`; all but the first three are those of every turn. */
export interface ChatOptions extends Omit<TurnOptions, 'messages'> {
  /** Message before all turns. */
  system?: string;
  /** Which model answers. @default the strategy chooses at the first turn, and the chat stays with that model */
  modelId?: string;
  /** Alias of `modelId`. */
  model?: string;
}

/** Options of one turn. */
export interface TurnOptions extends RouteOptions {
  /** Times that the model may call its tools before it answers; then the turn fails with `TOOL_ROUNDS_EXCEEDED`. @default 8 */
  maxToolRounds?: number;
}

/** A conversation through a router. Tools are run in its turns: each needs `execute()`. */
export class Chat {
  private constructor();
  /** The model that answers, once that is known. */
  readonly modelId: string | undefined;
  readonly system: string | undefined;
  /** The turns so far (a copy), without the system message. */
  readonly history: ChatMessage[];
  /** The whole answer to the next turn. */
  send(text: string, options?: TurnOptions): Promise<RoutedResult>;
  /** The answer to the next turn as it is made; it waits for the turns before it. A turn that fails or is left leaves no trace. */
  stream(text: string, options?: TurnOptions): TextStream<RoutedResult>;
  /** Forgets the turns. */
  reset(): void;
  /**
   * Writes the turns to a file of JSON. With `context`, what the model has computed of them goes into a file beside it, `<path>.context`:
   * some kilobytes to some ten kilobytes a token. @default without
   */
  save(path: string, options?: { context?: boolean }): Promise<void>;
  /** Goes on with the turns of a file; where its context is there and of this model, they are not computed again. */
  load(path: string): Promise<this>;
  /** What `save()` writes. */
  toJSON(): { version: number; modelId?: string; system?: string; messages: ChatMessage[] };
}

/** What `router.chat(messages)` resolves to. */
export type ChatReply = Omit<RoutedResult, 'text'> & {
  message: { role: 'assistant'; content: string };
  /** `latency` under its older name, ms. */
  duration: number;
};

/** `router.advanced()`: one call as one object. */
export type AdvancedCall = Omit<RouteOptions, 'modelId' | 'model' | 'fallbacks' | 'messages'> & {
  /** Id of a loaded model, or a source that is loaded. @default the strategy chooses */
  model?: string;
  /** Alias of `model`. */
  modelId?: string;
  /** Ids or sources, in order. */
  fallbacks?: string[] | true;
  /** @default 0.7 */
  temperature?: number;
  /** @default 500 */
  maxTokens?: number;
} & ({ prompt: Prompt } | { messages: ChatMessage[] });

/** A model by id, source or itself, with its weight: 1 where none is given. */
export type EnsembleMember = string | AnyModel | { model: string | AnyModel; weight?: number };

export interface EnsembleOptions extends RouteOptions {
  /**
   * `weighted-vote`: the answer that most weight stands behind, case, spacing and punctuation aside; where all differ, that of the heaviest
   * model. `consensus`: the answer whose words are most like those of the others. `best-logprob`: the answer that its own model held the
   * most probable, per byte of text. @default weighted-vote
   */
  method?: 'weighted-vote' | 'consensus' | 'best-logprob';
  /** 0 to 1: below this agreement the call fails with `NO_CONSENSUS`. @default 0 */
  minAgreement?: number;
}

/** The result of the model whose answer was chosen. */
export interface EnsembleResult extends RoutedResult {
  ensemble: {
    method: 'weighted-vote' | 'consensus' | 'best-logprob';
    /** 0 to 1: the share of the weight behind the answer, or how much the others are like it. */
    agreement: number;
    /** One for each member, in their order. */
    votes: { modelId: string; weight: number; text?: string; score?: number; error?: { code?: string; message: string } }[];
  };
}

/**
 * Settings from three places: what the program sets wins over the environment (LLM_ROUTER_STRATEGY, _MAX_MODELS, _CACHE_TTL, _TIMEOUT,
 * _REGISTRY_PATH), which wins over the file.
 */
export class Config {
  constructor(options?: RouterOptions & Record<string, unknown>);
  /** A value in force. */
  get<T = unknown>(name: string, fallback?: T): T;
  /** Sets a value, which wins over all other places. */
  set(name: string, value: unknown): this;
  /** A copy of all values in force. */
  getAll(): Record<string, unknown>;
  /** Those of them that are options of a router, checked. */
  routerOptions(): RouterOptions;
  /** True, or throws what is wrong with an option of a router. */
  validate(): true;
  /** Reads a file of JSON. */
  load(path: string): Promise<this>;
  /** Writes what exportForClient() gives. */
  save(path: string): Promise<void>;
  /** All values but those whose names say that they are secret. */
  exportForClient(): Record<string, unknown>;
}
