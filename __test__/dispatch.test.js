// What happens to a call once it has a model: fallbacks, retries, the breaker, the queue, deadlines, stages, events.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LLMRouter, ModelError } from 'llm-runner-router';
import { Breaker } from '../lib/router/breaker.js';
import { backOff } from '../lib/router/retry.js';
import { bothWays, failure, fakeRouter, gate, read } from './support/fakes.js';
import { ENDLESS, loadDemo, sleep } from './support/models.js';

const fail = (error) => () => {
  throw error;
};

test('a model that fails before its first text is followed by its fallbacks, for streams and whole answers alike', async () => {
  const models = { a: { text: fail(failure('REMOTE_FAILED')) }, b: { text: fail(failure('OUT_OF_MEMORY')) }, c: {} };
  const { router } = await fakeRouter(models, { retries: 0 });
  const fallbacks = [];
  router.on('fallback', ({ from, to, error }) => fallbacks.push([from, to, error.code]));
  for (const ask of Object.values(bothWays(router))) {
    const { text, modelId, routing } = await ask('x', { modelId: 'a', fallbacks: ['b', 'c'] });
    assert.deepEqual([text, modelId, routing.modelId, routing.fallback], ['c', 'c', 'c', true]);
    assert.deepEqual(routing.attempts.map(({ modelId: id, error }) => [id, error?.code]), [['a', 'REMOTE_FAILED'], ['b', 'OUT_OF_MEMORY'], ['c', undefined]]);
    assert.deepEqual(fallbacks.splice(0), [['a', 'b', 'REMOTE_FAILED'], ['b', 'c', 'OUT_OF_MEMORY']]);
  }
  assert.equal((await router.generate('x', { modelId: 'a', fallbacks: true })).modelId, 'c');
  const last = failure('LAST');
  const broken = await fakeRouter({ a: { text: fail(failure('FIRST')) }, b: { text: fail(last) } });
  for (const ask of Object.values(bothWays(broken.router))) {
    await assert.rejects(ask('x', { modelId: 'a', fallbacks: ['b'] }), (error) => {
      assert.equal(error.code, 'ALL_MODELS_FAILED');
      assert.match(error.message, /a: it failed: FIRST; b: it failed: LAST/);
      assert.equal(error.cause, last);
      assert.deepEqual(error.details.attempts.map(({ modelId }) => modelId), ['a', 'b']);
      return true;
    });
    await assert.rejects(ask('x', { modelId: 'b' }), (error) => error === last);
    await assert.rejects(ask('x', { modelId: 'a', fallbacks: ['nobody'] }), { code: 'MODEL_NOT_FOUND' });
  }
});

test('once text has been read no other model goes on with it', async () => {
  const cut = failure('REMOTE_FAILED', { retryable: true });
  const models = { a: { async *stream() { yield 'half an '; yield 'answer'; throw new ModelError('cut', 'REMOTE_FAILED'); } }, b: {}, c: { async *stream() { throw cut; } } };
  const { router } = await fakeRouter(models);
  const stream = router.stream('x', { modelId: 'a', fallbacks: ['b'] });
  const pieces = [];
  await assert.rejects(async () => { for await (const piece of stream) pieces.push(piece); }, { code: 'REMOTE_FAILED', partialText: 'half an answer' });
  assert.deepEqual(pieces, ['half an ', 'answer']);
  await assert.rejects(stream.result, { code: 'REMOTE_FAILED' });
  assert.equal((await read(router.stream('x', { modelId: 'c', fallbacks: ['b'], retries: 0 }))).text, 'b');
});

test('an answer is not asked for elsewhere when the call itself is at fault, or is given up', async () => {
  const { router, models } = await fakeRouter({ a: { text: fail(failure('INVALID_ARGUMENT')) }, b: {} });
  await assert.rejects(router.generate('x', { modelId: 'a', fallbacks: ['b'] }), { code: 'INVALID_ARGUMENT' });
  const { opened, open } = gate();
  models.a.generate = () => opened;
  const controller = new AbortController();
  const answer = router.generate('x', { modelId: 'a', fallbacks: ['b'], signal: controller.signal });
  await sleep(5);
  controller.abort(new Error('enough'));
  await assert.rejects(answer, { code: 'ABORTED', cause: controller.signal.reason });
  open({ text: 'late' });
  assert.equal(models.b.calls, 0);
});

test('a prompt too long for one model falls to one with room, for native models', async () => {
  const { router, model } = await loadDemo({ contextSize: 32 });
  const roomy = await router.load('demo', { threads: 1 });
  const prompt = 'one two three four five '.repeat(9);
  for (const ask of Object.values(bothWays(router))) {
    const { routing, modelId } = await ask(prompt, { modelId: model.id, fallbacks: [roomy.id], maxTokens: 3 });
    assert.equal(modelId, roomy.id);
    assert.equal(routing.attempts[0].error.code, 'CONTEXT_OVERFLOW');
  }
  assert.equal(router.getStatus().models[0].failures, 0, 'a call that does not fit is no failure of the model');
});

