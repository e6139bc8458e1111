// One call on one model: the response cache, and models of foreign loaders brought into the shape of ours.
import { BitNetModel } from './model.js';
import { fillTemplate } from './prompt.js';

/** Responses kept at once; a response is a few kilobytes. */
const CACHED_RESPONSES = 256;

/** Options that say how a call runs, not what it asks. */
const NOT_IN_KEY = new Set(['signal', 'onToken', 'cache']);

/** The result of any model with the members that ours have. */
function completeResult(result, model, latency) {
  const own = typeof result === 'string' ? { text: result } : (result ?? {});
  const text = own.text ?? own.choices?.[0]?.message?.content ?? own.choices?.[0]?.text ?? '';
  const tokens = own.tokens ?? own.usage?.completionTokens ?? own.usage?.completion_tokens ?? 0;
  return { latency, model: model.name ?? model.id, modelId: model.id, cached: false, ...own, text, tokens };
}

const textOfChunk = (chunk) => (typeof chunk === 'string' ? chunk : (chunk?.delta?.content ?? chunk?.text ?? ''));

export class Pipeline {
  stages = [];
  cache = new Map();

  /** @param {{ cache?: boolean, cacheTTL?: number }} [config] cacheTTL in ms */
  constructor({ cache = false, cacheTTL = 3_600_000 } = {}) {
    this.config = { cache, cacheTTL };
  }

  /**
   * Runs one call and resolves to its result.
   * @param {object} model
   * @param {string | object[]} prompt
   * @param {object} options what the caller gave, without `modelId`
   */
  async process(model, prompt, { cache, ...options }) {
    const key = this.#isCacheable(model, cache, options) ? this.#keyOf(model, prompt, options) : undefined;
    const hit = key && this.#lookUp(key);
    if (hit) return { ...structuredClone(hit), cached: true };
    const result = model instanceof BitNetModel ? await model.generate(prompt, options) : await this.#foreign(model, prompt, options);
    if (key) this.#keep(key, result);
    return result;
  }

  /** Streams one call. */
  stream(model, prompt, options) {
    if (model instanceof BitNetModel) return model.stream(prompt, options);
    return this.#foreignStream(model, prompt, options);
  }

  /**
   * Sampled answers differ from call to call, so only a greedy or seeded call is cached unless the call itself asks for it; one
   * whose energy is measured never is.
   */
  #isCacheable(model, cache, options) {
    if (!(cache ?? this.config.cache) || model.conversation || options.energy) return false;
    const setting = (name) => options[name] ?? model.config?.[name];
    return cache === true || setting('temperature') === 0 || setting('seed') !== undefined;
  }

  #keyOf(model, prompt, options) {
    const asked = Object.entries(options).filter(([name]) => !NOT_IN_KEY.has(name)).sort(([a], [b]) => (a < b ? -1 : 1));
    return JSON.stringify([model.id, prompt, asked]);
  }

  #lookUp(key) {
    const entry = this.cache.get(key);
    if (entry && Date.now() - entry.at < this.config.cacheTTL) return entry.result;
    this.cache.delete(key);
    return undefined;
  }

  #keep(key, result) {
    if (this.cache.size >= CACHED_RESPONSES) this.cache.delete(this.cache.keys().next().value);
    this.cache.set(key, { at: Date.now(), result: structuredClone(result) });
  }

  async #foreign(model, prompt, { systemPrompt, template, ...options }) {
    const startedAt = performance.now();
    const result = await model.generate(this.preProcess(prompt, { systemPrompt, template }), options);
    return completeResult(result, model, performance.now() - startedAt);
  }

  async *#foreignStream(model, prompt, { systemPrompt, template, ...options }) {
    const asked = this.preProcess(prompt, { systemPrompt, template });
    if (typeof model.stream !== 'function') {
      yield textOfChunk(await model.generate(asked, options));
      return;
    }
    for await (const chunk of await model.stream(asked, options)) yield textOfChunk(chunk);
  }

  /** What a model of a foreign loader is asked: template and system prompt become text. */
  preProcess(prompt, { systemPrompt, template } = {}) {
    const filled = fillTemplate(template, prompt);
    return systemPrompt && typeof filled === 'string' ? `${systemPrompt}\n\n${filled}` : filled;
  }

  async cleanup() {
    this.cache.clear();
  }
}

export default Pipeline;
