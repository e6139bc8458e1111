// The eight strategies as tables, then the choice of a router with models behind it.
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { LLMRouter, Router } from 'llm-runner-router';
import { candidateOf, Measured } from '../lib/router/facts.js';
import { costOf, expectedMs, STRATEGIES } from '../lib/router/strategies.js';
import { bothWays, fakeRouter } from './support/fakes.js';
import { loadDemo, ORACLE } from './support/models.js';

const REQUEST = { promptTokens: 100, maxTokens: 200, capabilities: [], requirements: { capabilities: [] } };
const candidate = (id, facts = {}) => ({
  id, remote: false, capabilities: {}, price: { input: 0, output: 0 }, requests: 0, failures: 0, running: 0, waiting: 0, lastPicked: 0, ...facts,
});
const winner = (name, candidates, request = {}) => {
  const { scores, reason } = STRATEGIES[name](candidates, { ...REQUEST, ...request });
  assert.equal(scores.length, candidates.length);
  assert.ok(scores.every(Number.isFinite), `${name}: ${scores}`);
  assert.equal(typeof reason, 'string');
  return candidates[scores.indexOf(Math.max(...scores))].id;
};

const CASES = [
  ['quality-first', 'the declared quality counts', [candidate('a', { quality: 0.5 }), candidate('b', { quality: 0.9 })], 'b'],
  ['quality-first', 'without one, more parameters do', [candidate('a', { parameters: 7e8 }), candidate('b', { parameters: 3e9 })], 'b'],
  ['quality-first', 'what is declared stands against what is assumed', [candidate('a', { quality: 0.9, parameters: 1e6 }), candidate('b', { parameters: 7e9 })], 'a'],
  ['cost-optimized', 'local models cost nothing', [candidate('a', { price: { input: 1, output: 2 } }), candidate('b')], 'b'],
  ['cost-optimized', 'the price of the answer counts more with more tokens', [candidate('a', { price: { input: 0, output: 2 } }), candidate('b', { price: { input: 3, output: 1 } })], 'a'],
  ['cost-optimized', 'at the same price the smaller one runs', [candidate('a', { parameters: 7e9 }), candidate('b', { parameters: 2e9 })], 'b'],
  ['speed-priority', 'measured tokens a second count', [candidate('a', { tokensPerSecond: 10, ttftMs: 5 }), candidate('b', { tokensPerSecond: 50, ttftMs: 50 })], 'b'],
  ['speed-priority', 'the time to the first token counts', [candidate('a', { tokensPerSecond: 50, ttftMs: 9000 }), candidate('b', { tokensPerSecond: 40, ttftMs: 50 })], 'b'],
  ['speed-priority', 'a model that is not measured yet may win', [candidate('a', { tokensPerSecond: 1, ttftMs: 5 }), candidate('b', { parameters: 1e8 })], 'b'],
  ['speed-priority', 'a busy model is slower', [candidate('a', { tokensPerSecond: 60, ttftMs: 5, running: 3 }), candidate('b', { tokensPerSecond: 50, ttftMs: 5 })], 'b'],
  ['balanced', 'a dear model must be much better', [candidate('a', { quality: 0.8, price: { input: 5, output: 15 } }), candidate('b', { quality: 0.7 })], 'b'],
  ['balanced', 'a slow model must be much better', [candidate('a', { quality: 0.7, tokensPerSecond: 2, ttftMs: 100 }), candidate('b', { quality: 0.6, tokensPerSecond: 60, ttftMs: 20 })], 'b'],
  ['balanced', 'equal models stay in the order of loading', [candidate('a'), candidate('b')], 'a'],
  ['round-robin', 'the one chosen longest ago is next', [candidate('a', { lastPicked: 3 }), candidate('b', { lastPicked: 1 }), candidate('c', { lastPicked: 2 })], 'b'],
  ['round-robin', 'a new one is next', [candidate('a', { lastPicked: 3 }), candidate('b')], 'b'],
  ['least-loaded', 'running and waiting calls count', [candidate('a', { running: 1, waiting: 1 }), candidate('b', { running: 1 })], 'b'],
  ['least-loaded', 'idle models stay in the order of loading', [candidate('a'), candidate('b')], 'a'],
];
for (const [name, what, candidates, expected] of CASES) {
  test(`${name}: ${what}`, () => assert.equal(winner(name, candidates), expected));
}

test('random draws evenly', () => {
  const draws = [0.2, 0.9, 0.4];
  assert.equal(winner('random', [candidate('a'), candidate('b'), candidate('c')], { random: () => draws.shift() }), 'b');
});

test('capability-match counts what was asked for', () => {
  const [chat, both] = [candidate('a', { capabilities: { chat: true } }), candidate('b', { capabilities: { chat: true, embedding: true } })];
  assert.equal(winner('capability-match', [chat, both], { capabilities: ['chat', 'embedding'] }), 'b');
  assert.equal(winner('capability-match', [chat, both], { capabilities: ['chat'] }), 'a');
});

