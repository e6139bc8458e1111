// When a call that failed is made again on the same model, and after how long.

const FIRST_MS = 500;
const LONGEST_MS = 8000;
/** A server that asks for more patience than this is not waited for. */
const LONGEST_RETRY_AFTER_MS = 30_000;

/**
 * Milliseconds to wait before the next try; undefined when there shall be none.
 * @param {Error & { retryable?: boolean, details?: { retryAfterMs?: number } }} error
 * @param {number} tries made so far, at least 1
 * @param {number} retries allowed
 * @param {() => number} [random]
 */
export function backOff(error, tries, retries, random = Math.random) {
  if (tries > retries || error?.retryable !== true) return undefined;
  const asked = error.details?.retryAfterMs;
  if (asked !== undefined) return asked <= LONGEST_RETRY_AFTER_MS ? asked : undefined;
  // Between half of it and all of it, so that many callers do not come back at the same moment.
  return Math.min(LONGEST_MS, FIRST_MS * 2 ** (tries - 1)) * (0.5 + random() / 2);
}

/** Waits; an aborted signal ends the wait with its reason. */
export function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    }, ms);
    signal.addEventListener('abort', onAbort, { once: true });
  });
}
