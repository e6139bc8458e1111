// What models take: shared weights, the budget, freeing while work is in flight, and models that are damaged.
import assert from 'node:assert/strict';
import { cpSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { BitNetLoader, LLMRouter } from 'llm-runner-router';
import { machineBytes } from '../lib/memory.js';
import { collect, ENDLESS, loadDemo, ORACLE, ROOT, sleep, temporaryFolder } from './support/models.js';

const DEMO = path.join(ROOT, 'demo', 'bitnet-demo');
const greedy = { temperature: 0, maxTokens: 8 };

/** A folder with a copy of the demo model. */
function demoCopy() {
  const folder = path.join(temporaryFolder(), 'copy');
  cpSync(DEMO, folder, { recursive: true });
  return folder;
}

test('the memory of the machine is what its control group allows', () => {
  assert.equal(machineBytes({ total: 100, constrained: 40 }), 40);
  assert.equal(machineBytes({ total: 100, constrained: 1e18 }), 100);
  for (const constrained of [0, undefined]) assert.equal(machineBytes({ total: 100, constrained }), 100);
  const { memory } = new LLMRouter();
  assert.ok(memory.limit > 0 && memory.limit <= 0.8 * totalmem());
});

test('the same model loaded twice is held once, with ids, defaults and turns of its own', async () => {
  const { router, model: first } = await loadDemo({ temperature: 0 });
  const phases = [];
  const second = await router.load('demo', { threads: 1, temperature: 5, topK: 0, topP: 1, seed: 3, conversation: true, onProgress: ({ phase }) => phases.push(phase) });
  assert.deepEqual([first.usage.key === second.usage.key, phases], [true, ['ready']]);
  assert.equal(router.getStatus().memory.usedBytes, first.usage.bytes);
  const other = await router.load('demo', { threads: 2 });
  assert.notEqual(other.usage.key, first.usage.key);
  assert.equal(router.memory.used, first.usage.bytes + other.usage.bytes);
  const [a, b] = [await first.generate('Hello!', { maxTokens: 20 }), await second.generate('Hello!', { maxTokens: 20 })];
  assert.notEqual(a.text, b.text);
  assert.equal(b.seed, 3);
  assert.deepEqual([first.turns.length, second.turns.length], [0, 2]);
});

test('keys and values stay within maxMemory: what is kept goes first, then the newest call fails', async () => {
  const { model: probe } = await loadDemo();
  const weights = probe.info().memory.weightsBytes;
  await probe.generate('Hello!', { temperature: 0, maxTokens: 100, ignoreEos: true });
  const perCall = probe.info().memory.kvBytes;
  assert.ok(perCall > 0);
  const maxMemory = weights + 2 * perCall;
  const router = new LLMRouter();
  const model = await router.load('demo', { threads: 1 });
  // Loading may take more for a moment than what stays.
  router.memory.limit = maxMemory;
  router.memory.limitCaches(router.loaders.values());
  for (let i = 0; i < 8; i++) {
    await router.generate(`Number ${i} is`, { temperature: 0, maxTokens: 100, ignoreEos: true, raw: true });
    assert.ok(router.memory.used <= maxMemory, `${router.memory.used} of ${maxMemory}`);
  }
  const long = router.generate('Once', { temperature: 0, maxTokens: 480, ignoreEos: true, raw: true });
  await assert.rejects(long, { code: 'INSUFFICIENT_MEMORY', message: /keys and values/ });
  const many = Array.from({ length: 12 }, (_, i) => router.generate(`${i}`, { temperature: 0, maxTokens: 100, ignoreEos: true }));
  for (const { tokens } of await Promise.all(many)) assert.equal(tokens, 100);
  assert.ok(model.usage.bytes <= maxMemory);
  await router.cleanup();
});

test('two loads at once of the same model make one', async () => {
  const loader = new BitNetLoader();
  const models = await Promise.all([1, 2, 3].map(() => loader.load('demo', { threads: 1 })));
  assert.equal(new Set(models.map(({ usage }) => usage.key)).size, 1);
  const failing = loader.load('demo', { threads: 2, onProgress: () => { throw new Error('of the caller'); } });
  const healthy = loader.load('demo', { threads: 2 });
  await assert.rejects(failing, /of the caller/);
  assert.ok((await (await healthy).generate('Hello!', greedy)).tokens > 0, 'a load that fails does not take the other with it');
});

test('unloading one of two ends its answers, and the other goes on', async () => {
  const { router, model: first } = await loadDemo();
  const second = await router.load('demo', { threads: 1 });
  const [left, right] = [first.stream('Hello!', ENDLESS), second.stream('Hello!', ENDLESS)];
  await Promise.all([left.next(), right.next()]);
  assert.deepEqual([first.busy, second.busy], [true, true]);
  const rest = left.next().then(() => collect(left)).catch((error) => error);
  await first.unload();
  const error = await rest;
  assert.deepEqual([error.code, error.partialText.length > 0], ['MODEL_NOT_LOADED', true]);
  for (let i = 0; i < 20; i++) assert.equal((await right.next()).done, false);
  await right.return();
  await Promise.all([first.unload(), first.dispose()]);
  assert.equal((await second.generate('Hello!', greedy)).tokens, 8);
  await second.unload();
  assert.equal(second.usage, undefined);
  assert.equal(router.memory.used, 0);
});

test('a file that has changed is loaded anew', async () => {
  const folder = demoCopy();
  const loader = new BitNetLoader();
  const first = await loader.load(folder);
  assert.equal((await loader.load(folder)).usage.key, first.usage.key);
  utimesSync(path.join(folder, 'model.safetensors'), new Date(), new Date(Date.now() + 5000));
  const changed = await loader.load(folder);
  assert.notEqual(changed.usage.key, first.usage.key);
  assert.equal((await loader.load(folder)).usage.key, changed.usage.key);
  await first.unload();
  assert.equal((await changed.generate('Hello!', greedy)).tokens, 8);
});

test('a model that does not fit is refused with the numbers before it is read', async () => {
  const router = new LLMRouter({ maxMemory: 1_000_000 });
  const phases = [];
  await assert.rejects(router.load('demo', { onProgress: ({ phase }) => phases.push(phase) }), (error) => {
    assert.equal(error.code, 'INSUFFICIENT_MEMORY');
    assert.match(error.message, /take up to 2 MB, but of maxMemory 1 MB only 1 MB are left/);
    assert.deepEqual([error.details.maxMemory, error.details.usedBytes], [1_000_000, 0]);
    assert.ok(error.details.neededBytes > 1_000_000);
    return true;
  });
  assert.ok(!phases.includes('weights'), phases.join());
  await router.load('mock:x');
  for (const maxMemory of [0, -1, '4GB', 1.5]) assert.throws(() => new LLMRouter({ maxMemory }), { code: 'INVALID_ARGUMENT' });
});

test('room is made by unloading idle models, the least recently used first, and never a busy one', async () => {
  const { usage } = (await loadDemo()).model;
  const router = new LLMRouter({ maxMemory: Math.ceil(usage.bytes * 2.2 + 1_500_000) });
  const unloaded = [];
  router.on('model-unloaded', ({ id }) => unloaded.push(id));
  for (const [i, id] of ['a', 'b'].entries()) await router.load('demo', { id, threads: i + 1 });
  await router.generate('Hello!', { modelId: 'a', ...greedy });
  await router.load('demo', { id: 'c', threads: 3 });
  assert.deepEqual(unloaded, ['b']);
  const streams = ['a', 'c'].map((modelId) => router.stream('Hello!', { modelId, ...ENDLESS }));
  await Promise.all(streams.map((stream) => stream.next()));
  await assert.rejects(router.load('demo', { id: 'd', threads: 4 }), { code: 'INSUFFICIENT_MEMORY', message: /loaded: a \d+ MB, c \d+ MB/ });
  assert.deepEqual(unloaded, ['b']);
  await streams[0].return();
  await sleep(5);
  await router.load('demo', { id: 'd', threads: 4 });
  assert.deepEqual(unloaded, ['b', 'a']);
  await streams[1].return();
  await router.cleanup();
});

test('disposing of a router ends what is under way and frees everything', async () => {
  const { router } = await loadDemo();
  const streams = [1, 2, 3].map(() => router.stream('Hello!', ENDLESS));
  const ends = streams.map((stream) => collect(stream).catch((error) => error.code));
  await sleep(20);
  await router[Symbol.asyncDispose]();
  assert.deepEqual(await Promise.all(ends), Array(3).fill('MODEL_NOT_LOADED'));
  assert.equal(router.memory.used, 0);
  await router.dispose();
});

/** Overwrites every byte of a tensor of a safetensors file. */
function overwrite(folder, tensor, byte) {
  const file = path.join(folder, 'model.safetensors');
  const bytes = readFileSync(file);
  const length = Number(bytes.readBigUInt64LE());
  const [from, to] = JSON.parse(bytes.subarray(8, 8 + length))[tensor].data_offsets;
  bytes.fill(byte, 8 + length + from, 8 + length + to);
  writeFileSync(file, bytes);
}

test('a matrix of zeros fails the load, with the likely cause, unless the self-test is off', async () => {
  const folder = demoCopy();
  overwrite(folder, 'model.layers.2.mlp.down_proj.weight', 0b01010101); // four codes of zero
  const loader = new BitNetLoader();
  await assert.rejects(loader.load(folder), (error) => {
    assert.equal(error.code, 'MODEL_SELFTEST_FAILED');
    assert.match(error.message, /^Failed to load BitNet model: .*all weights of `model\.layers\.2\.mlp\.down_proj\.weight` are zero.*fetch it again/);
    return true;
  });
  const model = await loader.load(folder, { selfTest: false });
  assert.equal((await model.generate('Hello!', { ...greedy, ignoreEos: true })).tokens, 8);
  assert.ok((await loader.load('demo', { selfTest: true })).loaded);
});

test('with selfTest a model that writes one token for ever fails the load', async () => {
  const folder = demoCopy();
  // Norms of zero leave nothing of the prompt: all tokens score the same.
  overwrite(folder, 'model.norm.weight', 0);
  const loader = new BitNetLoader();
  await assert.rejects(loader.load(folder, { selfTest: true }), { code: 'MODEL_SELFTEST_FAILED', message: /16 times on end/ });
  assert.ok((await loader.load(folder)).loaded);
});

test('every model of the oracle passes the test of its matrices', async () => {
  const loader = new BitNetLoader();
  for (const name of ['bitnet-2b4t', 'falcon3-158', 'llama3-158']) assert.ok((await loader.load(path.join(ORACLE, 'models', name))).loaded, name);
});
