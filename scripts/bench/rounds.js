// What is measured, in rounds: each round takes every measurement once, so that all share the machine's good and bad moments.
import { say } from '../support.js';
import { dropFromPageCache, sample } from './processes.js';
import { summarize } from './statistics.js';

/**
 * The measurements: for each thread count and batch, the i-th prompt length together with the i-th context. Lengths beyond
 * the model's limit are left out; a context that leaves no room to decode is shortened.
 */
export function planCases({ threads, prefill, context, decode, batch }, contextSize) {
  const fits = (what) => (tokens) => {
    if (tokens <= contextSize) return true;
    say(`Left out: ${what} ${tokens}; the model's limit is ${contextSize}`);
    return false;
  };
  // Room for the token that ends the prompt, and for those that each call of a batch has to spare.
  const room = contextSize - decode - 1 - 4 * (Math.max(...batch) - 1);
  const prompts = prefill.filter(fits('prompts of'));
  const contexts = decode > 0 && room > 0 ? context.filter(fits('a context of')).map((tokens) => Math.min(tokens, room)) : [];
  const cases = [];
  for (const count of threads) {
    for (const [index, size] of batch.entries()) {
      const read = index === 0 ? prompts : [];
      for (let i = 0; i < Math.max(read.length, contexts.length); i += 1) {
        const has = i < contexts.length;
        cases.push({ threads: count, prefill: read[i] ?? null, context: has ? contexts[i] : null, decode: has ? decode : null, batch: has ? size : 1 });
      }
    }
  }
  return cases;
}

/** One sample as the fields of a line of JSON. */
function toFields(name, one, { threads, batch }, limits, coldFirstTokenMs) {
  const { read, made, weightBytes, kvBytes, macsPerToken } = one;
  // A step reads the weights once for all calls of the batch, and each call's keys and values.
  const stepBytes = made ? weightBytes + batch * kvBytes * (made.contextTokens + made.tokens / 2) : null;
  const gbPerSecond = stepBytes === null ? null : (stepBytes * made.tps) / batch / 1e9;
  const gmacPerSecond = read && macsPerToken > 0 ? (macsPerToken * read.tps) / 1e9 : null;
  return {
    model: name,
    kernel: one.kernel,
    threads,
    prefillTokens: read?.tokens ?? null,
    prefillTps: read?.tps ?? null,
    decodeTokens: made?.tokens ?? null,
    decodeTps: made?.tps ?? null,
    contextTokens: made?.contextTokens ?? null,
    batch,
    loadMs: one.loadMs,
    firstTokenMs: one.firstTokenMs,
    coldFirstTokenMs,
    peakRssBytes: one.peakRssBytes,
    gbPerSecond,
    shareOfBandwidth: gbPerSecond === null ? null : gbPerSecond / limits.readGbPerSecond,
    gopPerSecond: gmacPerSecond === null ? null : gmacPerSecond * 2,
    shareOfPeak: gmacPerSecond === null ? null : gmacPerSecond / limits.int8GmacPerSecond,
    otherCpus: one.otherCpus,
  };
}

const describe = ({ prefill, context, decode, batch }) =>
  [prefill !== null && `prompt of ${prefill}`, context !== null && `${decode} tokens after ${context}${batch > 1 ? `, ${batch} at a time` : ''}`]
    .filter(Boolean)
    .join(', ');

/** From the start of a process to its first token with the model out of the page cache; null where that cannot be had. */
async function coldStart(source, place, { threads, isa }) {
  if (!dropFromPageCache(place)) return null;
  return (await sample({ kind: 'start', model: source, threads, isa })).firstTokenMs;
}

/** Runs all rounds. `rivals` have their turn after ours of the same threads, or before it, round by round. */
export async function runRounds(settings, source, rivals) {
  const { isa, repeat } = settings;
  const info = await sample({ kind: 'info', model: source, threads: Math.max(...settings.threads), isa });
  const cases = planCases(settings, info.contextSize).map((one) => ({ ...one, samples: [] }));
  const limits = new Map(settings.threads.map((threads) => [threads, []]));
  for (let round = 0; round < repeat; round += 1) {
    for (const threads of settings.threads) {
      const mine = cases.filter((one) => one.threads === threads);
      const step = (what) => say(`Round ${round + 1} of ${repeat}, threads ${threads}: ${what}`);
      const runRivals = async () => {
        for (const rival of rivals) {
          step(rival.name);
          await rival.run(mine, threads);
        }
      };
      if (round % 2 === 1) await runRivals();
      step('limits of the machine');
      const { otherCpus: _, ...found } = await sample({ kind: 'limits', threads, isa });
      limits.get(threads).push(found);
      if (!settings['no-cold']) step('cold start');
      let cold = settings['no-cold'] ? null : await coldStart(source, info.path, { threads, isa });
      for (const one of mine) {
        step(describe(one));
        const { samples: _samples, ...job } = one;
        const taken = await sample({ kind: 'measure', model: source, isa, seed: 100 + round, ...job });
        one.samples.push(toFields(info.name, taken, one, found, cold));
        // It belongs to the threads, not to the lengths: it is told once.
        cold = null;
      }
      if (round % 2 === 0) await runRivals();
    }
  }
  return {
    cases,
    measurements: cases.map(({ samples }) => summarize(samples)),
    limits: [...limits].map(([threads, found]) => ({ threads, ...summarize(found) })),
  };
}
