// Where the original package contradicted its guide or itself: what this one does instead. Numbers are those of the compatibility notes.
import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { BitNetLoader, LLMRouter, ModelError } from 'llm-runner-router';
import { guideProject, loadDemo, ORACLE, ROOT, temporaryFolder } from './support/models.js';
import { runModule } from './support/run.js';

const tiny = path.join(ORACLE, 'models', 'bitnet-2b4t');
const greedy = { temperature: 0, maxTokens: 6 };

test('C3: the loader takes a spec object as well as a source', async () => {
  const loader = new BitNetLoader();
  const model = await loader.load({ source: tiny, type: 'bitnet', threads: 1 });
  assert.equal(model.info().threads, 1);
});

test('C4: every call shape reaches the model', async () => {
  const { router, model } = await loadDemo();
  const messages = [{ role: 'user', content: 'What is BitNet?' }];
  const calls = [
    ['What is BitNet?', { modelId: model.id, ...greedy }],
    ['What is BitNet?', { model: model.id, ...greedy }],
    [model, 'What is BitNet?', greedy],
    [model.id, 'What is BitNet?', greedy],
    [{ prompt: 'What is BitNet?', model: model.id, ...greedy }],
    [{ messages, ...greedy }],
    [messages, greedy],
    [undefined, { messages, ...greedy }],
  ];
  const expected = await model.generate('What is BitNet?', greedy);
  for (const call of calls) {
    assert.equal((await router.generate(...call)).text, expected.text);
    assert.equal((await router.stream(...call).readToEnd()).text, expected.text);
  }
  for (const call of [[], [42], ['a', 'b', 'c'], [{}], ['a', () => {}], [model], [[]]]) {
    await assert.rejects(router.generate(...call), { code: 'INVALID_ARGUMENT' });
    assert.throws(() => router.stream(...call), { code: 'INVALID_ARGUMENT' });
  }
});

test('C7: bitnetPath, then the environment, then the working directory, then the package', async () => {
  const [explicit, environment, cwd] = [guideProject(), guideProject(), guideProject()];
  const load = `
    const { BitNetLoader } = await import('llm-runner-router');
    const models = [];
    for (const bitnetPath of JSON.parse(process.env.PATHS)) {
      const model = await new BitNetLoader({ bitnetPath: bitnetPath ?? undefined }).load('1bitLLM/bitnet_b1_58-large');
      console.log(model.path);
    }`;
  const repo = (project) => path.join(project, 'temp', 'bitnet-repo');
  const run = (paths, env) => runModule(load, { cwd: cwd, env: { PATHS: JSON.stringify(paths), ...env } });
  const both = await run([repo(explicit), null], { LLM_RUNNER_BITNET_PATH: repo(environment) });
  const [first, second] = both.stdout.trim().split('\n');
  assert.ok(first.startsWith(explicit), both.stderr);
  assert.ok(second.startsWith(environment), both.stderr);
  assert.ok((await run([null], { LLM_RUNNER_BITNET_PATH: '' })).stdout.startsWith(cwd));

  process.chdir(temporaryFolder());
  await assert.rejects(new BitNetLoader({ bitnetPath: repo(explicit) }).load('org/nothing'), (error) => {
    for (const place of [repo(explicit), path.join(process.cwd(), 'temp'), path.join(ROOT, 'temp')]) assert.ok(error.message.includes(place), place);
    return true;
  });
  process.chdir(ROOT);
});

test('C9: the model has what the original promised of it', async () => {
  const { model } = await loadDemo();
  assert.equal(model.type, 'bitnet');
  assert.equal(model.format, 'bitnet');
  assert.equal(model.loaded, true);
  assert.equal(model.quantization, '1.58-bit');
  assert.equal(model.supports('streaming'), true);
  assert.equal(model.supports('embedding'), false);
  assert.equal(model.getInfo().id, model.id);
  assert.equal(JSON.parse(JSON.stringify(model)).id, model.id);
  for (const member of ['generate', 'stream', 'unload', 'cleanup']) assert.equal(typeof model[member], 'function');
});

