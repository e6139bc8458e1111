// Conversations, ensembles, advanced() and the configuration.
import assert from 'node:assert/strict';
import { cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { Config, detectEnvironment, LLMRouter } from 'llm-runner-router';
import { combine, similarity } from '../lib/ensemble.js';
import { failure, fakeRouter, gate, read } from './support/fakes.js';
import { loadDemo, ROOT, temporaryFolder } from './support/models.js';
import { runModule } from './support/run.js';

/** A model that answers with what it was asked. */
const echo = (prompt) => JSON.stringify(prompt.map(({ role, content }) => [role, content]));

test('a chat sends its turns whole, with the system message first', async () => {
  const { router } = await fakeRouter({ a: { text: echo } });
  const chat = router.chat({ modelId: 'a', system: 'Be brief.' });
  const first = JSON.parse((await chat.send('one')).text);
  assert.deepEqual(first, [['system', 'Be brief.'], ['user', 'one']]);
  const { text, result } = await read(chat.stream('two'));
  assert.equal(result.text, text);
  assert.deepEqual(JSON.parse(text).map(([role]) => role), ['system', 'user', 'assistant', 'user']);
  assert.deepEqual(chat.history.map(({ role }) => role), ['user', 'assistant', 'user', 'assistant']);
  chat.history.push('a copy');
  assert.equal(chat.history.length, 4);
  chat.reset();
  assert.equal(JSON.parse((await chat.send('three')).text).length, 2);
  await assert.rejects(chat.send(7), { code: 'INVALID_ARGUMENT' });
  assert.throws(() => router.chat({ system: 7 }), { code: 'INVALID_ARGUMENT', message: /system/ });
});

test('turns follow each other, and one that fails or is given up leaves no trace', async () => {
  const { opened, open } = gate();
  let calls = 0;
  const text = async (prompt) => {
    calls += 1;
    if (calls === 1) await opened;
    if (calls === 2) throw failure('BROKEN');
    return echo(prompt);
  };
  const { router } = await fakeRouter({ a: { text } });
  const chat = router.chat();
  const [first, second, third] = ['one', 'two', 'three'].map((turn) => chat.send(turn));
  second.catch(() => {});
  open();
  await first;
  await assert.rejects(second, { code: 'BROKEN' });
  assert.deepEqual(JSON.parse((await third).text).filter(([role]) => role === 'user').map(([, content]) => content), ['one', 'three']);
  const left = chat.stream('four');
  for await (const _ of left) break;
  assert.equal(chat.history.length, 4);
  void chat.stream('five');
  await chat.send('six');
  assert.equal(chat.history.length, 8, 'an answer that nobody reads does not block the next turn');
});

test('a chat stays with the model that answered first, while it is there', async () => {
  const { router } = await fakeRouter({ a: { text: 'a' }, b: { text: 'b' } }, { strategy: 'round-robin' });
  const chat = router.chat();
  for (let i = 0; i < 3; i++) assert.equal((await chat.send('x')).modelId, 'a');
  await router.unload('a');
  assert.equal((await chat.send('x')).modelId, 'b');
  assert.equal(chat.modelId, 'b');
  await router.unload('b');
  await assert.rejects(router.chat({ modelId: 'b' }).send('x'), { code: 'MODEL_NOT_FOUND' });
});

test('a saved chat goes on where it was, and the engine does not read its past again', async () => {
  const { router, model } = await loadDemo();
  const folder = temporaryFolder();
  const file = path.join(folder, 'chat.json');
  const chat = router.chat({ modelId: model.id, system: 'You are a helpful assistant.', temperature: 0 });
  await chat.send('What is BitNet?', { maxTokens: 12 });
  const second = await chat.send('tell me more', { maxTokens: 8 });
  assert.ok(second.usage.cachedTokens > 10, JSON.stringify(second.usage));
  await chat.save(file);
  assert.deepEqual(readdirSync(folder), ['chat.json']);
  const copy = await router.chat({ temperature: 0 }).load(file);
  assert.deepEqual([copy.history, copy.system, copy.modelId], [chat.history, chat.system, model.id]);
  assert.equal((await copy.send('and?', { maxTokens: 8 })).text, (await chat.send('and?', { maxTokens: 8 })).text);
  for (const text of ['{}', 'no json', '{"version":1,"messages":[{}]}']) {
    writeFileSync(file, text);
    await assert.rejects(chat.load(file), { code: 'INVALID_ARGUMENT', message: /no chat/ });
  }
  await assert.rejects(chat.load(path.join(folder, 'nothing')), { code: 'ENOENT' });
});

test('chat(messages) answers once, in the shape of the original', async () => {
  const { router } = await fakeRouter({ a: { text: 'hi' } });
  const { message, duration, modelId } = await router.chat([{ role: 'user', content: 'x' }], { modelId: 'a' });
  assert.deepEqual([message, modelId, typeof duration], [{ role: 'assistant', content: 'hi' }, 'a', 'number']);
});

test('advanced() takes one object, applies its defaults, loads what is no id, and streams on request', async () => {
  const asked = [];
  const { router } = await fakeRouter({ a: { text: (prompt, options) => (asked.push(options), 'a') }, bad: { text: () => { throw failure('BROKEN'); } } });
  const result = await router.advanced({ prompt: 'x', model: 'bad', fallbacks: ['a'] });
  assert.equal(result.modelId, 'a');
  assert.deepEqual([asked[0].temperature, asked[0].maxTokens], [0.7, 500]);
  await router.advanced({ prompt: 'x', model: 'a', temperature: 0, maxTokens: 3 });
  assert.deepEqual([asked[1].temperature, asked[1].maxTokens], [0, 3]);
  assert.equal((await read(await router.advanced({ prompt: 'x', model: 'a', stream: true }))).text, 'a');
  const { text, modelId } = await router.advanced({ messages: [{ role: 'user', content: 'Hello!' }], model: 'demo', maxTokens: 4, temperature: 0 });
  assert.ok(text.length > 0 && router.registry.get(modelId).source === 'demo');
  await assert.rejects(router.advanced({ prompt: 'x', model: 'bad', fallbacks: ['bad'] }), { code: 'BROKEN' });
  for (const call of [undefined, {}, { model: 'a' }, { prompt: 'x', model: 7 }]) await assert.rejects(router.advanced(call), { code: 'INVALID_ARGUMENT' });
  await router.cleanup();
});

test('similarity is 1 for the same words, 0 for others, and in between for some', () => {
  assert.equal(similarity('The answer is 4.', 'the ANSWER, is 4'), 1);
  assert.equal(similarity('one two', 'three four'), 0);
  assert.equal(similarity('', '...'), 1);
  assert.equal(similarity('a b', 'a c'), 1 / 3);
});

const answers = (...rows) => rows.map(([text, weight = 1]) => ({ text, weight }));
const VOTES = [
  ['weighted-vote', 'the answer with most weight behind it', answers(['4'], ['5', 1.5], ['4.']), 0, 2 / 3.5],
  ['weighted-vote', 'a heavy model against two light ones', answers(['4'], ['5', 3], ['4']), 1, 3 / 5],
  ['weighted-vote', 'free texts: the heaviest model', answers(['one'], ['two', 2], ['three']), 1, 0.5],
  ['weighted-vote', 'nobody has weight', answers(['a', 0], ['b', 0]), 0, 1],
  ['consensus', 'the answer most like the others', answers(['cats are fine animals'], ['dogs bark'], ['cats are very fine animals']), 0, undefined],
  ['consensus', 'the weight of the others counts', answers(['blue sky'], ['red rose', 5], ['red rose now'], ['blue sky now']), 2, undefined],
  ['consensus', 'one answer alone agrees with itself', answers(['x']), 0, 1],
];
for (const [method, what, rows, index, agreement] of VOTES) {
  test(`${method}: ${what}`, () => {
    const combined = combine(rows, method);
    assert.equal(combined.index, index);
    if (agreement !== undefined) assert.equal(combined.agreement, agreement);
    assert.ok(combined.agreement >= 0 && combined.agreement <= 1);
  });
}

test('an ensemble runs side by side, and a member that fails has no vote', async () => {
  const { opened, open } = gate();
  let started = 0;
  const text = (answer) => async () => {
    started += 1;
    if (started === 3) open();
    await opened;
    return answer;
  };
  const { router, models } = await fakeRouter({ a: { text: text('Yes.') }, b: { text: text('no') }, c: { text: text('yes') }, bad: { text: () => { throw failure('BROKEN'); } } });
  const { text: answer, modelId, ensemble, routing } = await router.ensemble(['a', { model: 'b', weight: 1.5 }, models.c, 'bad'], 'really?', { timeout: 2000 });
  assert.deepEqual([answer, modelId, routing.modelId, ensemble.method, ensemble.agreement], ['Yes.', 'a', 'a', 'weighted-vote', 2 / 3.5]);
  assert.deepEqual(ensemble.votes.map((vote) => [vote.modelId, vote.weight, vote.text, vote.score, vote.error?.code]), [
    ['a', 1, 'Yes.', 2, undefined], ['b', 1.5, 'no', 1.5, undefined], ['c', 1, 'yes', 2, undefined], ['bad', 1, undefined, undefined, 'BROKEN'],
  ]);
  assert.equal((await router.ensemble(['a', 'b'], 'x', { method: 'consensus' })).ensemble.method, 'consensus');
  await assert.rejects(router.ensemble(['a', 'b'], 'x', { minAgreement: 0.9 }), (error) => {
    assert.equal(error.code, 'NO_CONSENSUS');
    assert.equal(error.details.votes.length, 2);
    return true;
  });
  await assert.rejects(router.ensemble(['bad', { model: 'bad' }], 'x'), { code: 'ALL_MODELS_FAILED', message: /bad: it failed: BROKEN/ });
  for (const members of [undefined, [], 'a', [{}], [{ model: 'a', weight: -1 }], [{ model: 'a', weight: NaN }], [null], ['']]) {
    await assert.rejects(router.ensemble(members, 'x'), { code: 'INVALID_ARGUMENT' }, JSON.stringify(members));
  }
  await assert.rejects(router.ensemble(['a'], 'x', { method: 'best-of' }), { code: 'INVALID_ARGUMENT' });
});

test('a configuration: what is set wins over the environment, which wins over the file', async () => {
  const folder = temporaryFolder();
  writeFileSync(path.join(folder, 'in.json'), JSON.stringify({ strategy: 'random', maxModels: 5, cacheTTL: 7, apiSecret: 'hidden', other: 1 }));
  const source = `
    const { Config, LLMRouter } = await import(${JSON.stringify(path.join(ROOT, 'index.js'))});
    const config = await new Config({ cacheTTL: 9 }).load('in.json');
    console.log(JSON.stringify([config.get('strategy'), config.get('maxModels'), config.get('cacheTTL'), config.get('other'), config.get('nothing', 3), config.get('environment')]));
    console.log(JSON.stringify(config.routerOptions()), config.validate());
    const router = new LLMRouter(config);
    console.log(router.router.strategy, router.registry.config.maxModels, router.pipeline.config.cacheTTL);
    console.log(new LLMRouter().registry.config.maxModels, new LLMRouter({ maxModels: 2 }).registry.config.maxModels);
    await config.set('more', true).save('out.json');`;
  const { stdout, stderr } = await runModule(source, { cwd: folder, env: { LLM_ROUTER_MAX_MODELS: '6', NODE_ENV: 'test' } });
  assert.deepEqual(stdout.trim().split('\n'), [
    '["random",6,9,1,3,"test"]', '{"strategy":"random","maxModels":6,"cacheTTL":9} true', 'random 6 9', '6 2',
  ], stderr);
  const saved = JSON.parse(readFileSync(path.join(folder, 'out.json'), 'utf8'));
  assert.deepEqual([saved.more, saved.apiSecret], [true, undefined]);
  assert.throws(() => new Config({ strategy: 7 }).validate(), { code: 'INVALID_ARGUMENT' });
  assert.equal(new Config().set('key', 'value').get('key'), 'value');
});

test('LLM_ROUTER_STRATEGY, _CACHE_TTL, _TIMEOUT and _REGISTRY_PATH act like the options', async () => {
  const source = `
    const { LLMRouter } = await import(${JSON.stringify(path.join(ROOT, 'index.js'))});
    const { router, config, pipeline, registry } = new LLMRouter();
    console.log(router.strategy, pipeline.config.cacheTTL, config.timeout, registry.config.registryPath);`;
  const env = { LLM_ROUTER_STRATEGY: 'random', LLM_ROUTER_CACHE_TTL: '5', LLM_ROUTER_TIMEOUT: '77', LLM_ROUTER_REGISTRY_PATH: 'x.json' };
  assert.equal((await runModule(source, { env })).stdout, 'random 5 77 x.json\n');
  assert.match((await runModule(source, { env: { ...env, LLM_ROUTER_TIMEOUT: 'soon' } })).stderr, /Invalid option timeout/);
});

test('getStatus() and detectEnvironment() tell where and what', async () => {
  const { router } = await fakeRouter({ a: {} });
  const status = router.getStatus();
  assert.deepEqual([status.environment, detectEnvironment(), status.modelsLoaded, status.strategy, status.models[0].id], ['node', 'node', 1, 'balanced', 'a']);
  assert.equal(status.initialized, true);
  await router.dispose();
  assert.equal(router.getStatus().modelsLoaded, 0);
  const { stdout } = await runModule(`
    import { Worker } from 'node:worker_threads';
    new Worker('import(' + JSON.stringify(${JSON.stringify(path.join(ROOT, 'index.js'))}) + ').then((m) => console.log(m.detectEnvironment()))', { eval: true });`);
  assert.equal(stdout, 'worker\n');
  await assert.doesNotReject(async () => { await using_(new LLMRouter()); });
});

/** What \`await using\` does. */
async function using_(router) {
  await router.load('mock:x');
  await router[Symbol.asyncDispose]();
  assert.equal(router.registry.getModelCount(), 0);
}

test('a chat that is saved with its context is not computed again, and without it it is, to the same answer', async () => {
  const file = path.join(temporaryFolder(), 'chat.json');
  const { router, model } = await loadDemo();
  const options = { system: 'You are a helpful assistant.', temperature: 0, maxTokens: 40 };
  const chat = router.chat({ modelId: model.id, ...options });
  for (const text of ['What is BitNet?', 'What is a token?', 'Hello!']) await chat.send(text);
  await chat.save(file, { context: true });
  assert.ok(existsSync(`${file}.context`));
  const goOn = async () => {
    const { router: other, model: same } = await loadDemo();
    return (await other.chat({ modelId: same.id, ...options }).load(file)).send('Thank you.');
  };
  const restored = await goOn();
  assert.ok(restored.usage.cachedTokens > 60, JSON.stringify(restored.usage));
  const damaged = readFileSync(`${file}.context`);
  damaged[damaged.length >> 1] ^= 1;
  writeFileSync(`${file}.context`, damaged);
  const recomputed = await goOn();
  assert.equal(recomputed.usage.cachedTokens, 0);
  assert.equal(restored.text, recomputed.text);
  await assert.rejects(chat.save(file, { contexts: true }), { code: 'INVALID_OPTION' });
});

test('the context of another model is told from one\'s own', async () => {
  const file = path.join(temporaryFolder(), 'context');
  const { model } = await loadDemo();
  const messages = [{ role: 'user', content: 'What is BitNet?' }];
  assert.equal(await model.saveContext(messages, file), 0);
  await model.generate(messages, { temperature: 0, maxTokens: 4 });
  assert.ok((await model.saveContext(messages, file)) > 5);
  const folder = path.join(temporaryFolder(), 'other');
  cpSync(path.join(ROOT, 'demo', 'bitnet-demo'), folder, { recursive: true });
  const weights = path.join(folder, 'model.safetensors');
  const bytes = readFileSync(weights);
  // Other keys in one layer: the same shapes, another model.
  const header = Number(bytes.readBigUInt64LE(0));
  const [name] = Object.keys(JSON.parse(bytes.subarray(8, 8 + header))).filter((key) => key.includes('layers.1.') && key.includes('k_proj.weight') && !key.includes('scale'));
  const [from, to] = JSON.parse(bytes.subarray(8, 8 + header))[name].data_offsets.map((offset) => 8 + header + offset);
  bytes.copyWithin(from, from + 64, to);
  writeFileSync(weights, bytes);
  const router = new LLMRouter();
  const other = await router.load(folder, { threads: 1 });
  assert.deepEqual([await model.loadContext(file) > 5, await other.loadContext(file)], [true, 0]);
  await router.cleanup();
});
