// npm run soak [-- --minutes 10 --streams 64 --json]: many streams over three models for a while. Nothing may be lost or mixed up, memory
// stays flat, streams of one model get the same share, and an abort is the last that is heard of a stream.
import path from 'node:path';
import { parseArgs } from 'node:util';
import { pathToFileURL } from 'node:url';
import { ROOT, say } from './support.js';

/** Tokens of one answer. */
const TOKENS = 24;
/** Different calls of one model, each with an answer that is known. */
const CALLS = 8;
/** One call in so many is aborted on its way. */
const ABORT_ONE_IN = 8;
/** What the streams of one model may differ in, most to least. */
const MOST_UNFAIR = 2;
/** What memory may grow by between the first and the last third: a share, and bytes that allocators take their time to give back. */
const GROWTH = { share: 0.05, bytes: 24 * 2 ** 20 };
/** Below this many seconds memory says nothing: caches still fill. */
const SETTLED = 60;

const SOURCES = ['demo', path.join(ROOT, 'testdata/oracle/gguf/llama3-158.I2_S.gguf'), path.join(ROOT, 'testdata/oracle/gguf/bitnet-2b4t.I2_S.gguf')];

const callOf = (i) => ({ prompt: `Tell me about number ${i}`, options: { seed: i, temperature: 1, topK: 0, topP: 1, maxTokens: TOKENS, ignoreEos: true } });

/** Reads one stream to its end, or aborts it after `abortAt` pieces. */
async function readOne(stream, abortAt) {
  let text = '';
  let pieces = 0;
  try {
    for await (const piece of stream) {
      text += piece;
      pieces += 1;
      if (pieces === abortAt) stream.abort();
    }
  } catch (error) {
    if (error.code !== 'ABORTED') throw error;
    return { text, pieces, aborted: true };
  }
  return { text, pieces, aborted: false };
}

/** One worker: call after call on one model until the time is over. */
async function work({ router, model, known, number, until, report }) {
  const share = { model: model.id, tokens: 0 };
  report.shares.push(share);
  for (let round = number; Date.now() < until; round++) {
    const { prompt, options } = callOf(round % CALLS);
    const abortAt = round % ABORT_ONE_IN === 3 ? 1 + (round % 7) : undefined;
    let heard = 0;
    const stream = router.stream(prompt, { ...options, modelId: model.id, onToken: () => (heard += 1) });
    const { text, pieces, aborted } = await readOne(stream, abortAt);
    const expected = known[round % CALLS];
    report.calls += 1;
    if (aborted) {
      report.aborted += 1;
      if (heard > abortAt || !expected.startsWith(text)) report.lateAborts += 1;
    } else if (text !== expected) {
      report.wrong += 1;
    }
    share.tokens += aborted ? pieces : TOKENS;
  }
}

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

/** The ratio of the largest to the smallest share of the streams of one model. */
function unfairness(shares) {
  const models = Map.groupBy ? Map.groupBy(shares, ({ model }) => model) : shares.reduce((map, one) => map.set(one.model, [...(map.get(one.model) ?? []), one]), new Map());
  return Math.max(...[...models.values()].map((own) => Math.max(...own.map(({ tokens }) => tokens)) / Math.max(1, Math.min(...own.map(({ tokens }) => tokens)))));
}

function judge(report, seconds) {
  const third = Math.floor(report.rss.length / 3);
  const [before, after] = [median(report.rss.slice(third, 2 * third)), median(report.rss.slice(-third))];
  const flat = seconds < SETTLED || after - before <= before * GROWTH.share + GROWTH.bytes;
  return {
    ...report,
    rss: { before, after },
    unfairness: unfairness(report.shares),
    problems: [
      report.wrong > 0 && `${report.wrong} answers were not those of the same call alone`,
      report.lateAborts > 0 && `${report.lateAborts} aborted streams were heard of again`,
      report.busy && 'a model is busy though nothing runs',
      !flat && `memory grew from ${before} to ${after} bytes`,
      unfairness(report.shares) > MOST_UNFAIR && `the shares of streams of one model differ by ${unfairness(report.shares).toFixed(2)}`,
    ].filter(Boolean),
  };
}

/**
 * Runs it.
 * @param {{ seconds: number, streams: number, threads?: number }} how
 * @returns {Promise<object>} counts, `unfairness`, `rss` in bytes, and `problems`, which is empty when all is well
 */
export async function soak({ seconds, streams, threads = 1 }) {
  const { LLMRouter } = await import(pathToFileURL(path.join(ROOT, 'index.js')).href);
  const router = new LLMRouter();
  const models = [];
  for (const source of SOURCES) models.push(await router.load(source, { threads, contextSize: 256 }));
  const known = new Map();
  for (const model of models) {
    const alone = [];
    for (let i = 0; i < CALLS; i++) {
      const { prompt, options } = callOf(i);
      alone.push((await model.generate(prompt, options)).text);
    }
    known.set(model, alone);
  }
  const report = { calls: 0, wrong: 0, aborted: 0, lateAborts: 0, shares: [], rss: [] };
  const watch = setInterval(() => report.rss.push(process.memoryUsage.rss()), 250);
  const until = Date.now() + seconds * 1000;
  const workers = Array.from({ length: streams }, (_, number) => {
    const model = models[number % models.length];
    return work({ router, model, known: known.get(model), number, until, report });
  });
  try {
    await Promise.all(workers);
  } finally {
    clearInterval(watch);
  }
  report.busy = models.some((model) => model.busy);
  await router.cleanup();
  return judge(report, seconds);
}

async function main() {
  const { values } = parseArgs({ options: { minutes: { type: 'string', default: '10' }, streams: { type: 'string', default: '64' }, json: { type: 'boolean' } } });
  const { shares, ...report } = await soak({ seconds: Number(values.minutes) * 60, streams: Number(values.streams) });
  if (values.json) console.log(JSON.stringify(report));
  else console.log(report);
  say(report.problems.length === 0 ? 'All is well' : report.problems.join('; '));
  process.exitCode = report.problems.length === 0 ? 0 : 1;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) await main();