test('C10: constructor options reach the parts', () => {
  const router = new LLMRouter({ routingStrategy: 'balanced', maxModels: 3, cache: true, cacheTTL: 5 });
  assert.equal(router.router.config.strategy, 'balanced');
  assert.equal(router.registry.config.maxModels, 3);
  assert.deepEqual(router.pipeline.config, { cache: true, cacheTTL: 5 });
  assert.throws(() => new LLMRouter({ strategy: 'fastest' }), { code: 'INVALID_ARGUMENT', message: /strategy.*"fastest".*"balanced"/ });
});

test('C10: beyond maxModels the least recently used model is unloaded', async () => {
  const router = new LLMRouter({ maxModels: 2 });
  const [a, b] = [await router.load(tiny), await router.load(tiny)];
  await a.generate('x', greedy);
  const c = await router.load(tiny);
  assert.deepEqual(router.registry.getAll().map(({ id }) => id), [a.id, c.id]);
  assert.equal(b.loaded, false);
  await router.cleanup();
});

test('C11: an unknown model id is refused by every call', async () => {
  const { router, model } = await loadDemo();
  const refusal = { code: 'MODEL_NOT_FOUND', message: `Model not found: nobody. Loaded are: ${model.id}` };
  await assert.rejects(router.generate('x', { modelId: 'nobody' }), refusal);
  await assert.rejects(router.quick('x', { model: 'nobody' }), refusal);
  assert.throws(() => router.stream('x', { modelId: 'nobody' }), refusal);
  assert.throws(() => new LLMRouter().stream('x'), { code: 'MODEL_NOT_LOADED', message: /^No models available/ });
  assert.throws(() => router.stream('x', { modelId: 7 }), { code: 'INVALID_ARGUMENT' });
});

test('C13: prompts that only differ late get answers of their own', async () => {
  const { router } = await loadDemo();
  const ask = (end) => router.generate(`${'a '.repeat(60)}${end}`, { ...greedy, raw: true, cache: true });
  await ask('one');
  assert.equal((await ask('two')).cached, false);
});

test('C14: only greedy and seeded answers are cached unless the call asks for it; hits are copies', async () => {
  const router = new LLMRouter({ cache: true });
  await router.load('demo', { temperature: 0.8 });
  const twice = async (options) => {
    await router.generate('Hello!', options);
    return router.generate('Hello!', options);
  };
  assert.equal((await twice({ maxTokens: 3 })).cached, false);
  assert.equal((await twice({ maxTokens: 4, cache: true })).cached, true);
  assert.equal((await twice({ maxTokens: 5, seed: 1 })).cached, true);
  const hit = await twice(greedy);
  assert.equal(hit.cached, true);
  hit.usage.totalTokens = -1;
  assert.ok((await router.generate('Hello!', greedy)).usage.totalTokens > 0);
  assert.equal((await router.generate('Hello!', { ...greedy, cache: false })).cached, false);
  const plain = new LLMRouter();
  await plain.load('demo');
  await plain.generate('Hello!', greedy);
  assert.equal((await plain.generate('Hello!', greedy)).cached, false);
  await Promise.all([router.cleanup(), plain.cleanup()]);
});

test('C14: a model that takes over an id does not get the answers of the one before it', async () => {
  const router = new LLMRouter({ cache: true });
  await router.load('demo', { id: 'm' });
  const first = await router.generate('Hello!', greedy);
  await router.load(tiny, { id: 'm' });
  const second = await router.generate('Hello!', greedy);
  assert.equal(second.cached, false);
  assert.notEqual(second.text, first.text);
  await router.cleanup();
});

test('C14: answers older than cacheTTL are made anew', async () => {
  const router = new LLMRouter({ cache: true, cacheTTL: 0 });
  await router.load('demo');
  await router.generate('Hello!', greedy);
  assert.equal((await router.generate('Hello!', greedy)).cached, false);
  await router.cleanup();
});