test('what may be tried again is, with longer and longer pauses', async () => {
  const wait = (n, error = { retryable: true }, retries = 5) => backOff(error, n, retries, () => 1);
  assert.deepEqual([1, 2, 3, 4, 5].map((n) => wait(n)), [500, 1000, 2000, 4000, 8000]);
  assert.equal(backOff({ retryable: true }, 1, 5, () => 0), 250);
  assert.equal(wait(6), undefined);
  assert.equal(wait(1, { retryable: false }), undefined);
  assert.equal(wait(1, { retryable: true, details: { retryAfterMs: 1234 } }), 1234);
  assert.equal(wait(1, { retryable: true, details: { retryAfterMs: 3_600_000 } }), undefined, 'nobody waits for an hour');

  let failures = 2;
  const text = () => {
    if (failures-- > 0) throw failure('RATE_LIMITED', { retryable: true, details: { retryAfterMs: 1 } });
    return 'at last';
  };
  const { router, models } = await fakeRouter({ a: { text } });
  for (const ask of Object.values(bothWays(router))) {
    failures = 2;
    models.a.calls = 0;
    const { text: answer, routing } = await ask('x');
    assert.deepEqual([answer, models.a.calls, routing.attempts.length, routing.fallback], ['at last', 3, 3, false]);
    failures = 2;
    await assert.rejects(ask('x', { retries: 1 }), { code: 'RATE_LIMITED' });
    failures = 2;
    await assert.rejects(ask('x', { maxRetries: 0 }), { code: 'RATE_LIMITED' });
  }
});

test('the breaker opens after failures in a row, lets one call try, and rests longer each time', () => {
  let now = 0;
  const breaker = new Breaker({ breakerFailures: 2, breakerCooldown: 100 }, () => now);
  assert.equal(breaker.failed(), false);
  breaker.succeeded();
  assert.equal(breaker.failed(), false, 'a success in between starts the count again');
  assert.equal(breaker.failed(), true);
  assert.deepEqual([breaker.state, breaker.waitMs], ['open', 100]);
  now = 100;
  assert.equal(breaker.state, 'half-open');
  breaker.begin();
  assert.equal(breaker.state, 'open', 'only one call tries');
  assert.equal(breaker.failed(), true);
  assert.equal(breaker.waitMs, 200);
  now = 300;
  breaker.begin();
  breaker.undecided();
  assert.equal(breaker.state, 'half-open', 'an aborted try decides nothing');
  breaker.begin();
  breaker.succeeded();
  assert.equal(breaker.state, 'closed');
  const never = new Breaker({ breakerFailures: 0, breakerCooldown: 100 });
  for (let i = 0; i < 100; i++) assert.equal(never.failed(), false);
});

test('a model that keeps failing is left alone, then tried again', async () => {
  let broken = true;
  const text = () => {
    if (broken) throw failure('REMOTE_FAILED');
    return 'a';
  };
  const { router, models } = await fakeRouter({ a: { text }, b: {} }, { breakerFailures: 2, breakerCooldown: 60, strategy: (candidates) => candidates[0].id });
  for (let i = 0; i < 2; i++) await assert.rejects(router.generate('x'), { code: 'REMOTE_FAILED' });
  assert.equal(router.getStatus().models[0].breaker, 'open');
  assert.equal((await router.generate('x')).modelId, 'b', 'a strategy does not get to see it');
  await assert.rejects(router.generate('x', { modelId: 'a' }), { code: 'MODEL_UNAVAILABLE', message: /a failed several times/ });
  assert.equal((await router.generate('x', { modelId: 'a', fallbacks: ['b'] })).routing.attempts[0].error.code, 'MODEL_UNAVAILABLE');
  assert.equal(models.a.calls, 2);
  broken = false;
  await sleep(70);
  assert.equal((await router.generate('x')).modelId, 'a');
  assert.equal(router.getStatus().models[0].breaker, 'closed');
});

test('calls beyond maxConcurrent wait, the important ones first, and beyond maxQueue they are refused', async () => {
  const { opened, open } = gate();
  const order = [];
  const { router } = await fakeRouter({ a: { text: async (prompt) => (order.push(prompt), await opened, prompt) } }, { maxConcurrent: 1, maxQueue: 3 });
  const calls = [router.generate('first'), router.generate('low', { priority: -1 }), router.generate('middle'), router.generate('high', { priority: 5 })];
  await sleep(5);
  assert.deepEqual([order, router.getStatus().models[0].running, router.getStatus().models[0].waiting], [['first'], 1, 3]);
  await assert.rejects(router.generate('fifth'), (error) => {
    assert.deepEqual([error.code, error.retryable, error.details], ['QUEUE_FULL', true, { modelId: 'a', running: 1, waiting: 3 }]);
    return true;
  });
  open();
  await Promise.all(calls);
  assert.deepEqual(order, ['first', 'high', 'middle', 'low']);
  assert.deepEqual([router.getStatus().models[0].running, router.getStatus().models[0].waiting], [0, 0]);
});

