// The form of answers, tools, log-probabilities.

/** A JSON schema, or an object that makes one (zod and others). */
export type JsonSchema = { [keyword: string]: unknown } | {
  /** The schema. */
  toJSONSchema(): object;
};

/**
 * The form of an answer. Keywords of a schema that cannot be enforced are refused by name; a `$ref` points into the schema itself.
 * A `pattern` matches the whole answer; look-around and back-references are refused. A `grammar` is in the syntax of Lark, from `start`.
 */
export type ResponseFormat =
  | { type: 'json_schema'; schema: JsonSchema | true; name?: string }
  | { type: 'json_schema'; json_schema: { schema: JsonSchema; name?: string; strict?: boolean } }
  | { type: 'json_object' }
  | { type: 'json'; schema?: JsonSchema }
  | { type: 'regex'; pattern: string | RegExp }
  | { type: 'grammar'; grammar: string }
  | { type: 'text' }
  | 'json' | 'text'
  | { properties: object; [keyword: string]: unknown };

/** A function that a model may call. */
export interface Tool {
  type?: 'function';
  function: {
    /** Letters, digits, `_`, `.` and `-`, at most 64. */
    name: string;
    /** What it does and when it is to be called, for the model. */
    description?: string;
    /** Schema of its arguments, an object. @default no arguments */
    parameters?: JsonSchema;
  };
  /** Called by `chat.send()` and `chat.stream()`; what it returns or throws is told to the model. Other calls leave that to you. */
  execute?(args: any, call: ToolCall): unknown;
}

/** `auto`: as the model likes; `none`: never; `required`: any, in any case; else the one that must be called. */
export type ToolChoice = 'auto' | 'none' | 'required' | (string & {}) | { type?: 'function'; function: { name: string } };

/** A call that a model makes. It can go into `tool_calls` of an assistant's message as it is. */
export interface ToolCall {
  id: string;
  type: 'function';
  function: {
    name: string;
    /** An object; for remote models that wrote no JSON, their text. */
    arguments: any;
  };
}

/** How probable a model held a token: by its own logits, before penalties, temperature, bias and `responseFormat`. */
export interface TokenLogprob {
  /** Absent for remote models. */
  id?: number;
  /** Text of the token; bytes that are no text by themselves are U+FFFD. */
  token: string;
  /** Natural logarithm of the probability. */
  logprob: number;
}

/** How probable the chosen token was, and the likeliest ones. */
export interface ChoiceLogprobs extends TokenLogprob {
  /** As many as `topLogprobs`, likeliest first. */
  top: TokenLogprob[];
}

/** One of several answers. */
export interface Answer {
  index: number;
  text: string;
  finishReason: 'stop' | 'length' | 'content_filter' | 'tool_calls';
  /** With this seed and `n` 1 the same call gives this answer. */
  seed: number;
  tokenIds: number[];
  parsed?: unknown;
  toolCalls?: ToolCall[];
  logprobs?: ChoiceLogprobs[];
}
