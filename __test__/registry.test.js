// The registry: what is loaded, how it is found, and the list on the disk.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { LLMRouter, ModelRegistry } from 'llm-runner-router';
import { fakeRouter, gate } from './support/fakes.js';
import { ROOT, sleep, temporaryFolder } from './support/models.js';
import { runModule } from './support/run.js';

const model = (id, more) => ({ id, name: `Model ${id}`, generate: async () => ({ text: id }), ...more });

test('models are registered, found by id, name, format and capability, and unregistered', async () => {
  const registry = new ModelRegistry();
  const chat = model('chat-1', { format: 'gguf', capabilities: { chat: true } });
  const embed = model('embed-1', { format: 'mock', supports: (name) => name === 'embedding', remote: true });
  for (const one of [chat, embed]) assert.equal(await registry.register(one), one);
  assert.equal(registry.get('chat-1'), chat);
  assert.deepEqual(registry.list(), [
    { id: 'chat-1', name: 'Model chat-1', format: 'gguf', source: undefined, loaded: true },
    { id: 'embed-1', name: 'Model embed-1', format: 'mock', source: undefined, loaded: true },
  ]);
  const queries = [[{ name: '^model chat' }, chat], [{ name: /EMBED/ }, embed], [{ format: 'mock' }, embed], [{ capability: 'chat' }, chat], [{ remote: true }, embed]];
  for (const [query, found] of queries) assert.deepEqual(registry.search(query), [found], JSON.stringify(query));
  assert.deepEqual(registry.getByCapability('embedding'), [embed]);
  assert.deepEqual(registry.search({ name: 'model', format: 'gguf', capability: 'embedding' }), []);
  assert.equal(await registry.unregister('chat-1'), true);
  assert.equal(await registry.unregister('chat-1'), false);
  for (const wrong of [undefined, {}, { id: '' }, { id: 'x' }, { generate() {} }]) await assert.rejects(registry.register(wrong), { code: 'INVALID_ARGUMENT' });
});

test('beyond maxModels idle models go, the least recently used first; a busy one never does', async () => {
  const { opened, open } = gate();
  const { router, models } = await fakeRouter({ a: { text: () => opened }, b: {}, c: {}, d: {} }, { maxModels: 4 });
  router.registry.config.maxModels = 2;
  const answer = router.generate('x', { modelId: 'a' });
  await router.registry.makeRoom();
  assert.deepEqual(router.registry.list().map(({ id }) => id), ['a']);
  router.registry.config.maxModels = 1;
  await assert.rejects(router.registry.register({ ...models.b }), { code: 'TOO_MANY_MODELS', message: /raise maxModels/ });
  open('done');
  assert.equal((await answer).text, 'done');
  await sleep(1);
  await router.registry.register({ ...models.b });
  assert.deepEqual(router.registry.list().map(({ id }) => id), ['b']);
});

test('with registryPath models are remembered, and loaded when they are first asked for', async () => {
  const registryPath = path.join(temporaryFolder(), 'models', 'registry.json');
  const first = new LLMRouter({ registryPath });
  await first.load('demo', { id: 'talker', threads: 1, quality: 0.3 });
  await first.load('demo', { id: 'other', threads: 1 });
  await first.unload('other');
  const { text } = await first.generate('What is BitNet?', { temperature: 0 });
  await first.cleanup();
  assert.deepEqual(JSON.parse(readFileSync(registryPath, 'utf8')), { version: 1, models: [{ id: 'talker', threads: 1, quality: 0.3, source: 'demo' }] });

  const second = new LLMRouter({ registryPath });
  const answers = await Promise.all([1, 2].map(() => second.generate('What is BitNet?', { modelId: 'talker', temperature: 0 })));
  assert.deepEqual(answers.map((answer) => answer.text), [text, text]);
  assert.equal(second.registry.getModelCount(), 1, 'two calls at once load it once');
  assert.equal(second.registry.get('talker').info().threads, 1);
  await second.cleanup();

  const third = new LLMRouter({ registryPath });
  await third.initialize();
  assert.deepEqual(third.registry.list(), [{ id: 'talker', name: 'talker', format: undefined, source: 'demo', loaded: false }]);
  const { modelId } = await third.stream('What is BitNet?', { modelId: 'talker', maxTokens: 2 }).readToEnd();
  assert.equal(modelId, 'talker');
  assert.equal(await third.unload('talker'), true);
  assert.deepEqual(JSON.parse(readFileSync(registryPath, 'utf8')).models, []);
  await assert.rejects(third.generate('x', { modelId: 'talker' }), { code: 'MODEL_NOT_FOUND' });
  await third.cleanup();
});

test('a list that cannot be read or written warns once and keeps nothing from working', async () => {
  const folder = temporaryFolder();
  const broken = path.join(folder, 'broken.json');
  writeFileSync(broken, '{"version": 1, "models": [{}]}');
  writeFileSync(path.join(folder, 'file'), '');
  const source = `
    const { LLMRouter } = await import(${JSON.stringify(path.join(ROOT, 'index.js'))});
    process.on('warning', (warning) => console.log(warning.code));
    for (const registryPath of ['broken.json', 'file/registry.json']) {
      const router = new LLMRouter({ registryPath });
      await router.initialize();
      await router.load('mock:x');
      console.log((await router.generate('hi')).text.length > 0);
    }`;
  const { stdout, stderr } = await runModule(source, { cwd: folder });
  assert.deepEqual(stdout.trim().split('\n').sort(), ['LLM_ROUTER_REGISTRY', 'true', 'true'], stderr);
});