test('C15, C30: a program that has used the router ends by itself, with no handlers installed', async () => {
  const source = `
    import LLMRouter from ${JSON.stringify(path.join(ROOT, 'index.js'))};
    const router = new LLMRouter();
    const model = await router.load('demo');
    await router.generate('Hello!', { modelId: model.id, maxTokens: 5 });
    for await (const piece of router.stream('Hello!')) break;
    router.stream('never read');
    console.log(JSON.stringify(['uncaughtException', 'unhandledRejection', 'SIGINT', 'SIGTERM'].map((name) => process.listenerCount(name))));`;
  const { code, stdout, stderr } = await runModule(source, { timeout: 20_000 });
  assert.equal(code, 0, stderr);
  assert.equal(stdout, '[0,0,0,0]\n');
});

test('C16: the original error arrives, and no error event is emitted', async () => {
  const router = new LLMRouter();
  const failure = new Error('of the model');
  router.registerLoader('own', { load: async () => ({ id: 'own', generate: () => Promise.reject(failure) }) });
  await router.load({ source: 'x', type: 'own' });
  await assert.rejects(router.generate('x'), (error) => error === failure);
});

test('C17: loading writes nothing to the working directory', async () => {
  const folder = temporaryFolder();
  const source = `
    import LLMRouter from ${JSON.stringify(path.join(ROOT, 'index.js'))};
    import { readdirSync } from 'node:fs';
    await new LLMRouter().load('demo');
    console.log(readdirSync('.').length);`;
  assert.equal((await runModule(source, { cwd: folder })).stdout, '0\n');
});

test('C20: no prompt text, no trimming: pieces are exact', async () => {
  const { model } = await loadDemo();
  const { text, tokenIds } = await model.generate('What is BitNet?', { temperature: 0 });
  assert.equal(text, model.detokenize(tokenIds));
  assert.match(text, /^BitNet is a family of language models/);
});

test('C21: an existing relative path without ./ is a path', async () => {
  const folder = temporaryFolder();
  mkdirSync(path.join(folder, 'models'));
  symlinkSync(tiny, path.join(folder, 'models', 'x'), 'junction');
  process.chdir(folder);
  const model = await new BitNetLoader().load('models/x');
  process.chdir(ROOT);
  assert.equal(model.info().architecture, 'BitNetForCausalLM');
});

test('C23: undefined and null mean "not given"', async () => {
  const { model } = await loadDemo({ contextSize: undefined, temperature: null });
  assert.equal(model.info().contextSize, 512);
  const { finishReason } = await model.generate('Hello!', { maxTokens: null, temperature: undefined, seed: null });
  assert.equal(finishReason, 'stop');
});

test('C29: nothing is ever answered in the place of a failing model', async () => {
  const router = new LLMRouter();
  await assert.rejects(router.generate('x'), { code: 'MODEL_NOT_LOADED' });
  await assert.rejects(router.load('org/nothing'), (error) => error instanceof ModelError);
  assert.equal(router.getStatus().modelsLoaded, 0);
});

test('C32: prompts that are none are refused as such', async () => {
  const { model } = await loadDemo();
  for (const prompt of [undefined, null, 7, {}, [], [{ role: 'user' }], [{ content: 'x' }], new Map()]) {
    await assert.rejects(model.generate(prompt), { code: 'INVALID_ARGUMENT' });
  }
  const untemplated = await new BitNetLoader().load(path.join(ORACLE, 'models', 'falcon3-158'));
  await assert.rejects(untemplated.generate('', { raw: true }), { code: 'INVALID_ARGUMENT', message: /empty/ });
});

test('a mock model answers without initialize() and without the engine', async () => {
  const { MockLoader } = await import('llm-runner-router/loaders');
  const router = new LLMRouter({ autoInit: false });
  await assert.rejects(router.load('demo'), { code: 'UNSUPPORTED_FORMAT', message: /No loader available for format: bitnet/ });
  router.registerLoader('mock', new MockLoader());
  const model = await router.load({ source: 'mock://test-model', type: 'mock' });
  const { text, tokens, modelId } = await router.quick('Test prompt', { model: model.id });
  assert.equal(typeof text, 'string');
  assert.equal(modelId, model.id);
  assert.equal(tokens, text.split(' ').length);
  const streamed = [];
  for await (const piece of router.stream('Test prompt')) streamed.push(piece);
  assert.ok(streamed.join('').trim().length > 0);
});
