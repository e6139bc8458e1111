// One routed call: the models of a plan in turn, until one answers. A source of events for TextStream.
//
// Another model, or the same one again, is tried only before the first text: what was read once is never continued by a model that
// did not write it. Streams and whole answers go the same way.
import { ModelError } from '../errors.js';
import { startAttempt } from './attempt.js';
import { backOff, pause } from './retry.js';

/** Retries where a call does not say: what runs in this process gives the same error again, a server need not. */
const RETRIES = { local: 0, foreign: 2 };

/** Errors after which no other model is asked either. */
const FINAL = new Set(['ABORTED', 'INVALID_ARGUMENT']);

const unavailable = (model, waitMs) =>
  new ModelError(
    `Model ${model.id} failed several times in a row and is left alone for another ${Math.ceil(waitMs / 1000)} s`,
    'MODEL_UNAVAILABLE',
    { modelId: model.id, retryAfterMs: waitMs },
  );

/** The error of a call that several models were asked for. */
function allFailed(attempts, last) {
  const list = attempts.map(({ modelId, error }) => `${modelId}: ${error.message}`).join('; ');
  return new ModelError(`All models failed: ${list}`, 'ALL_MODELS_FAILED', { attempts }, { cause: last });
}

export class Run {
  #plan;
  #call;
  #ledger;
  #onFallback;
  #controller = new AbortController();
  #calledAt = performance.now();
  #startedAt = 0;
  /** Index of the model that is tried, and which try of it this is. */
  #at = 0;
  #try = 1;
  #attempts = [];
  #leave = () => {};
  #emitted = false;
  #opening;

  /**
   * @param {{ models: object[], routing: object }} plan
   * @param {object} call
   * @param {string | object[]} call.prompt
   * @param {object} call.options of the model
   * @param {boolean} call.whole the caller wants the answer at its end only
   * @param {number} [call.retries]
   * @param {number} [call.priority]
   * @param {import('./ledger.js').Ledger} ledger
   * @param {(fallback: { from: string, to: string, error: Error }) => void} [onFallback]
   */
  constructor(plan, call, ledger, onFallback = () => {}) {
    this.#plan = plan;
    this.#call = call;
    this.#ledger = ledger;
    this.#onFallback = onFallback;
    this.#start();
  }

  async next() {
    for (;;) {
      try {
        const attempt = await this.#opening;
        const event = await attempt.next();
        if (event.done) return { done: this.#succeeded(event.done) };
        this.#emitted = true;
        return event;
      } catch (error) {
        await this.#failed(error);
      }
    }
  }

  /** Ends what runs or waits; nothing is read afterwards. */
  cancel() {
    this.#controller.abort(new ModelError('The call was given up', 'ABORTED'));
    const end = () => {
      this.#record.breaker.undecided();
      this.#leave();
    };
    this.#opening.then((attempt) => attempt.cancel(), () => {}).then(end);
  }

  get #model() {
    return this.#plan.models[this.#at];
  }

  get #record() {
    return this.#ledger.of(this.#model);
  }

  #start() {
    this.#opening = this.#open();
    this.#opening.catch(() => {}); // seen by the next read
  }

  async #open() {
    const { prompt, options, whole, priority } = this.#call;
    const { signal } = this.#controller;
    const { breaker, queue } = this.#record;
    this.#startedAt = performance.now();
    // A retry belongs to the call that the breaker has let pass.
    if (this.#try === 1 && breaker.state === 'open') throw unavailable(this.#model, breaker.waitMs);
    this.#leave = await queue.enter({ priority, signal });
    signal.throwIfAborted();
    if (this.#try === 1) breaker.begin();
    return startAttempt(this.#model, prompt, { ...options, signal }, whole);
  }

  #log(error) {
    const ms = performance.now() - this.#startedAt;
    const told = error && { error: { code: error.code, message: error.message ?? String(error) } };
    this.#attempts.push({ modelId: this.#model.id, ms, ...told });
  }

  #succeeded(result) {
    this.#leave();
    this.#record.succeeded(result);
    this.#log();
    const routing = { ...this.#plan.routing, modelId: this.#model.id, fallback: this.#at > 0, attempts: this.#attempts };
    return { ...result, latency: performance.now() - this.#calledAt, routing };
  }

  /** Starts what is tried next, or throws when nothing is. */
  async #failed(error) {
    this.#leave();
    this.#log(error);
    const { signal } = this.#controller;
    const final = this.#emitted || signal.aborted || FINAL.has(error?.code);
    const ms = final ? undefined : this.#backOff(error);
    if (ms !== undefined) {
      this.#try += 1;
      await pause(ms, signal);
      this.#start();
      return;
    }
    // A model that is left alone has not failed anew.
    if (error?.code !== 'MODEL_UNAVAILABLE') this.#record.failed(error);
    if (final) throw error;
    const { models } = this.#plan;
    if (this.#at + 1 === models.length) throw models.length > 1 ? allFailed(this.#attempts, error) : error;
    const from = this.#model.id;
    this.#at += 1;
    this.#try = 1;
    this.#onFallback({ from, to: this.#model.id, error });
    this.#start();
  }

  /** How long to wait before the model is tried again; undefined when it is not. */
  #backOff(error) {
    if (error?.code === 'MODEL_UNAVAILABLE') return undefined;
    const retries = this.#call.retries ?? (this.#model.type === 'bitnet' ? RETRIES.local : RETRIES.foreign);
    return backOff(error, this.#try, retries);
  }
}
