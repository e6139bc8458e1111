// A running generation as JavaScript sees it: an async iterator of text over the native event source.
import { AbortError, fromNative, ModelError } from './errors.js';

/**
 * Text as it is made. One-shot: iterate it once, or await `result`.
 * The engine works at most a bounded queue ahead of the reader, so a slow reader holds memory flat.
 */
export class TextStream {
  #generation;
  #complete;
  #signal;
  #onSettled;
  #onToken;
  #toError;
  #onAbort = () => this.abort(this.#signal.reason);
  #iterator = this.#read();
  #reading = false;
  #drained = null;
  #pieces = [];
  #text = '';
  #finished = false;
  #failure = null;
  #interrupt = () => {};
  #result;
  #resolve;
  #reject;

  /**
   * @param {object} source
   * @param {() => Promise<{ next(): Promise<object | null>, cancel(): void }>} source.start begins the native generation
   * @param {(completion: object, text: string) => object | Promise<object>} source.complete makes the result from the last event
   * @param {AbortSignal} [source.signal]
   * @param {(error?: unknown) => void} [source.onSettled] called once, when the stream has ended in whatever way
   * @param {(text: string) => void} [source.onToken]
   * @param {(error: unknown) => unknown} [source.toError] what the reader gets for an error of the source
   */
  constructor({ start, complete, signal, onSettled, onToken, toError = fromNative }) {
    this.#complete = complete;
    this.#toError = toError;
    this.#signal = signal;
    this.#onSettled = onSettled;
    this.#onToken = onToken;
    this.#result = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#result.catch(() => {}); // whoever awaits it sees the error; nobody has to
    if (signal?.aborted) {
      this.abort(signal.reason);
      return;
    }
    signal?.addEventListener('abort', this.#onAbort, { once: true });
    this.#generation = start();
    this.#generation.catch(() => {}); // seen by the first read
  }

  /** The result of `generate()`, once the stream has ended. Without a reader, asking for it reads the stream. */
  get result() {
    // A reader usually starts in the same turn of the event loop; only when none came is the stream read from here.
    if (!this.#reading) setImmediate(() => this.#drain());
    return this.#result;
  }

  /** Reads the stream to its end now: what `generate()` is. */
  readToEnd() {
    this.#drain();
    return this.#result;
  }

  /** Stops the engine; the iterator and `result` fail with an AbortError that has `reason` as its cause. */
  abort(reason) {
    this.end((partialText) => new AbortError(reason, partialText));
  }

  /** Stops the engine; the iterator and `result` fail with the error that is made of the text so far. */
  end(errorOf) {
    if (!this.#finished) this.#fail(errorOf(this.#text));
  }

  /** True once the stream has ended in whatever way. */
  get settled() {
    return this.#finished;
  }

  next() {
    this.#reading = true;
    return this.#iterator.next();
  }

  /** Leaving a `for await` loop ends up here. */
  async return(value) {
    this.abort(new Error('The reader left the stream'));
    return { done: true, value };
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  async [Symbol.asyncDispose]() {
    await this.return();
  }

  /** A web stream of the same text. */
  toReadableStream() {
    return ReadableStream.from(this);
  }

  async *#read() {
    if (this.#drained) {
      await this.#drained;
      yield* this.#pieces;
    }
    for (let piece = await this.#pull(); piece !== undefined; piece = await this.#pull()) yield piece;
  }

  /** Reads to the end in place of a reader and keeps the pieces for one that comes later. */
  #drain() {
    if (this.#reading) return;
    this.#drained ??= (async () => {
      for (let piece = await this.#pull(); piece !== undefined; piece = await this.#pull()) this.#pieces.push(piece);
    })().catch(() => {}); // `result` and the next read carry the error
  }

  /** The next piece of text; undefined at the end; throws what went wrong. */
  async #pull() {
    if (this.#failure) throw this.#failure;
    if (this.#finished) return undefined;
    try {
      const event = await this.#interruptible(this.#generation.then((generation) => generation.next()));
      if (event?.text !== undefined) {
        this.#text += event.text;
        this.#onToken?.(event.text);
        return event.text;
      }
      if (!event?.done) throw new Error('[INTERNAL] the stream ended without a result');
      const result = await this.#complete(event.done, this.#text);
      if (this.#failure) throw this.#failure;
      this.#resolve(result);
      this.#settle();
      return undefined;
    } catch (error) {
      this.#fail(this.#failure ?? this.#toError(error));
      throw this.#failure;
    }
  }

  /** Settles with `promise`, or with the failure as soon as the stream is aborted. */
  #interruptible(promise) {
    return new Promise((resolve, reject) => {
      this.#interrupt = reject;
      promise.then(resolve, reject);
    });
  }

  #settle(error) {
    this.#finished = true;
    this.#signal?.removeEventListener('abort', this.#onAbort);
    this.#onSettled?.(error);
  }

  #fail(error) {
    if (this.#finished) return;
    this.#failure = error;
    if (error instanceof ModelError) error.partialText ??= this.#text;
    this.#settle(error);
    this.#generation?.then((generation) => generation.cancel(), () => {});
    this.#interrupt(error);
    this.#reject(error);
  }
}
