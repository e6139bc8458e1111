// npm run bench at its smallest: the fields and their sense, never how fast.
import assert from 'node:assert/strict';
import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import LLMRouter from '../index.js';
import { kvBytesPerToken, loadModel, promptOf, warmUp } from '../scripts/bench/measure.js';
import { planCases } from '../scripts/bench/rounds.js';
import { layerTensors, SHAPES } from '../scripts/bench/shapes.js';
import { median, summarize } from '../scripts/bench/statistics.js';
import { ORACLE, ROOT, temporaryFolder } from './support/models.js';
import { runNode } from './support/run.js';

const folder = temporaryFolder();
const tiny = path.join(folder, 'tiny');
const bench = (...args) => runNode([path.join(ROOT, 'scripts', 'bench.js'), ...args], { cwd: folder, env: { XDG_CACHE_HOME: folder }, timeout: 600_000 });
const jsonLines = (stdout) => stdout.trim().split('\n').map((line) => JSON.parse(line));
const SMALL = ['--threads', '1', '--repeat', '2', '--decode', '8'];

const FIELDS = [
  'model', 'kernel', 'threads', 'prefillTokens', 'prefillTps', 'decodeTokens', 'decodeTps', 'contextTokens', 'batch', 'loadMs',
  'firstTokenMs', 'peakRssBytes', 'gbPerSecond', 'shareOfBandwidth', 'shareOfPeak',
];

before(async () => {
  const { code, stdout, stderr } = await bench('--make', 'tiny', '--out', tiny);
  assert.equal(code, 0, stderr);
  assert.equal(stdout.trim(), tiny);
});

test('a line of JSON for each measurement has every field, and the figures make sense', async () => {
  const { code, stdout, stderr } = await bench('--json', '--model', 'demo', ...SMALL, '--threads', '1,2', '--prefill', '32', '--context', '0,64', '--batch', '1');
  assert.equal(code, 0, stderr);
  const lines = jsonLines(stdout);
  assert.deepEqual(lines.map(({ threads, prefillTokens, contextTokens }) => [threads, prefillTokens, contextTokens]), [[1, 32, 0], [1, null, 64], [2, 32, 0], [2, null, 64]]);
  for (const line of lines) {
    for (const field of FIELDS) assert.ok(field in line, `${field} is missing`);
    assert.equal(line.model, 'demo');
    assert.equal(line.decodeTokens, 8);
    assert.equal(line.rounds, 2);
    assert.ok(line.firstTokenMs > line.loadMs && line.loadMs > 0, JSON.stringify(line));
    assert.ok(line.peakRssBytes > 20e6, JSON.stringify(line));
    // The demo model fits into caches, from where weights come faster than from memory.
    assert.ok(line.decodeTps > 0 && line.gbPerSecond > 0 && line.shareOfBandwidth > 0, JSON.stringify(line));
  }
  const [first, second] = lines;
  assert.ok(first.prefillTps > 0 && first.shareOfPeak > 0 && first.shareOfPeak < 1.5, JSON.stringify(first));
  assert.deepEqual([second.prefillTps, second.shareOfPeak, second.gopPerSecond], [null, null, null]);
});

test('calls at a time are counted together, and every kernel can be asked for', async () => {
  const { code, stdout, stderr } = await bench('--json', '--model', tiny, ...SMALL, '--isa', 'scalar', '--prefill', '0', '--context', '16', '--batch', '1,3', '--no-cold');
  assert.equal(code, 0, stderr);
  const [one, three] = jsonLines(stdout);
  assert.deepEqual([one.batch, three.batch, one.decodeTokens, three.decodeTokens], [1, 3, 8, 8]);
  assert.deepEqual([one.kernel, one.prefillTokens, one.coldFirstTokenMs], ['scalar', null, null]);
  assert.ok(three.decodeTps > 0 && three.gbPerSecond > 0);
});

