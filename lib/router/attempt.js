// One try of one model, as a source of events: { text } as it is made, then { done: result }. Models of this package stream by
// themselves; those of other loaders may return whole answers, and answers of many shapes.
import { ModelError } from '../errors.js';
import { fillTemplate } from '../prompt.js';
import { TextStream } from '../stream.js';

/** The result of any model with the members that ours have. */
function completeResult(result, model, latency) {
  const own = typeof result === 'string' ? { text: result } : (result ?? {});
  const text = own.text ?? own.choices?.[0]?.message?.content ?? own.choices?.[0]?.text ?? '';
  const tokens = own.tokens ?? own.usage?.completionTokens ?? own.usage?.completion_tokens ?? 0;
  return { latency, model: model.name ?? model.id, modelId: model.id, cached: false, ...own, text, tokens };
}

const textOfChunk = (chunk) => (typeof chunk === 'string' ? chunk : (chunk?.delta?.content ?? chunk?.text ?? ''));

/** What a model of a foreign loader is asked: template and system prompt become text, or a system message before messages. */
export function foreignPrompt(prompt, { systemPrompt, template } = {}) {
  const filled = fillTemplate(template, prompt);
  if (!systemPrompt) return filled;
  return typeof filled === 'string' ? `${systemPrompt}\n\n${filled}` : [{ role: 'system', content: systemPrompt }, ...filled];
}

/** A TextStream as a source of events. */
export class StreamAttempt {
  #stream;

  constructor(stream) {
    this.#stream = stream;
  }

  async next() {
    const { done, value } = await this.#stream.next();
    return done ? { done: await this.#stream.result } : { text: value };
  }

  cancel() {
    this.#stream.abort(new Error('The call was given up'));
  }
}

/** The pieces of a foreign model; the result is made of what came. */
class PiecesAttempt {
  #model;
  #pieces;
  #startedAt = performance.now();
  #ttftMs;
  #text = '';
  #count = 0;

  constructor(model, pieces) {
    this.#model = model;
    this.#pieces = Promise.resolve(pieces).then((iterable) => iterable[Symbol.asyncIterator]?.() ?? iterable[Symbol.iterator]());
    this.#pieces.catch(() => {}); // seen by the first read
  }

  async next() {
    const pieces = await this.#pieces;
    for (;;) {
      const { done, value } = await pieces.next();
      const ms = performance.now() - this.#startedAt;
      if (done) {
        const timings = this.#ttftMs === undefined ? {} : { timings: { queueMs: 0, prefillMs: this.#ttftMs, decodeMs: ms - this.#ttftMs, ttftMs: this.#ttftMs } };
        return { done: completeResult({ text: this.#text, tokens: this.#count, finishReason: 'stop', ...timings }, this.#model, ms) };
      }
      const text = textOfChunk(value);
      if (text === '') continue;
      this.#ttftMs ??= ms;
      this.#text += text;
      this.#count += 1;
      return { text };
    }
  }

  cancel() {
    this.#pieces.then((pieces) => pieces.return?.()).catch(() => {});
  }
}

/** A whole answer of a foreign model, given as one piece. */
class WholeAttempt {
  #model;
  #answer;
  #startedAt = performance.now();
  #result;

  constructor(model, answer) {
    this.#model = model;
    this.#answer = Promise.resolve(answer);
    this.#answer.catch(() => {}); // seen by the first read
  }

  async next() {
    if (this.#result) return { done: this.#result };
    this.#result = completeResult(await this.#answer, this.#model, performance.now() - this.#startedAt);
    return this.#result.text === '' ? { done: this.#result } : { text: this.#result.text };
  }

  cancel() {}
}

/**
 * Starts a model on a prompt.
 * @param {object} model
 * @param {string | object[]} prompt
 * @param {object} options of the model, with a signal that cancel() does not set off
 * @param {boolean} whole the caller wants the answer at its end only
 */
export function startAttempt(model, prompt, options, whole) {
  if (model.loaded === false) throw new ModelError('Model not loaded. Call load() first.', 'MODEL_NOT_LOADED', { modelId: model.id });
  if (model.streamsText) return new StreamAttempt(model.stream(prompt, options));
  const { systemPrompt, template, messages, ...rest } = options;
  const asked = foreignPrompt(messages ?? prompt, { systemPrompt, template });
  if (whole || typeof model.stream !== 'function') return new WholeAttempt(model, model.generate(asked, rest));
  const stream = model.stream(asked, rest);
  return stream instanceof TextStream ? new StreamAttempt(stream) : new PiecesAttempt(model, stream);
}
