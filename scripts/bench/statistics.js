// Figures of several rounds as one: the median, and the lowest and highest beside it.

/** The middle value; of an even number of values the mean of the two in the middle. Null when there is none. */
export function median(values) {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Four significant digits: more would be noise. */
export const significant = (value) => (Number.isInteger(value) ? value : Number(value.toPrecision(4)));

/**
 * Joins samples, objects with the same keys: numbers become their median, anything else is that of the first sample.
 * `range` holds the lowest and highest of the numbers that differ.
 * @param {object[]} samples
 */
export function summarize(samples) {
  const summary = {};
  const range = {};
  for (const key of Object.keys(samples[0])) {
    const values = samples.map((sample) => sample[key]).filter((value) => typeof value === 'number');
    if (values.length === 0) {
      summary[key] = samples[0][key];
      continue;
    }
    summary[key] = significant(median(values));
    const [low, high] = [Math.min(...values), Math.max(...values)];
    if (low !== high) range[key] = [significant(low), significant(high)];
  }
  return { ...summary, rounds: samples.length, range };
}

/** Numbers from 0 to 2^32 - 1, the same for the same seed (xorshift). */
export function randomNumbers(seed) {
  let state = (Math.imul(seed, 0x9e3779b1) ^ 0x85ebca6b) | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}