test('the table tells the limits of the machine, and files take all figures and a chart', async () => {
  const [out, svg, html] = ['all.json', 'chart.svg', 'chart.html'].map((name) => path.join(folder, name));
  const { code, stdout, stderr } = await bench('--model', tiny, ...SMALL, '--prefill', '16,32', '--context', '0,5000', '--out', out, '--plot', svg);
  assert.equal(code, 0, stderr);
  assert.match(stderr, /Left out: a context of 5000; the model's limit is 1024/);
  assert.match(stdout, /prompt of 16 .*GOP\/s .*%/);
  assert.match(stdout, /8 tokens after 0 .*GB\/s .*%/);
  assert.match(stdout, /read, GB\/s/);
  const results = JSON.parse(readFileSync(out, 'utf8'));
  assert.ok(results.machine.cpu && results.machine.date);
  assert.equal(results.measurements.length, 2);
  assert.equal(results.samples.length, 4);
  assert.ok(results.limits[0].readGbPerSecond > 0 && results.limits[0].int8GmacPerSecond > 0);
  const chart = readFileSync(svg, 'utf8');
  assert.equal(chart.match(/<rect [^>]*height="[\d.]+" fill="#2563eb"/g).length, 4, 'a bar for each of two prompts and one context, and one in the legend');
  assert.equal((await bench('--model', tiny, ...SMALL, '--prefill', '16', '--context', '0', '--no-cold', '--plot', html)).code, 0);
  assert.match(readFileSync(html, 'utf8'), /^<!doctype html>.*<svg /s);
});

test('scripts that run engines in turn get a line for each test', async () => {
  const { code, stdout, stderr } = await bench('--peers', tiny, '1', 'pp32,tg8,tg8@40');
  assert.equal(code, 0, stderr);
  assert.deepEqual(jsonLines(stdout).map(({ test }) => test), ['pp32', 'tg8', 'tg8@40']);
  for (const { tok_s: tps } of jsonLines(stdout)) assert.ok(tps > 0);
  assert.equal((await bench('--peers', tiny, '1', 'xx9')).code, 2);
});

test('a rival with the command line of llama-bench runs in each round, and ratios are told', { skip: process.platform === 'win32' }, async () => {
  const program = path.join(folder, 'rival-bench');
  // Claims 10 tokens a second for prompts and 5 for decoding.
  writeFileSync(program, `#!${process.execPath}
const after = (name) => process.argv[process.argv.indexOf(name) + 1].split(',').map(Number).filter((n) => n > 0);
if (process.argv.includes('--help')) { console.log('  -d, --n-depth <n>'); process.exit(); }
const depth = process.argv.includes('-d') ? after('-d')[0] : 0;
console.log(JSON.stringify([
  ...after('-p').map((n) => ({ n_prompt: n, n_gen: 0, n_depth: depth, avg_ts: 10 })),
  ...after('-n').map((n) => ({ n_prompt: 0, n_gen: n, n_depth: depth, avg_ts: 5 })),
]));
`);
  chmodSync(program, 0o755);
  const rival = ['--compare', '--llama-bench', program, '--rival-model', path.join(tiny, 'config.json')];
  const { code, stdout, stderr } = await bench('--json', '--model', tiny, ...SMALL, '--prefill', '16', '--context', '0,32', '--no-cold', ...rival);
  assert.equal(code, 0, stderr);
  const ratios = jsonLines(stdout).filter(({ rival: name }) => name === 'rival-bench');
  assert.deepEqual(ratios.map(({ test, rivalTps }) => [test, rivalTps]), [['pp16', 10], ['tg8', 5], ['tg8@32', 5]]);
  for (const { ratio, oursTps, rivalTps, rounds } of ratios) {
    assert.equal(rounds, 2);
    assert.ok(Math.abs(ratio / (oursTps / rivalTps) - 1) < 0.01);
  }
});

test('text that repeats itself is decoded with and without speculation', async () => {
  const { code, stdout, stderr } = await bench('--speculation', '--json', '--model', 'demo', ...SMALL, '--decode', '200', '--threads', '1,2');
  assert.equal(code, 0, stderr);
  const lines = jsonLines(stdout);
  assert.deepEqual(lines.map(({ threads, decodeTokens, rounds }) => [threads, decodeTokens, rounds]), [[1, 200, 2], [2, 200, 2]]);
  for (const { plainTps, speculativeTps, speedup, draftedTokens, acceptedTokens } of lines) {
    assert.ok(plainTps > 0 && speculativeTps > 0 && speedup > 0);
    assert.ok(draftedTokens > 0 && acceptedTokens <= draftedTokens, `${acceptedTokens} of ${draftedTokens}`);
  }
  const table = await bench('--speculation', '--model', tiny, ...SMALL);
  assert.match(table.stdout, /one by one, tokens\/s .*right guesses/);
});

test('a wrong command line is refused with the cure', async () => {
  for (const [args, message] of [
    [['--nonsense'], /nonsense/],
    [['--threads', '0'], /--threads takes whole numbers from 1; "0" was given/],
    [['--decode', 'many'], /--decode takes whole numbers/],
    [['--make', '70b'], /There is no shape "70b"; there are: 2b4t, /],
    [['--compare'], /--compare needs --rival-model/],
    [['--compare', '--rival-model', path.join(tiny, 'config.json')], /npm install node-llama-cpp/],
    [['--speculation', '--decode', '0'], /--speculation is for decoding alone/],
    [['stray'], /What is "stray"\?/],
  ]) {
    const { code, stderr } = await bench(...args);
    assert.equal(code, 2, stderr);
    assert.match(stderr, message);
  }
  const missing = await bench('--model', 'org/nothing', '--repeat', '1');
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /Model not found: org\/nothing/);
});

