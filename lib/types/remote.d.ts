// Models behind OpenAI-compatible endpoints.
import type { BaseLoader, GenerateOptions, GenerateResult, ModelMetrics, Prompt, TextStream } from '../../index.js';

/** Options of `load()` with type `openai` or `ollama`, or a source behind `openai:` or `ollama:`. */
export interface RemoteLoadOptions {
  type?: string;
  /** Alias of `type`. */
  format?: string;
  /** Id of the model in the router. @default made up, unique */
  id?: string;
  /** Name shown in results. @default the source */
  name?: string;
  /** Address of the API, up to and with `/v1`. @default OPENAI_BASE_URL, else OpenAI; for `ollama` the local Ollama */
  baseURL?: string;
  /** Environment variable that holds the key. @default OPENAI_API_KEY where no baseURL is given, else no key is sent */
  apiKeyEnv?: string;
  /** Parameters of one server, sent with every request. */
  extraBody?: Record<string, unknown>;
  /** Milliseconds without a byte after which a connection is given up. @default 300000 */
  idleTimeout?: number;
  /** What the model can do besides chat and streaming. */
  capabilities?: Record<string, boolean>;
  /** Tokens, for the choice of a model. */
  contextSize?: number;
  temperature?: number;
  topP?: number;
  frequencyPenalty?: number;
  presencePenalty?: number;
  seed?: number;
}

export interface RemoteLoadSpec extends RemoteLoadOptions {
  /** The model's name at the endpoint; a prefix `openai:` or `ollama:` names the type. */
  source: string;
}

/**
 * A model behind an endpoint. Results have no `tokenIds`, and `seed` only where the call gave one; where the server does not count tokens,
 * `usage` counts the pieces that came. topK, minP, repetitionPenalty, raw, ignoreEos, contextOverflow and energy are refused.
 */
export interface RemoteModel extends AsyncDisposable {
  readonly id: string;
  readonly name: string;
  readonly type: 'openai';
  readonly format: 'openai';
  readonly remote: true;
  readonly source: string;
  readonly baseURL: string;
  readonly config: object;
  readonly loaded: boolean;
  /** True while it answers. */
  readonly busy: boolean;
  readonly capabilities: Record<string, boolean>;
  readonly metrics: Omit<ModelMetrics, 'loadTime'>;
  /** The whole answer to a prompt. */
  generate(prompt: Prompt, options?: GenerateOptions): Promise<GenerateResult>;
  /** The answer to a prompt as it is made. */
  stream(prompt: Prompt, options?: GenerateOptions): TextStream;
  /** Whether it has a capability. */
  supports(capability: string): boolean;
  /** Names of those options that this model cannot honour. */
  unsupported(options: GenerateOptions): string[];
  /** Ends what is under way. */
  unload(): Promise<void>;
  /** Names, source and address as plain data. */
  toJSON(): object;
}

/** Loads models behind OpenAI-compatible endpoints. Nothing is asked of an endpoint until a model is. */
export class OpenAILoader extends BaseLoader {
  /** Defaults of its loads. */
  constructor(options?: { baseURL?: string; apiKeyEnv?: string });
  /** Names a model of an endpoint; nothing is asked of it yet. */
  load(source: string, options?: RemoteLoadOptions): Promise<RemoteModel>;
  /** The same as one object. */
  load(spec: RemoteLoadSpec): Promise<RemoteModel>;
  /** The whole answer to a prompt. */
  generate(prompt: Prompt, options?: GenerateOptions): Promise<GenerateResult>;
  /** The answer to a prompt as it is made. */
  stream(prompt: Prompt, options?: GenerateOptions): TextStream;
}
