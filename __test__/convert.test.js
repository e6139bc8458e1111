// Model files into other model files: the call, its options, and the commands around it.
import assert from 'node:assert/strict';
import { copyFileSync, cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { BitNetLoader, convert, inspect, LLMRouter, verify } from 'llm-runner-router';
import { OPTIONS } from '../lib/options.js';
import { ORACLE, ROOT, temporaryFolder } from './support/models.js';
import { runNode } from './support/run.js';

const FOLDER = path.join(ORACLE, 'models', 'bitnet-2b4t');
const FILE = path.join(ORACLE, 'gguf', 'bitnet-2b4t.I2_S.gguf');
const router = new LLMRouter();
after(() => router.cleanup());

/** Logits of a few tokens. */
async function logits(source, options) {
  const model = await router.load(source, { threads: 1, ...options });
  const found = await model.forward([500, 39, 354, 75]);
  await router.unload(model.id);
  return found;
}

test('a converted model gives the same logits, and its onProgress heard of every byte', async () => {
  const output = path.join(temporaryFolder(), 'model.gguf');
  const reports = [];
  const made = await convert(FOLDER, output, { threads: 1, onProgress: (report) => reports.push(report) });
  assert.deepEqual({ ...made, seconds: 0 }, { path: output, bytes: made.bytes, tensors: made.tensors, type: 'i2_s', architecture: 'bitnet-b1.58', losses: [], seconds: 0 });
  const last = reports.at(-1);
  assert.deepEqual([last.phase, last.loadedBytes, last.totalBytes], ['convert', made.bytes, made.bytes]);
  assert.deepEqual(await logits(output), await logits(FOLDER));
});

test('models are named as for load(): the demo model, and one of the cache by its id', async () => {
  const demo = await inspect('demo');
  assert.equal(demo.path, path.join(ROOT, 'demo', 'bitnet-demo'));
  const home = temporaryFolder();
  const snapshot = path.join(home, 'models--owner--name', 'snapshots', '0'.repeat(40));
  cpSync(FOLDER, snapshot, { recursive: true });
  const before = process.env.HF_HUB_CACHE;
  process.env.HF_HUB_CACHE = home;
  try {
    const output = path.join(temporaryFolder(), 'model.gguf');
    await convert('owner/name', output);
    assert.equal((await verify('owner/name', output)).same, true);
    await assert.rejects(convert('owner/other', `${output}.2`), { code: 'MODEL_NOT_FOUND', message: /llm-router pull owner\/other/ });
  } finally {
    if (before === undefined) delete process.env.HF_HUB_CACHE;
    else process.env.HF_HUB_CACHE = before;
  }
});

test('an architecture that is not known is named, with those that are and where to add one', async () => {
  const folder = temporaryFolder();
  cpSync(FOLDER, folder, { recursive: true });
  const place = path.join(folder, 'config.json');
  writeFileSync(place, readFileSync(place, 'utf8').replaceAll('BitNetForCausalLM', 'MambaForCausalLM'));
  const refusal = /architecture `MambaForCausalLM` is not supported; supported are: BitNetForCausalLM, .*Where to add one: docs\/formats\.md/;
  await assert.rejects(router.load(folder), { code: 'UNSUPPORTED_MODEL', message: refusal });
  assert.match((await inspect(folder)).problem, refusal);
});

test('every type is written, read and gives the same logits', async () => {
  const folder = temporaryFolder();
  const expected = await logits(FILE);
  const { values } = OPTIONS.find(({ name, in: places }) => name === 'type' && places.includes('convert'));
  for (const type of values) {
    const output = path.join(folder, type);
    assert.equal((await convert(FILE, output, { type })).type, type);
    assert.deepEqual(await logits(output), expected, type);
  }
});

test('embeddingType changes what the embedding takes', async () => {
  const folder = temporaryFolder();
  const sizes = {};
  for (const embeddingType of ['f32', 'bf16', 'q8_0']) {
    const output = path.join(folder, `${embeddingType}.gguf`);
    await convert(FOLDER, output, { embeddingType });
    const { tensors } = await inspect(output);
    const { dtype, bytes } = tensors.find(({ name }) => name === 'token_embd.weight');
    assert.equal(dtype.toLowerCase(), embeddingType);
    sizes[embeddingType] = bytes;
  }
  assert.ok(sizes.f32 === 2 * sizes.bf16 && sizes.bf16 > sizes.q8_0);
});

test('i2sLayout and kernelConfig reach the engine', async () => {
  const plain = await logits(FILE);
  assert.notDeepEqual(await logits(FILE, { i2sLayout: 'arm' }), plain);
  const folder = temporaryFolder();
  const [right, wrong] = [path.join(folder, 'right.gguf'), path.join(folder, 'wrong.gguf')];
  await convert(FILE, right, { i2sLayout: 'x86' });
  await convert(FILE, wrong, { i2sLayout: 'arm' });
  assert.deepEqual(await logits(right), plain);
  assert.deepEqual(await logits(wrong), await logits(FILE, { i2sLayout: 'arm' }));
  const arm = path.join(folder, 'arm.gguf');
  await convert(FILE, arm, { outputI2sLayout: 'arm' });
  assert.deepEqual(await logits(arm), plain);
  assert.notDeepEqual(await logits(arm, { i2sLayout: 'x86' }), plain);
  await assert.rejects(convert(FILE, path.join(folder, 'y.gguf'), { type: 'tq2_0', outputI2sLayout: 'arm' }), { code: 'INVALID_ARGUMENT' });
  await assert.rejects(router.load(FILE, { kernelConfig: path.join(folder, 'none.ini') }), { code: 'MODEL_NOT_FOUND' });
  await assert.rejects(convert(FILE, path.join(folder, 'x.gguf'), { kernelConfig: path.join(folder, 'none.ini') }), { code: 'MODEL_NOT_FOUND' });
});

test('quantType converts what has another type, once, into cacheDir, and reports it', async () => {
  const cacheDir = path.join(temporaryFolder(), 'converted');
  const expected = await logits(FILE);
  const phases = async (load) => {
    const seen = new Set();
    const model = await load({ threads: 1, quantType: 'tq2_0', onProgress: ({ phase }) => seen.add(phase) });
    assert.deepEqual([model.quantType, path.dirname(model.path)], ['tq2_0', cacheDir]);
    assert.deepEqual(await model.forward([500, 39, 354, 75]), expected);
    await model.unload();
    return seen.has('convert');
  };
  assert.equal(await phases((options) => router.load(FILE, { cacheDir, ...options })), true);
  assert.equal(await phases((options) => new LLMRouter({ cacheDir }).load(FILE, options)), false);
  assert.equal(await phases((options) => new BitNetLoader({ cacheDir }).load(FILE, options)), false);
  const [name, ...others] = readdirSync(cacheDir);
  assert.deepEqual(others, []);
  assert.match(name, /^bitnet-2b4t\.I2_S-.*\.tq2_0\.gguf$/);
});

test('a model that is still loaded is not taken for one whose original has changed since', async () => {
  const folder = temporaryFolder();
  const [file, cacheDir] = [path.join(folder, 'model.gguf'), path.join(folder, 'cache')];
  const load = () => router.load(file, { threads: 1, quantType: 'tiles', cacheDir });
  copyFileSync(FILE, file);
  const first = await load();
  rmSync(file);
  copyFileSync(path.join(ORACLE, 'gguf', 'llama3-158.I2_S.gguf'), file);
  const second = await load();
  assert.notEqual(first.architecture, second.architecture);
  await Promise.all([first.unload(), second.unload()]);
});

test('a signal stops the conversion and nothing is left', async () => {
  const folder = temporaryFolder();
  const controller = new AbortController();
  const running = convert(FOLDER, path.join(folder, 'model.gguf'), { signal: controller.signal, onProgress: () => controller.abort(new Error('enough')) });
  const outcome = await running.then(() => 'done', (error) => error.code);
  // So small a model may be through before the signal is heard.
  if (outcome === 'done') assert.deepEqual(readdirSync(folder), ['model.gguf']);
  else assert.equal(outcome, 'ABORTED');
  await assert.rejects(convert(FOLDER, path.join(folder, 'other.gguf'), { signal: AbortSignal.abort() }), { code: 'ABORTED' });
  assert.ok(!readdirSync(folder).includes('other.gguf'));
});

test('what cannot be converted is refused with the reason', async () => {
  const output = path.join(temporaryFolder(), 'out');
  const dense = path.join(ORACLE, 'models', 'llama-fp16');
  await assert.rejects(convert(dense, output, { type: 'i2_s' }), { code: 'UNSUPPORTED_QUANT', message: /no ternary weights/ });
  await assert.rejects(convert(path.join(ORACLE, 'nothing'), output), { code: 'MODEL_NOT_FOUND' });
  await assert.rejects(convert(FOLDER, FOLDER), { code: 'OUTPUT_EXISTS' });
  await assert.rejects(convert(FOLDER, ''), { code: 'INVALID_ARGUMENT' });
  await assert.rejects(convert(FOLDER, output, { type: 'q4_0' }), { code: 'INVALID_ARGUMENT' });
  await assert.rejects(convert(FOLDER, output, { temperature: 1 }), { code: 'INVALID_OPTION' });
});

test('inspect tells what a file holds', async () => {
  const found = await inspect(FILE, { contextSize: 10 });
  assert.deepEqual(
    { format: found.format, architecture: found.architecture, contextSize: found.contextSize, problem: found.problem, i2s: found.types.I2_S },
    { format: 'gguf', architecture: 'bitnet-b1.58', contextSize: 10, problem: undefined, i2s: 14 },
  );
  assert.equal(found.memory.kvBytes * 10, (await inspect(FILE, { contextSize: 100 })).memory.kvBytes);
  assert.ok(found.tensors.some(({ name, dtype, shape }) => name === 'blk.0.attn_q.weight' && dtype === 'I2_S' && shape.length === 2));
  await assert.rejects(inspect(path.join(ORACLE, 'nothing')), { code: 'MODEL_NOT_FOUND' });
  await assert.rejects(inspect(FILE, { contextSize: 0 }), { code: 'INVALID_ARGUMENT' });
});

const cli = (...args) => runNode([path.join(ROOT, 'bin', 'llm-router.js'), ...args], { cwd: ROOT });

test('llm-router convert prints the path of what it made, and inspect what is in it', async () => {
  const output = path.join(temporaryFolder(), 'model.gguf');
  const made = await cli('convert', FOLDER, output, '--type', 'tq1_0', '--embedding-type', 'f16');
  assert.equal(made.code, 0, made.stderr);
  assert.equal(made.stdout.trim(), output);
  assert.match(made.stderr, /bitnet-b1\.58, \d+ tensors, ternary weights as tq1_0/);
  const shown = await cli('inspect', output, '--tensors', '--context', '100');
  assert.equal(shown.code, 0, shown.stderr);
  for (const pattern of [/14 TQ1_0/, /can be loaded +yes/, /token_embd\.weight +F16/, /keys and values of 100 take/]) assert.match(shown.stdout, pattern);
  const { types } = JSON.parse((await cli('inspect', output, '--json')).stdout);
  assert.equal(types.TQ1_0, 14);
  const again = await cli('convert', FOLDER, output);
  assert.equal(again.code, 1);
  assert.match(again.stderr, /is there already/);
  assert.equal((await cli('convert', FOLDER)).code, 2);
  assert.equal((await cli('convert', FOLDER, `${output}2`, '--type', 'q9')).code, 2);
  assert.equal((await cli('convert', FOLDER, `${output}2`, '--threads', 'many')).code, 2);
});

test('the types that the command names are those that the call takes', async () => {
  const { values } = OPTIONS.find(({ name, in: places }) => name === 'type' && places.includes('convert'));
  const help = readFileSync(path.join(ROOT, 'lib', 'cli', 'convert.js'), 'utf8');
  for (const type of values) assert.ok(help.includes(type), type);
});
