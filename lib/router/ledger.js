// The books of a router: for each model its measurements, its queue and its breaker. They go with the model.
import { Breaker } from './breaker.js';
import { candidateOf, Measured } from './facts.js';
import { Queue } from './queue.js';

const DEFAULTS = { maxConcurrent: 64, maxQueue: 256, breakerFailures: 5, breakerCooldown: 30_000 };

/** Codes of errors that the caller made or wanted, so that they say nothing about the model. */
const OF_THE_CALLER = /^(INVALID_ARGUMENT|INVALID_OPTION|ABORTED|TIMEOUT|CONTEXT_OVERFLOW|TEMPLATE_FAILED|TOKENIZER_FAILED|QUEUE_FULL|MODEL_NOT_LOADED)$/;

/** True when an error counts against the model. */
const isFault = (error) => !OF_THE_CALLER.test(error?.code ?? '');

class Record {
  declared = {};
  measured = new Measured();
  /** Calls that were sent here in this turn of the event loop: they reach the queue a little later. */
  sent = 0;

  constructor(id, config) {
    this.queue = new Queue(id, config);
    this.breaker = new Breaker(config);
  }

  get waiting() {
    return Math.max(this.queue.waiting, this.sent - this.queue.running);
  }

  /** @returns {boolean} true when this failure opened the breaker */
  failed(error) {
    if (!isFault(error)) {
      this.breaker.undecided();
      return false;
    }
    this.measured.failed();
    return this.breaker.failed();
  }

  succeeded(result) {
    this.measured.succeeded(result);
    this.breaker.succeeded();
  }
}

export class Ledger {
  #records = new WeakMap();
  #picks = 0;

  /** @param {Partial<typeof DEFAULTS>} [config] */
  constructor({ maxConcurrent, maxQueue, breakerFailures, breakerCooldown } = {}) {
    const given = Object.entries({ maxConcurrent, maxQueue, breakerFailures, breakerCooldown }).filter(([, value]) => value !== undefined);
    this.config = { ...DEFAULTS, ...Object.fromEntries(given) };
  }

  of(model) {
    let record = this.#records.get(model);
    if (!record) {
      record = new Record(model.id, this.config);
      this.#records.set(model, record);
    }
    return record;
  }

  /** What nobody can measure: how good a model is, and what it costs. */
  declare(model, declared) {
    Object.assign(this.of(model).declared, declared);
  }

  /** @returns {object} the model as strategies see it */
  candidate(model) {
    const record = this.of(model);
    record.measured.running = record.queue.running;
    return candidateOf(model, record);
  }

  isBusy(model) {
    const { queue, sent } = this.of(model);
    return queue.running + queue.waiting + sent > 0 || model.busy === true;
  }

  picked(model) {
    const record = this.of(model);
    this.#picks += 1;
    record.measured.lastPicked = this.#picks;
    record.sent += 1;
    setImmediate(() => (record.sent -= 1));
  }

  /** What getStatus() tells of a model. */
  status(model) {
    const { measured, queue, breaker } = this.of(model);
    const { requests, failures, tokensPerSecond, ttftMs, latencyMs } = measured;
    return { requests, failures, running: queue.running, waiting: queue.waiting, tokensPerSecond, ttftMs, latencyMs, breaker: breaker.state };
  }
}
