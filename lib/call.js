// The call shapes of a router, and what of a call's options is for the router itself.
import { ModelError } from './errors.js';
import { isMessages, readOptions, splitOptions } from './options.js';
import { show } from './show.js';

const isModel = (value) => value !== null && typeof value === 'object' && typeof value.generate === 'function';
const isPrompt = (value) => typeof value === 'string' || isMessages(value);
const isOptions = (value) => value === undefined || value === null || (typeof value === 'object' && !Array.isArray(value));

/**
 * The call shapes of generate() and stream(), told apart by their types:
 * (prompt, options), (model, prompt, options), (modelId, prompt, options) and ({ prompt | messages, ...options }).
 * @returns {{ model?: object, prompt: string | object[], options: object }}
 */
export function readCall(first, second, third) {
  if (isModel(first) && isPrompt(second) && isOptions(third)) return { model: first, prompt: second, options: third ?? {} };
  if (typeof first === 'string' && isPrompt(second) && isOptions(third)) {
    return { prompt: second, options: { ...third, modelId: first } };
  }
  if (isPrompt(first) && isOptions(second) && third === undefined) return { prompt: first, options: second ?? {} };
  if (first !== null && typeof first === 'object' && second === undefined && ('prompt' in first || 'messages' in first)) {
    const { prompt, ...options } = first;
    return { prompt: prompt ?? options.messages, options };
  }
  if ((first === undefined || first === null) && isMessages(second?.messages)) return { prompt: second.messages, options: second };
  throw new ModelError(
    'generate() and stream() take (prompt, options), (model, prompt, options), (modelId, prompt, options) or one object with a ' +
      `prompt or messages; (${[first, second, third].map(show).join(', ')}) was given`,
    'INVALID_ARGUMENT',
    { option: 'prompt', given: first },
  );
}

/**
 * Splits the options of a call: what the router reads, what is read from the stream, and what goes to the model.
 * @returns {{ route: object, watch: { signal?: AbortSignal, onToken?: Function }, asked: object }}
 */
export function readCallOptions(options) {
  const { route, rest } = splitOptions(options, 'route');
  const { signal, abortSignal, onToken, onTextChunk, ...asked } = rest;
  return { route, watch: readOptions({ signal, abortSignal, onToken, onTextChunk }, 'generate'), asked };
}
