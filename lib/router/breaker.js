// Circuit breaker: a model that keeps failing is left alone for a while, then tried with one call.

/** A model that fails again after its rest, rests twice as long, up to this many times the first rest. */
const LONGEST = 16;

export class Breaker {
  #limit;
  #cooldown;
  #now;
  #failures = 0;
  #rests = 0;
  #openUntil = 0;
  #probing = false;

  /**
   * @param {{ breakerFailures: number, breakerCooldown: number }} config failures in a row that open it (0: never), first rest in ms
   * @param {() => number} [now] ms
   */
  constructor({ breakerFailures, breakerCooldown }, now = Date.now) {
    this.#limit = breakerFailures;
    this.#cooldown = breakerCooldown;
    this.#now = now;
  }

  /** `closed`: calls pass; `open`: none does; `half-open`: one does, to see. */
  get state() {
    if (this.#openUntil === 0) return 'closed';
    return this.#now() < this.#openUntil || this.#probing ? 'open' : 'half-open';
  }

  /** Milliseconds until a call may pass again. */
  get waitMs() {
    return this.state === 'open' ? Math.max(0, this.#openUntil - this.#now()) : 0;
  }

  /** A call begins: in the half-open state it is the only one. */
  begin() {
    if (this.state === 'half-open') this.#probing = true;
  }

  /** A call ended without telling anything about the model: it was aborted, or the caller was wrong. */
  undecided() {
    this.#probing = false;
  }

  succeeded() {
    this.#failures = 0;
    this.#rests = 0;
    this.#openUntil = 0;
    this.#probing = false;
  }

  /** @returns {boolean} true when this failure opened it */
  failed() {
    this.#failures += 1;
    const probed = this.#probing;
    this.#probing = false;
    if (this.#limit === 0 || (!probed && (this.#failures < this.#limit || this.state === 'open'))) return false;
    this.#openUntil = this.#now() + this.#cooldown * Math.min(LONGEST, 2 ** this.#rests);
    this.#rests += 1;
    return true;
  }
}
