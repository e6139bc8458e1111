// One call on a model: what is asked and what comes back.
import type { Answer, ChoiceLogprobs, ResponseFormat, Tool, ToolCall, ToolChoice } from './answer.js';
import type { CallAliases, SamplingAliases } from './aliases.js';

/** One message of a chat. `content` may also be an array of parts where the chat template of the model takes that. */
export interface ChatMessage {
  role: 'system' | 'user' | 'assistant' | (string & {});
  content: unknown;
  [key: string]: unknown;
}

/** A text, or messages. */
export type Prompt = string | ChatMessage[];
/** Instruction sets that there are kernels for. */
export type Isa = 'scalar' | 'avx2' | 'avxvnni' | 'avx512vnni' | 'avx512vbmi' | 'neon' | 'neondotprod' | 'neoni8mm' | 'simd128' | 'relaxedsimd';
/** Whether tokens are guessed ahead. */
export type Speculation = 'auto' | 'off';
/** Packings of ternary weights in files. */
export type QuantType = 'i2_s' | 'tl1' | 'tl2' | 'tq1_0' | 'tq2_0' | 'iq1_bn' | 'iq2_bn' | 'tiles';

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
   * The form of the answer, enforced token by token: it then ends when it is complete, or before with `finishReason` 'length'. What
   * cannot be enforced is refused with `GRAMMAR_UNSUPPORTED`, by name. The value of JSON is in `parsed` of the result.
   */
  responseFormat?: ResponseFormat;
  /** Functions that the model may call: see `toolCalls` of the result. */
  tools?: Tool[];
  /** Whether a tool is called: as the model likes, never, in any case, or which one. @default 'auto' */
  toolChoice?: ToolChoice;
  /** How probable the model held each token, in the result. @default false */
  logprobs?: boolean;
  /** The same of so many of the likeliest tokens besides, 0 to 20. */
  topLogprobs?: number;
  /** Added to the logits of tokens, by id: -100 to 100 each. */
  logitBias?: Record<number, number>;
  /**
   * Answers made side by side, 1 to 64: `choices` of the result; the first is the one that is streamed. With a seed, the answer number i
   * is that of the seed + i. @default 1
   */
  n?: number;
  /** Say the prompt, a text, again before the answer. @default false */
  echo?: boolean;
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

/** Tokens of a call, and its energy. */
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

/** What a call comes to. */
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
  /** 'tool_calls': see `toolCalls`. 'content_filter' comes from remote models only. */
  finishReason: 'stop' | 'length' | 'content_filter' | 'tool_calls';
  usage: Usage;
  timings: Timings;
  performance: { tokensPerSecond: number };
  /** With this seed the same call gives the same text. */
  seed: number;
  /** The tokens made, the end token included. */
  tokenIds: number[];
  /** With a `responseFormat` of JSON: its value. Absent when the answer was cut off. */
  parsed?: unknown;
  /** Calls of tools that the answer consists of; `text` is what was said besides. A stream yields them as the model writes them. */
  toolCalls?: ToolCall[];
  /** With `logprobs`: one for each token, in order. */
  logprobs?: ChoiceLogprobs[];
  /** With `n` above 1: all answers, in order. */
  choices?: Answer[];
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
  /** The next piece of text. */
  next(): Promise<IteratorResult<string, undefined>>;
  /** Leaves the stream and stops the engine; `break` in a `for await` loop does it. */
  return(value?: unknown): Promise<IteratorResult<string, undefined>>;
  /** The stream itself: it can be read once. */
  [Symbol.asyncIterator](): this;
  /** Leaves the stream, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
  /** A web stream of the same text. */
  toReadableStream(): ReadableStream<string>;
}
