// How well a model predicts a text of any length: windows that overlap by half, so that every token is seen after enough others.
import { createHash } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { AbortError, ModelError } from './errors.js';

/** Two-sided 95 % of a normal distribution. */
const Z = 1.96;
const DEFAULT_WINDOW = 512;

/** What a measurement has come to. */
function summary({ count, sum, squares }) {
  const nll = sum / count;
  const variance = Math.max(0, squares / count - nll * nll);
  const error = Z * Math.sqrt(variance / count);
  return { perplexity: Math.exp(nll), low: Math.exp(nll - error), high: Math.exp(nll + error), nll, tokens: count };
}

/** State that another run left behind, or a fresh one; a file of other input is refused, so that nothing is mixed up. */
function restore(file, about) {
  const fresh = { ...about, next: 1, count: 0, sum: 0, squares: 0 };
  if (file === undefined) return fresh;
  let text;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return fresh;
    throw new ModelError(`The state ${file} cannot be read: ${error.message}`, 'IO_ERROR', { path: file }, { cause: error });
  }
  let state;
  try {
    state = JSON.parse(text);
  } catch {
    state = {};
  }
  const numbers = ['next', 'count', 'sum', 'squares'].every((key) => Number.isFinite(state[key]));
  if (numbers && Object.keys(about).every((key) => state[key] === about[key])) return state;
  throw new ModelError(`The state ${file} is of another model, text or window: remove it, or name another file`, 'INVALID_ARGUMENT', { option: 'state', given: file });
}

function save(file, state) {
  if (file === undefined) return;
  try {
    writeFileSync(`${file}.partial`, JSON.stringify(state));
    renameSync(`${file}.partial`, file);
  } catch (error) {
    throw new ModelError(`The state ${file} cannot be written: ${error.message}`, 'IO_ERROR', { path: file }, { cause: error });
  }
}

/**
 * The perplexity of a text. Each token is counted once: those of the first window, then half a window at a time after the other half.
 * @param {object} model
 * @param {string} text
 * @param {{ window?: number, state?: string, signal?: AbortSignal, onProgress?: (now: object) => void }} [options]
 * `state`: a file that keeps how far it is, to go on from there
 * @returns {Promise<{ perplexity: number, low: number, high: number, nll: number, tokens: number }>} `low` and `high`: 95 %
 */
export async function measurePerplexity(model, text, { window: wanted, state: file, signal, onProgress } = {}) {
  const ids = model.tokenize(text);
  if (ids.length < 2) throw new ModelError(`The text has ${ids.length} tokens; a perplexity takes 2`, 'INVALID_ARGUMENT', { option: 'text' });
  const window = Math.min(wanted ?? DEFAULT_WINDOW, model.info().contextSize);
  const { architecture, parameters, weightTypes } = model.info();
  const about = { model: [architecture, parameters, weightTypes].join(' '), text: createHash('sha256').update(Uint32Array.from(ids)).digest('hex'), window };
  const state = restore(file, about);
  const half = Math.max(1, Math.floor(window / 2));
  while (state.next < ids.length) {
    if (signal?.aborted) throw new AbortError(signal.reason);
    const start = state.next === 1 ? 0 : Math.max(0, state.next - half);
    const end = Math.min(ids.length, start + window);
    const { tokenNll } = await model.perplexity(ids.slice(start, end));
    // tokenNll[i] is of the token start + i + 1.
    for (const nll of tokenNll.slice(state.next - start - 1)) {
      state.count += 1;
      state.sum += nll;
      state.squares += nll * nll;
    }
    state.next = end;
    save(file, state);
    onProgress?.({ ...summary(state), done: end, total: ids.length });
  }
  return summary(state);
}
