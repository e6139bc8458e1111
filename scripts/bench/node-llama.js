// The rival node-llama-cpp as a Node program uses it, in a process of its own.
// node node-llama.js ENTRY MODEL THREADS TESTS: ENTRY is the package's main file; prints {"test","tok_s"} lines.
import { pathToFileURL } from 'node:url';
import { readTest } from './rivals.js';
import { randomNumbers } from './statistics.js';

/** Token ids are drawn below this, ordinary tokens in every vocabulary. */
const ORDINARY_IDS = 200;

async function open(entry, modelPath, threads, contextSize) {
  const { getLlama } = await import(pathToFileURL(entry).href);
  const llama = await getLlama({ gpu: false, build: 'never', progressLogs: false, logLevel: 'error', maxThreads: threads });
  const model = await llama.loadModel({ modelPath, gpuLayers: 0 });
  const context = await model.createContext({ contextSize, batchSize: 512, threads: { ideal: threads, min: threads } });
  return context.getSequence();
}

/** Reads `prompt` and makes `tokens` tokens; returns when it began, had the first and had the last. */
async function run(sequence, prompt, tokens) {
  const startedAt = performance.now();
  let [firstAt, count] = [0, 0];
  for await (const _ of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
    if (count === 0) firstAt = performance.now();
    count += 1;
    if (count >= tokens) break;
  }
  const endedAt = performance.now();
  await sequence.clearHistory();
  return { startedAt, firstAt, endedAt };
}

const [entry, modelPath, threads, list] = process.argv.slice(2);
const tests = list.split(',').map((name) => ({ name, ...readTest(name) }));
const longest = Math.max(...tests.map(({ prefill = 0, decode = 0, context = 0 }) => prefill + decode + context));
const random = randomNumbers(1);
const promptOf = (tokens) => Array.from({ length: Math.max(1, tokens) }, () => random() % ORDINARY_IDS);
try {
  const sequence = await open(entry, modelPath, Number(threads), longest + 64);
  await run(sequence, promptOf(16), 4);
  for (const { name, prefill, decode, context } of tests) {
    const { startedAt, firstAt, endedAt } = await run(sequence, promptOf(prefill ?? context), prefill ? 1 : decode + 1);
    const tps = prefill ? (prefill * 1000) / (firstAt - startedAt) : (decode * 1000) / (endedAt - firstAt);
    process.stdout.write(`${JSON.stringify({ test: name, tok_s: tps })}\n`);
  }
  process.exit(0);
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
}
