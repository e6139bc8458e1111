// Every error that leaves this package: a class, a stable code, and the one place where native errors get theirs.

/** Codes after which the same call may succeed if it is made again. */
const RETRYABLE = new Set(['OUT_OF_MEMORY', 'QUEUE_FULL', 'MODEL_UNAVAILABLE', 'RATE_LIMITED', 'REMOTE_FAILED', 'DOWNLOAD_FAILED']);

/** An error of this package. `code` is stable and listed in docs/errors.md; the message is for people. */
export class ModelError extends Error {
  /**
   * @param {string} message
   * @param {string} [code]
   * @param {object} [details] whatever a program may want to read: the option, the paths looked in, the partial text
   * @param {{ cause?: unknown }} [options]
   */
  constructor(message, code = 'MODEL_ERROR', details = {}, options = {}) {
    super(message, options);
    this.name = 'ModelError';
    this.code = code;
    this.details = details;
    this.retryable = RETRYABLE.has(code);
    this.timestamp = new Date().toISOString();
  }
}

export { ModelError as LlmError };

/** A call was stopped by its AbortSignal, by `stream.abort()` or by leaving a `for await` loop. */
export class AbortError extends ModelError {
  /**
   * @param {unknown} reason what the signal gave; kept as `cause`
   * @param {string} [partialText] what had been generated until then
   */
  constructor(reason, partialText = '') {
    super('The call was aborted', 'ABORTED', { partialText }, { cause: reason });
    this.name = 'AbortError';
    this.partialText = partialText;
  }
}

const PREFIX = /^\[([A-Z][A-Z0-9_]*)\] ([^]*)$/;

/**
 * Native errors cross the border as "[CODE] message", because a rejected native promise cannot carry a code of its own.
 * Errors that already are ours pass through.
 */
export function fromNative(error) {
  if (error instanceof ModelError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const match = PREFIX.exec(message);
  if (!match) return new ModelError(`Internal error: ${message}`, 'INTERNAL', {}, { cause: error });
  const [, code, text] = match;
  if (code === 'ABORTED') return new AbortError(error);
  return new ModelError(text, code, {}, { cause: error });
}

/** Runs a synchronous native call and gives its error a code. */
export function callNative(call) {
  try {
    return call();
  } catch (error) {
    throw fromNative(error);
  }
}

/** The same for a call that returns a promise. */
export async function awaitNative(call) {
  try {
    return await call();
  } catch (error) {
    throw fromNative(error);
  }
}

export default ModelError;