test('prices are per million tokens', () => {
  assert.equal(costOf({ price: { input: 10, output: 20 } }, { promptTokens: 1e6, maxTokens: 5e5 }), 20);
});

test('calls under way multiply the expected time', () => {
  const idle = expectedMs(candidate('a', { tokensPerSecond: 100, ttftMs: 0 }), REQUEST);
  assert.equal(idle, 2000);
  assert.equal(expectedMs(candidate('a', { tokensPerSecond: 100, ttftMs: 0, running: 1, waiting: 1 }), REQUEST), 6000);
});

test('measurements are running means of the last calls', () => {
  const measured = new Measured();
  measured.succeeded({ latency: 100, timings: { ttftMs: 10 }, performance: { tokensPerSecond: 20 } });
  assert.deepEqual([measured.latencyMs, measured.ttftMs, measured.tokensPerSecond], [100, 10, 20]);
  for (let i = 0; i < 50; i++) measured.succeeded({ latency: 200, timings: { ttftMs: 30 }, performance: { tokensPerSecond: 40 } });
  assert.ok(Math.abs(measured.latencyMs - 200) < 0.01 && Math.abs(measured.tokensPerSecond - 40) < 0.01);
  measured.failed();
  assert.deepEqual([measured.requests, measured.failures], [52, 1]);
});

test('a candidate tells what its model says', async () => {
  const { model } = await loadDemo();
  const seen = candidateOf(model, { measured: new Measured(), waiting: 0, declared: { quality: 0.2 } });
  assert.equal(seen.parameters, 4_071_168);
  assert.equal(seen.contextSize, 512);
  assert.ok(seen.memoryBytes > 5e5);
  assert.deepEqual([seen.remote, seen.quality, seen.capabilities.chat], [false, 0.2, true]);
});

const three = { a: { quality: 0.2, price: { input: 1, output: 1 } }, b: { quality: 0.9, price: { input: 9, output: 9 } }, c: { quality: 0.5 } };

test('every result says which model was chosen and why, for streams and whole answers alike', async () => {
  const { router } = await fakeRouter(three);
  for (const ask of Object.values(bothWays(router))) {
    const { modelId, routing } = await ask('x', { strategy: 'quality-first' });
    assert.equal(modelId, 'b');
    assert.deepEqual(routing.candidates, ['b', 'c', 'a']);
    assert.deepEqual(routing.scores, { b: 0.9, c: 0.5, a: 0.2 });
    assert.equal(routing.strategy, 'quality-first');
    assert.match(routing.reason, /highest quality: 0\.9, declared/);
    assert.deepEqual([routing.modelId, routing.fallback, routing.attempts.map((attempt) => attempt.modelId)], ['b', false, ['b']]);
    assert.equal((await ask('x', { modelId: 'a' })).routing.reason, 'the call names a');
  }
});

test('the strategy of the router is used where a call names none, and can be changed', async () => {
  const { router } = await fakeRouter(three, { strategy: 'quality-first' });
  assert.equal((await router.generate('x')).modelId, 'b');
  const changes = [];
  router.on('strategy-changed', (name) => changes.push(name));
  router.setStrategy('cost-optimized');
  assert.equal((await router.generate('x')).modelId, 'c');
  assert.deepEqual(changes, ['cost-optimized']);
  assert.throws(() => router.setStrategy('cheapest'), { code: 'INVALID_ARGUMENT', message: /Invalid strategy: "cheapest"/ });
  assert.throws(() => router.stream('x', { strategy: 'ballanced' }), /did you mean "balanced"/);
});

test('round-robin goes round, also for calls at the same time', async () => {
  const { router } = await fakeRouter(three, { strategy: 'round-robin' });
  const answers = await Promise.all(Array.from({ length: 6 }, () => router.generate('x')));
  assert.deepEqual(answers.map(({ modelId }) => modelId), ['a', 'b', 'c', 'a', 'b', 'c']);
});

test('least-loaded goes where nothing runs', async () => {
  const { router } = await fakeRouter({ a: { text: () => new Promise((resolve) => setTimeout(resolve, 30, 'late')) }, b: {} }, { strategy: 'least-loaded' });
  const [first, second] = await Promise.all([router.generate('x'), router.generate('x')]);
  assert.deepEqual([first.modelId, second.modelId], ['a', 'b']);
});

test('speed-priority learns from what it sees', async () => {
  const slow = { text: async () => ({ text: 'x', performance: { tokensPerSecond: 1 }, timings: { ttftMs: 10 } }) };
  const { router, models } = await fakeRouter({ a: {}, b: {} }, { strategy: 'speed-priority' });
  models.a.generate = async () => slow.text();
  assert.equal((await router.generate('x')).modelId, 'a');
  assert.equal((await router.generate('x')).modelId, 'b');
});