test('a synthetic model loads, generates, and is the same each time', async () => {
  const again = path.join(folder, 'again');
  assert.equal((await bench('--make', 'tiny', '--out', again)).code, 0);
  assert.deepEqual(readdirSync(again), readdirSync(tiny));
  for (const name of readdirSync(again)) assert.deepEqual(readFileSync(path.join(again, name)), readFileSync(path.join(tiny, name)), name);
  const router = new LLMRouter();
  const model = await router.load(tiny, { threads: 1 });
  const info = model.info();
  const ternary = [...layerTensors(SHAPES.tiny)].reduce((sum, { rows = 0, cols = 0 }) => sum + rows * cols, 0);
  assert.deepEqual([info.vocabSize, info.layers, info.embeddingSize, info.ternaryParameters], [8448, 2, 128, ternary]);
  const { tokenIds, usage } = await model.generate('Hello', { maxTokens: 12, ignoreEos: true, temperature: 0, raw: true });
  assert.equal(tokenIds.length, 12);
  assert.ok(new Set(tokenIds).size > 1, 'different tokens');
  assert.equal(usage.promptTokens, 6, 'the beginning token and five bytes');
  assert.deepEqual(model.tokenize('<|eot_id|>', { addSpecial: false }), [8447]);
  await router.cleanup();
});

test('an existing folder is not written over', async () => {
  const { code, stderr } = await bench('--make', 'tiny', '--out', tiny);
  assert.equal(code, 1);
  assert.match(stderr, /exists already/);
});

test('a shape given as the model is made in the cache folder of the user', async () => {
  const { code, stderr } = await bench('--json', '--model', 'tiny', ...SMALL, '--prefill', '16', '--context', '0', '--no-cold');
  assert.equal(code, 0, stderr);
  if (process.platform === 'linux') assert.ok(existsSync(path.join(folder, 'llm-runner-router', 'bench', 'v1', 'tiny', 'model.safetensors')));
});

test('prompts have the length that was asked for, and no beginning in common', async () => {
  for (const source of ['demo', tiny, path.join(ORACLE, 'models', 'llama3-158'), path.join(ORACLE, 'models', 'bitnet158-legacy')]) {
    const { model } = await loadModel(source, { threads: 1 });
    for (const length of [3, 17, 100, 257]) assert.equal(model.tokenize(promptOf(model, length, length)).length, length, `${source}, ${length}`);
    const starts = [1, 2, 3, 4].map((seed) => promptOf(model, 50, seed).slice(0, 20));
    assert.equal(new Set(starts).size, 4);
    await model.unload();
  }
});

test('bytes of a decoded token follow from the shape', async () => {
  const { hidden, vocab, layers, kvHeads, headDim } = SHAPES.tiny;
  const tensors = [...layerTensors(SHAPES.tiny)];
  const packed = tensors.reduce((sum, { rows = 0, cols = 0 }) => sum + (rows * cols) / 4, 0);
  const norms = tensors.reduce((sum, { norm = 0 }) => sum + norm * 4, 0);
  const { model } = await loadModel(tiny, { threads: 1 });
  await warmUp(model);
  // 16-bit codes, and a factor for all heads' keys and one for their values.
  assert.equal(kvBytesPerToken(model), layers * 2 * (kvHeads * headDim * 2 + 4));
  // The head is searched through a copy: six bits of each weight, and what goes with each row.
  const head = model.info().weightBytesPerToken - packed - norms;
  const bits = (vocab * hidden * 6) / 8;
  assert.ok(head >= bits && head < bits + vocab * 32, `${head} bytes`);
  await model.unload();
  // Below that, the whole head is read: here one of its own, while the embedding is not read.
  const llama = await loadModel(path.join(ORACLE, 'models', 'llama3-158'), { threads: 1 });
  const info = llama.model.info();
  assert.equal(info.weightBytesPerToken, info.memory.weightsBytes + info.vocabSize * info.embeddingSize * 2);
  await llama.model.unload();
});

test('a context that leaves no room to decode is shortened', () => {
  const plan = planCases({ threads: [1], prefill: [], context: [0, 1000, 1024], decode: 16, batch: [1] }, 1024);
  assert.deepEqual(plan.map(({ context }) => context), [0, 1000, 1007]);
});

test('a summary tells the median and the range', () => {
  assert.equal(median([5, 1, 3]), 3);
  assert.equal(median([4, 1, 2, 3]), 2.5);
  assert.equal(median([]), null);
  const { range, ...rest } = summarize([{ a: 'x', b: 2, c: null }, { a: 'x', b: 4, c: null }, { a: 'x', b: 3, c: null }]);
  assert.deepEqual(rest, { a: 'x', b: 3, c: null, rounds: 3 });
  assert.deepEqual(range, { b: [2, 4] });
});