test('who gives up while waiting leaves the queue, and a stream that is left gives its place to the next', async () => {
  const router = new LLMRouter({ maxConcurrent: 1, maxQueue: 1 });
  const model = await router.load('demo', { threads: 1 });
  const running = router.stream('Hello!', ENDLESS);
  const iterator = running[Symbol.asyncIterator]();
  await iterator.next();
  const controller = new AbortController();
  const waiting = router.generate('Hello!', { signal: controller.signal });
  await sleep(5);
  controller.abort();
  await assert.rejects(waiting, { code: 'ABORTED' });
  const next = router.generate('Hello!', { maxTokens: 2 });
  await iterator.return();
  assert.equal((await next).tokens, 2);
  await sleep(1);
  assert.deepEqual([router.getStatus().models[0].running, router.getStatus().models[0].waiting], [0, 0]);
  await model.unload();
});

test('a call that is not done in time fails with what there was of it', async () => {
  const { router } = await loadDemo();
  const stream = router.stream('Hello!', { ...ENDLESS, timeout: 150 });
  await assert.rejects(read(stream), (error) => {
    assert.equal(error.code, 'TIMEOUT');
    assert.match(error.message, /150 ms/);
    assert.ok(error.partialText.length > 0);
    return true;
  });
  await assert.rejects(router.generate('Hello!', { ...ENDLESS, timeout: 50 }), { code: 'TIMEOUT' });
  assert.equal((await router.generate('Hello!', { maxTokens: 2, timeout: 60_000 })).tokens, 2);
  const impatient = await fakeRouter({ a: { text: () => new Promise(() => {}) } }, { timeout: 20 });
  await assert.rejects(impatient.router.generate('x'), { code: 'TIMEOUT' });
  assert.equal(impatient.router.getStatus().models[0].failures, 0);
});

test('stages see every call before the model and every result after it', async () => {
  const { router } = await fakeRouter({ a: { text: (prompt) => prompt } });
  router.pipeline
    .use({ before: async ({ prompt }) => ({ prompt: `${prompt}!` }), after: (result) => ({ ...result, seen: true }) })
    .use({ before: ({ prompt }) => ({ prompt: prompt.toUpperCase() }) });
  for (const ask of Object.values(bothWays(router))) {
    const { text, seen } = await ask('hello');
    assert.deepEqual([text, seen], ['HELLO!', true]);
  }
  for (const stage of [undefined, {}, { before: 1 }, () => {}]) assert.throws(() => router.pipeline.use(stage), { code: 'INVALID_ARGUMENT' });
  router.pipeline.use({ after: fail(new Error('of the stage')) });
  for (const ask of Object.values(bothWays(router))) await assert.rejects(ask('x'), /of the stage/);
});

test('events tell what happens, and an error event only to who listens', async () => {
  const { router } = await fakeRouter({ a: {}, b: { text: fail(failure('BROKEN')) } }, { cache: true });
  await assert.rejects(router.generate('x', { modelId: 'b' }), { code: 'BROKEN' });
  const seen = [];
  for (const name of ['route', 'inference-start', 'inference-complete', 'token', 'cache-hit', 'error', 'model-unloaded']) {
    router.on(name, (value) => seen.push([name, value]));
  }
  await read(router.stream('x', { modelId: 'a' }));
  await sleep(1);
  assert.deepEqual(seen.map(([name]) => name), ['route', 'inference-start', 'token', 'inference-complete']);
  assert.deepEqual(seen[1][1], { model: 'a', prompt: 'x', routing: seen[0][1], streaming: true });
  assert.deepEqual([seen[2][1], seen[3][1].text], ['a', 'a']);
  seen.length = 0;
  for (let i = 0; i < 2; i++) await router.generate('x', { modelId: 'a', cache: true });
  assert.ok(seen.some(([name, value]) => name === 'cache-hit' && value.model === 'a'));
  seen.length = 0;
  await assert.rejects(router.generate('x', { modelId: 'b' }), { code: 'BROKEN' });
  await sleep(1);
  assert.deepEqual([seen.at(-1)[0], seen.at(-1)[1].code], ['error', 'BROKEN']);
  await router.unload('a');
  assert.deepEqual([seen.at(-1)[0], seen.at(-1)[1].id], ['model-unloaded', 'a']);
});

test('system prompts and templates reach the models of other loaders as text or messages', async () => {
  const asked = [];
  const { router } = await fakeRouter({ a: { text: (prompt) => (asked.push(prompt), 'x') } });
  await router.generate('why?', { systemPrompt: 'Be brief.', template: 'Q: {prompt}' });
  await router.generate([{ role: 'user', content: 'why?' }], { systemPrompt: 'Be brief.' });
  assert.deepEqual(asked, ['Be brief.\n\nQ: why?', [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'why?' }]]);
});