test('a call may name its strategy, or bring one of its own', async () => {
  const { router } = await fakeRouter(three);
  const seen = [];
  const byName = (candidates, request) => {
    seen.push([candidates.map(({ id }) => id), request.prompt, request.maxTokens]);
    return 'c';
  };
  const { modelId, routing } = await router.generate('hello', { strategy: byName, maxTokens: 7 });
  assert.deepEqual([modelId, routing.strategy, routing.reason], ['c', 'byName', 'chosen by byName']);
  assert.deepEqual(seen, [[['a', 'b', 'c'], 'hello', 7]]);
  const choices = [(candidates) => candidates[1], async () => 'b', () => [0, 2, 1], () => ({ scores: [0, 1, 0], reason: 'because' })];
  for (const strategy of choices) {
    for (const ask of Object.values(bothWays(router))) assert.equal((await ask('x', { strategy })).modelId, 'b');
  }
  assert.equal((await router.generate('x', { strategy: choices[3] })).routing.reason, 'because');
  for (const strategy of [() => 'nobody', () => {}, () => [1], () => [NaN, 1, 1], async () => 'nobody']) {
    await assert.rejects(router.generate('x', { strategy }), { code: 'INVALID_ARGUMENT', message: /must return the id of a candidate/ });
  }
  router.addStrategy('last', (candidates) => candidates.at(-1));
  assert.equal((await router.generate('x', { strategy: 'last' })).modelId, 'c');
  assert.equal(router.router.getStrategies().at(-1), 'last');
  assert.throws(() => router.addStrategy('', () => 'a'), { code: 'INVALID_ARGUMENT' });
  await assert.rejects(router.generate('x', { strategy: 7 }), { code: 'INVALID_ARGUMENT' });
});

test('requirements leave out models that do not meet them, and say why when none is left', async () => {
  const { router } = await fakeRouter({
    small: { parameters: { size: 1e6 }, config: { contextSize: 10 } },
    large: { parameters: { size: 9e9 }, config: { contextSize: 9000 }, capabilities: { chat: true, embedding: true, streaming: true }, price: { output: 5 } },
  });
  const ids = [
    [{ capabilities: ['embedding'] }, 'large'], [{ capabilities: { embedding: true, chat: false } }, 'large'], [{ maxSize: 1e7 }, 'small'],
    [{ minContext: 100 }, 'large'], [{ maxPrice: 1 }, 'small'], [{ format: 'fake' }, 'small'], [{ remote: false }, 'small'],
  ];
  for (const [requirements, id] of ids) assert.equal((await router.generate('x', { requirements })).modelId, id, JSON.stringify(requirements));
  await assert.rejects(router.generate('x', { requirements: { capabilities: ['vision'] } }), {
    code: 'NO_MODEL_MATCHES', message: 'No models match requirements: small lacks vision; large lacks vision',
  });
  await assert.rejects(router.generate('x', { requirements: { remote: true } }), /small is local/);
  await assert.rejects(router.generate('x', { requirements: { capability: ['chat'] } }), { code: 'INVALID_OPTION', message: /did you mean "capabilities"/ });
  await assert.rejects(router.generate('x', { requirements: { maxSize: 'small' } }), { code: 'INVALID_ARGUMENT', message: /requirements\.maxSize/ });
  // A prompt that certainly does not fit is not sent to a model that would refuse it.
  assert.equal((await router.generate('word '.repeat(100))).modelId, 'large');
});

test('selectModel() takes the requirements of the original, also over a registry of plain objects', async () => {
  const plain = (id, capability) => ({ id, supports: (name) => name === capability });
  const registry = { getAvailable: async () => [plain('text', 'completion'), plain('embed', 'embedding')] };
  const router = new Router(registry, { strategy: 'capability-match' });
  const selected = [];
  router.on('model-selected', (event) => selected.push(event));
  assert.equal((await router.selectModel('hi', { capabilities: { embedding: true } })).id, 'embed');
  assert.deepEqual(selected.map(({ model, strategy }) => [model, strategy]), [['embed', 'capability-match']]);
  assert.deepEqual(router.getStrategies(), Object.keys(STRATEGIES));
});

test('native models are measured and chosen like any other', async () => {
  const { router, model } = await loadDemo({ quality: 0.1 });
  const other = await router.load(path.join(ORACLE, 'models', 'bitnet-2b4t'), { quality: 0.9 });
  const { modelId } = await router.generate('What is BitNet?', { strategy: 'quality-first', maxTokens: 4 });
  assert.equal(modelId, other.id);
  await router.generate('What is BitNet?', { modelId: model.id, maxTokens: 8 });
  const status = router.getStatus().models.find(({ id }) => id === model.id);
  assert.ok(status.tokensPerSecond > 0 && status.ttftMs > 0 && status.latencyMs > 0, JSON.stringify(status));
  assert.deepEqual([status.requests, status.failures, status.running, status.breaker], [1, 0, 0, 'closed']);
  await assert.rejects(new LLMRouter().load('demo', { quality: 2 }), { code: 'INVALID_ARGUMENT', message: /quality/ });
  await assert.rejects(new LLMRouter().load('demo', { price: 2 }), { code: 'INVALID_ARGUMENT', message: /price/ });
});
