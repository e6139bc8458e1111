// The calls on one model: so many run at once, so many wait, the others are refused.
import { ModelError } from '../errors.js';

export class Queue {
  #id;
  #maxConcurrent;
  #maxQueue;
  #running = 0;
  /** Highest priority first; within one, in the order of asking. */
  #waiting = [];

  /**
   * @param {string} id of the model, for messages
   * @param {{ maxConcurrent: number, maxQueue: number }} limits
   */
  constructor(id, { maxConcurrent, maxQueue }) {
    this.#id = id;
    this.#maxConcurrent = maxConcurrent;
    this.#maxQueue = maxQueue;
  }

  get running() {
    return this.#running;
  }

  get waiting() {
    return this.#waiting.length;
  }

  /**
   * Waits for a place.
   * @param {{ priority?: number, signal?: AbortSignal }} [call] a higher priority goes first; the signal gives the wait up
   * @returns {Promise<() => void>} gives the place back; a second call does nothing
   */
  enter({ priority = 0, signal } = {}) {
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.#running < this.#maxConcurrent) return Promise.resolve(this.#place());
    if (this.#waiting.length >= this.#maxQueue) return Promise.reject(this.#full());
    return new Promise((resolve, reject) => {
      const waiter = { priority, resolve, forget: () => signal?.removeEventListener('abort', onAbort) };
      const onAbort = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        reject(signal.reason);
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      const at = this.#waiting.findIndex((other) => other.priority < priority);
      this.#waiting.splice(at < 0 ? this.#waiting.length : at, 0, waiter);
    });
  }

  #place() {
    this.#running += 1;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#running -= 1;
      const next = this.#waiting.shift();
      next?.forget();
      next?.resolve(this.#place());
    };
  }

  #full() {
    const details = { modelId: this.#id, running: this.#running, waiting: this.#waiting.length };
    return new ModelError(
      `Model ${this.#id} is busy: ${details.running} calls run and ${details.waiting} wait (maxConcurrent ${this.#maxConcurrent}, ` +
        `maxQueue ${this.#maxQueue}). Try again later`,
      'QUEUE_FULL',
      details,
    );
  }
}
