// Ctrl-C: the first one stops what is going on in good order, the second one ends the program at once.
import { EXIT } from './exit-codes.js';

/**
 * Runs `work(signal)`, whose signal Ctrl-C aborts.
 * @template T
 * @param {(signal: AbortSignal) => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withInterrupt(work) {
  const stop = new AbortController();
  const onInterrupt = () => {
    if (stop.signal.aborted) process.exit(EXIT.interrupted);
    stop.abort(new Error('interrupted'));
  };
  process.on('SIGINT', onInterrupt);
  try {
    return await work(stop.signal);
  } finally {
    process.off('SIGINT', onInterrupt);
  }
}
