// One call on the models of a plan: the stages before and after it, the response cache, the deadline.
import { ModelError } from './errors.js';
import { show } from './show.js';
import { foreignPrompt } from './router/attempt.js';
import { Ledger } from './router/ledger.js';
import { Run } from './router/run.js';
import { TextStream } from './stream.js';

/** Responses kept at once; a response is a few kilobytes. */
const CACHED_RESPONSES = 256;

/** Options that say how a call runs, not what it asks. */
const NOT_IN_KEY = new Set(['signal', 'onToken']);

/** The plan of a call whose caller holds the model in hand. */
const planOf = (model) => ({ models: [model], routing: { strategy: 'none', candidates: [model.id], scores: {}, reason: 'the call holds the model' } });

const timedOut = (ms, partialText) =>
  new ModelError(`The call was not done after its timeout of ${ms} ms`, 'TIMEOUT', { timeout: ms, partialText });

export class Pipeline {
  #ledger;
  stages = [];
  cache = new Map();

  /**
   * @param {{ cache?: boolean, cacheTTL?: number }} [config] cacheTTL in ms
   * @param {Ledger} [ledger]
   */
  constructor({ cache = false, cacheTTL = 3_600_000 } = {}, ledger = new Ledger()) {
    this.config = { cache, cacheTTL };
    this.#ledger = ledger;
  }

  /** Adds a stage: `before({ prompt, options })` and `after(result)` may each return what takes the place of what they were given. */
  use(stage) {
    const isStage = stage !== null && typeof stage === 'object' && [stage.before, stage.after].every((part) => part === undefined || typeof part === 'function');
    if (!isStage || !(stage.before || stage.after)) {
      throw new ModelError(`use() takes an object with a function before or after; ${show(stage)} was given`, 'INVALID_ARGUMENT');
    }
    this.stages.push(stage);
    return this;
  }

  /**
   * Runs one call on one model and resolves to its result.
   * @param {object} model
   * @param {string | object[]} prompt
   * @param {object} [options] of the model, with `cache`, `timeout`, `retries`, `priority`
   */
  async process(model, prompt, { cache, timeout, retries, priority, ...options } = {}) {
    return this.generate(planOf(model), { prompt, options }, { cache, timeout, retries, priority });
  }

  /** Streams one call on one model. */
  stream(model, prompt, { timeout, retries, priority, ...options } = {}) {
    return this.run(planOf(model), { prompt, options }, { timeout, retries, priority });
  }

  /**
   * The answer to a call, from the cache where it is allowed and there.
   * @param {object | Promise<object>} planned
   * @param {{ prompt: string | object[], options: object }} call
   * @param {object} how `cache`, and what run() takes
   */
  async generate(planned, call, { cache, ...how }) {
    const [plan, asked] = await Promise.all([planned, this.#before(call)]);
    const [model] = plan.models;
    const key = this.#isCacheable(model, cache, asked.options) ? this.#keyOf(model, asked) : undefined;
    const hit = key && this.#lookUp(key);
    if (hit) {
      how.onCacheHit?.(model);
      return { ...structuredClone(hit), cached: true, routing: { ...plan.routing, modelId: model.id, fallback: false, attempts: [] } };
    }
    const result = await this.#stream(plan, asked, { ...how, whole: true }).readToEnd();
    if (key && !result.routing.fallback) this.#keep(key, result);
    return result;
  }

  /**
   * The answer to a call as it is made.
   * @param {object | Promise<object>} planned
   * @param {{ prompt: string | object[], options: object }} call
   * @param {object} how `timeout` (ms), `retries`, `priority`, `onFallback`, `onSettled(error, result)`, `ready` (a promise to wait for)
   */
  run(planned, call, how = {}) {
    const asked = this.stages.length > 0 ? this.#before(call) : call;
    return this.#stream(planned, asked, how);
  }

  #stream(planned, asked, { whole = false, timeout, retries, priority, ready, onFallback, onSettled, signal, onToken }) {
    let timer;
    let result;
    for (const promise of [planned, asked]) Promise.resolve(promise).catch(() => {}); // seen by the first read
    const start = async () => {
      await ready;
      const [plan, { prompt, options }] = await Promise.all([planned, asked]);
      return new Run(plan, { prompt, options, whole, retries, priority }, this.#ledger, onFallback);
    };
    const complete = async (done) => {
      result = await this.#after(done);
      return result;
    };
    const settled = (error) => {
      clearTimeout(timer);
      onSettled?.(error, result);
    };
    const stream = new TextStream({ start, complete, signal, onToken, onSettled: settled, toError: (error) => error });
    if (timeout !== undefined && !stream.settled) timer = setTimeout(() => stream.end((text) => timedOut(timeout, text)), timeout);
    return stream;
  }

  async #before(call) {
    let current = call;
    for (const stage of this.stages) current = { ...current, ...(await stage.before?.({ ...current })) };
    return current;
  }

  async #after(result) {
    let current = result;
    for (const stage of this.stages) current = (await stage.after?.(current)) ?? current;
    return current;
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

  #keyOf(model, { prompt, options }) {
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

  /** What a model of a foreign loader is asked: template and system prompt become text. */
  preProcess(prompt, options) {
    return foreignPrompt(prompt, options);
  }

  async cleanup() {
    this.cache.clear();
  }
}

export default Pipeline;
