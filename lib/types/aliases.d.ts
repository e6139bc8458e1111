// Names under which neighbouring libraries know an option. The option's own name wins over them.

import type { ResponseFormat, ToolChoice } from './answer.js';

export interface SamplingAliases {
  /** Alias of `topK`. */
  top_k?: number;
  /** Alias of `topK`. */
  topKSampling?: number;
  /** Alias of `topP`. */
  top_p?: number;
  /** Alias of `topP`. */
  topPSampling?: number;
  /** Alias of `minP`. */
  min_p?: number;
  /** Alias of `minP`. */
  minPSampling?: number;
  /** Alias of `repetitionPenalty`. */
  repeatPenalty?: number;
  /** Alias of `repetitionPenalty`. */
  repeat_penalty?: number;
  /** Alias of `repetitionPenalty`. */
  repetition_penalty?: number;
  /** Alias of `frequencyPenalty`. */
  frequency_penalty?: number;
  /** Alias of `presencePenalty`. */
  presence_penalty?: number;
}

export interface LoadAliases {
  /** Alias of `type`. */
  format?: string;
  /** Alias of `threads`. */
  num_thread?: number;
  /** Alias of `contextSize`. */
  num_ctx?: number;
  /** Alias of `contextSize`. */
  contextLength?: number;
}

export interface CallAliases {
  /** Alias of `responseFormat`. */
  response_format?: ResponseFormat;
  /** Alias of `responseFormat`. */
  format?: ResponseFormat;
  /** Alias of `toolChoice`. */
  tool_choice?: ToolChoice;
  /** Alias of `topLogprobs`. */
  top_logprobs?: number;
  /** Alias of `logitBias`. */
  logit_bias?: Record<number, number>;
  /** Alias of `maxTokens`. */
  max_tokens?: number;
  /** Alias of `maxTokens`. */
  maxOutputTokens?: number;
  /** Alias of `maxTokens`. */
  max_completion_tokens?: number;
  /** Alias of `maxTokens`. */
  num_predict?: number;
  /** Alias of `stop`. */
  stopStrings?: string | string[];
  /** Alias of `stop`. */
  stopSequences?: string | string[];
  /** Alias of `stop`. */
  customStopTriggers?: string | string[];
  /** Alias of `systemPrompt`. */
  system?: string;
  /** Alias of `signal`. */
  abortSignal?: AbortSignal;
  /** Alias of `onToken`. */
  onTextChunk?: (text: string) => void;
}
