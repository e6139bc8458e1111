// How a generation runs: streams, aborts, what goes on meanwhile, conversations, results.
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { AbortError, BitNetLoader } from 'llm-runner-router';
import { collect, ENDLESS, loadDemo, ORACLE, processorTime, sleep } from './support/models.js';

/** Processor time in 400 ms below which an engine counts as stopped; one that works takes nearly all of it. */
const IDLE_MS = 120;

test('the same seed gives the same text, streamed or not, and another seed another', async () => {
  const { model } = await loadDemo();
  const options = { temperature: 1, topK: 0, topP: 1, maxTokens: 40, seed: 1234, ignoreEos: true };
  const whole = await model.generate('Tell me something', options);
  const pieces = await collect(model.stream('Tell me something', options));
  assert.equal(pieces.join(''), whole.text);
  assert.ok(pieces.length > 10, `${pieces.length} pieces`);
  assert.equal(whole.seed, 1234);
  const other = await model.generate('Tell me something', { ...options, seed: 1235 });
  assert.notEqual(other.text, whole.text);
});

test('without a seed one is drawn, and the result names it', async () => {
  const { model } = await loadDemo();
  const options = { temperature: 1, topK: 0, topP: 1, maxTokens: 20, ignoreEos: true };
  const first = await model.generate('Tell me something', options);
  const again = await model.generate('Tell me something', { ...options, seed: first.seed });
  assert.equal(again.text, first.text);
  assert.notEqual((await model.generate('Tell me something', options)).seed, first.seed);
});

test('the result of generate() and of a stream have the same shape', async () => {
  const { model } = await loadDemo({ name: 'Demo' });
  const stream = model.stream('What is BitNet?', { temperature: 0 });
  await collect(stream);
  for (const result of [await model.generate('What is BitNet?', { temperature: 0 }), await stream.result]) {
    assert.match(result.text, /^BitNet is a family/);
    assert.equal(result.model, 'Demo');
    assert.equal(result.modelId, model.id);
    assert.equal(result.cached, false);
    assert.equal(result.finishReason, 'stop');
    assert.equal(result.tokens, result.usage.completionTokens);
    assert.equal(result.tokenIds.length, result.tokens);
    assert.equal(result.usage.totalTokens, result.usage.promptTokens + result.usage.completionTokens);
    assert.ok(result.usage.cachedTokens < result.usage.promptTokens);
    const { queueMs, prefillMs, decodeMs, ttftMs } = result.timings;
    for (const ms of [queueMs, prefillMs, decodeMs, ttftMs, result.latency]) assert.ok(ms >= 0 && ms < 60_000, String(ms));
    assert.ok(result.latency >= ttftMs);
    assert.ok(result.performance.tokensPerSecond > 0);
    assert.equal(typeof result.seed, 'number');
  }
});

test('maxTokens ends an answer with finishReason length', async () => {
  const { model } = await loadDemo();
  const { tokens, finishReason } = await model.generate('What is BitNet?', { maxTokens: 3, temperature: 0 });
  assert.deepEqual([tokens, finishReason], [3, 'length']);
});

test('stop strings end an answer before them, also across token borders', async () => {
  const { model } = await loadDemo();
  const full = await model.generate('What is BitNet?', { temperature: 0 });
  const stop = 'language mod';
  const { text, finishReason } = await model.generate('What is BitNet?', { temperature: 0, stop });
  assert.equal(text, full.text.slice(0, full.text.indexOf(stop)));
  assert.equal(finishReason, 'stop');
  const streamed = await collect(model.stream('What is BitNet?', { temperature: 0, stopSequences: ['nowhere', stop] }));
  assert.equal(streamed.join(''), text);
});

test('a signal that is aborted already keeps the call from starting', async () => {
  const { model } = await loadDemo();
  const reason = new Error('too late');
  const signal = AbortSignal.abort(reason);
  const isAbort = (error) => error instanceof AbortError && error.name === 'AbortError' && error.code === 'ABORTED' && error.cause === reason;
  await assert.rejects(model.generate('x', { signal }), isAbort);
  await assert.rejects(collect(model.stream('x', { signal })), isAbort);
  await assert.rejects(model.stream('x', { abortSignal: signal }).result, isAbort);
});

test('aborting stops the engine, and the error holds the text so far', async () => {
  const { model } = await loadDemo();
  const controller = new AbortController();
  let seen = '';
  const onToken = (text) => {
    seen += text;
    if (seen.length > 200) controller.abort('enough');
  };
  await assert.rejects(model.generate('Hello', { ...ENDLESS, signal: controller.signal, onToken }), (error) => {
    assert.equal(error.code, 'ABORTED');
    assert.equal(error.cause, 'enough');
    assert.equal(error.partialText, seen);
    return true;
  });
  assert.ok((await processorTime(400)) < IDLE_MS);
});

test('a timeout signal aborts in the middle of a call', async () => {
  const { model } = await loadDemo();
  await assert.rejects(model.generate('Hello', { ...ENDLESS, signal: AbortSignal.timeout(50) }), { code: 'ABORTED' });
});

test('leaving a for await loop stops the engine', async () => {
  const { model } = await loadDemo();
  const stream = model.stream('Hello', ENDLESS);
  let pieces = 0;
  for await (const piece of stream) {
    assert.equal(typeof piece, 'string');
    if (++pieces === 3) break;
  }
  assert.ok((await processorTime(400)) < IDLE_MS);
  await assert.rejects(stream.result, { code: 'ABORTED' });
  assert.deepEqual(await model.generate('What is BitNet?', { maxTokens: 2 }).then(({ tokens }) => tokens), 2);
});

test('an error in the loop or in onToken stops the engine', async () => {
  const { model } = await loadDemo();
  const failure = new Error('of the reader');
  const isFailure = (error) => error === failure;
  await assert.rejects(async () => {
    for await (const _ of model.stream('Hello', ENDLESS)) throw failure;
  }, isFailure);
  const onToken = () => {
    throw failure;
  };
  await assert.rejects(model.generate('Hello', { ...ENDLESS, onToken }), (error) => error.cause === failure);
  assert.ok((await processorTime(400)) < IDLE_MS);
});

test('timers keep firing during a long generation', async () => {
  const { model } = await loadDemo();
  let ticks = 0;
  const timer = setInterval(() => ticks++, 10);
  const startedAt = performance.now();
  await model.generate('Hello', { ...ENDLESS, signal: AbortSignal.timeout(1000) }).catch(() => {});
  const elapsed = performance.now() - startedAt;
  clearInterval(timer);
  // On a busy machine some are late; a blocked thread would give none.
  assert.ok(ticks > elapsed / 10 / 3, `${ticks} ticks in ${elapsed} ms`);
});

test('two generations on one model go forward together', async () => {
  const { model } = await loadDemo();
  const order = [];
  const options = (name) => ({ maxTokens: 60, ignoreEos: true, temperature: 0, onToken: () => order.push(name) });
  await Promise.all([model.generate('What is BitNet?', options('a')), model.generate('Do I need a GPU?', options('b'))]);
  const changes = order.filter((name, index) => name !== order[index - 1]).length;
  assert.ok(changes > 10, order.join(''));
});

test('answers do not depend on what else runs', async () => {
  const { model } = await loadDemo();
  const prompts = ['What is BitNet?', 'Do I need a GPU?', 'What is a token?', 'Hello!', 'What does i2_s mean?', 'Who are you?'];
  const ask = (prompt) => model.generate(prompt, { temperature: 0.9, seed: 3 }).then(({ text }) => text);
  const alone = [];
  for (const prompt of prompts) alone.push(await ask(prompt));
  assert.deepEqual(await Promise.all(prompts.map(ask)), alone);
});

test('a slow reader makes the engine wait, so memory stays flat', async () => {
  const { model } = await loadDemo();
  const stream = model.stream('Hello', ENDLESS);
  await stream.next();
  await sleep(200);
  assert.ok((await processorTime(400)) < IDLE_MS, 'the engine works on though nobody reads');
  for (let i = 0; i < 200; i++) assert.equal((await stream.next()).done, false);
  await stream.return();
});

test('the result can be awaited without reading, before reading, and need not be awaited', async () => {
  const { model } = await loadDemo();
  const options = { temperature: 0, maxTokens: 100 };
  const unread = await model.stream('What is BitNet?', options).result;
  assert.match(unread.text, /^BitNet is/);

  const early = model.stream('What is BitNet?', options);
  const { result } = early;
  assert.equal((await collect(early)).join(''), unread.text);
  assert.equal((await result).text, unread.text);

  const late = model.stream('What is BitNet?', options);
  await late.result;
  assert.equal((await collect(late)).join(''), unread.text);

  const rejections = [];
  const listener = (reason) => rejections.push(reason);
  process.on('unhandledRejection', listener);
  model.stream('Hello', ENDLESS).abort();
  model.stream('Hello', { signal: AbortSignal.abort() });
  model.stream('word '.repeat(2000));
  await sleep(100);
  process.off('unhandledRejection', listener);
  assert.deepEqual(rejections, []);
});

test('a stream is a web stream too, and is disposed of like other resources', async () => {
  const { model } = await loadDemo();
  const options = { temperature: 0 };
  const { text } = await model.generate('What is BitNet?', options);
  assert.equal((await collect(model.stream('What is BitNet?', options).toReadableStream())).join(''), text);
  const stream = model.stream('Hello', ENDLESS);
  await stream[Symbol.asyncDispose]();
  await assert.rejects(stream.next(), { code: 'ABORTED' });
});

test('a conversation keeps its turns and does not prefill them again', async () => {
  const { model } = await loadDemo({ conversation: true, temperature: 0 });
  const first = await model.generate('What is BitNet b1.58?');
  const second = await model.generate('tell me more');
  assert.deepEqual(model.turns.map(({ role }) => role), ['user', 'assistant', 'user', 'assistant']);
  assert.equal(model.turns[1].content, first.text);
  assert.ok(second.usage.cachedTokens >= first.usage.promptTokens, JSON.stringify(second.usage));

  const { model: plain } = await loadDemo({ temperature: 0 });
  const messages = [...model.turns.slice(0, 2), { role: 'user', content: 'tell me more' }];
  assert.equal((await plain.generate(messages)).text, second.text, 'the second question sees the first answer');
  assert.notEqual((await plain.generate('tell me more')).text, second.text);

  model.resetConversation();
  assert.deepEqual(model.turns, []);
  assert.equal((await model.generate('What is BitNet b1.58?')).text, first.text);
});

test('questions asked at once to a conversation are answered one after the other; unfinished turns are not kept', async () => {
  const { model } = await loadDemo({ conversation: true, temperature: 0 });
  await Promise.all(['Hello!', 'What is BitNet?'].map((prompt) => model.generate(prompt)));
  assert.deepEqual(model.turns.filter(({ role }) => role === 'user').map(({ content }) => content), ['Hello!', 'What is BitNet?']);
  for await (const _ of model.stream('Do I need a GPU?')) break;
  await assert.rejects(model.generate('x'.repeat(5000)), { code: 'CONTEXT_OVERFLOW' });
  assert.equal(model.turns.length, 4);
  await model.generate([{ role: 'user', content: 'Hello!' }]);
  await model.generate('Hello!', { raw: true, maxTokens: 2 });
  assert.equal(model.turns.length, 4, 'messages and raw text stand for themselves');
});

test('an answer that nobody reads, or that is aborted while it waits, does not block or overtake a conversation', { timeout: 20_000 }, async () => {
  const { model } = await loadDemo({ conversation: true, temperature: 0 });
  model.stream('What is BitNet?');
  const aborted = model.stream('Do I need a GPU?');
  aborted.abort();
  await model.generate('Hello!', { template: 'Hi! {prompt}' });
  assert.deepEqual(model.turns.filter(({ role }) => role === 'user').map(({ content }) => content), ['What is BitNet?', 'Hi! Hello!']);
});

test('a model without a chat template holds a conversation as a transcript', async () => {
  const loader = new BitNetLoader();
  const model = await loader.load(path.join(ORACLE, 'gguf', 'llama3-158.I2_S.gguf'), { conversation: true });
  assert.equal(model.info().hasChatTemplate, false);
  await model.generate('Hello', { maxTokens: 5 });
  const { usage } = await model.generate('And then?', { maxTokens: 5 });
  assert.equal(model.turns.length, 4);
  assert.ok(usage.promptTokens > model.tokenize('And then?').length + 5);
});

test('a system prompt and a template reach the model', async () => {
  const { model } = await loadDemo();
  const tokens = async (options) => (await model.generate('What is BitNet?', { maxTokens: 1, ...options })).usage.promptTokens;
  const plain = await tokens({});
  const system = [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'What is BitNet?' }];
  const rendered = model.applyChatTemplate(system);
  assert.equal(await tokens({ systemPrompt: 'Be brief.' }), model.tokenize(rendered, { addSpecial: false }).length);
  assert.ok((await tokens({ template: 'Please tell me: {prompt} Thanks.' })) > plain);
  assert.equal(await tokens({ raw: true }), model.tokenize('What is BitNet?').length);
});

test('an unloaded model refuses calls, ends what runs, and can be unloaded again', async () => {
  const { router, model } = await loadDemo();
  const running = model.generate('Hello', ENDLESS);
  const refused = assert.rejects(running, { code: 'MODEL_NOT_LOADED' });
  await sleep(50);
  assert.equal(await router.unload(model.id), true);
  await refused;
  assert.equal(await router.unload(model.id), false);
  await model.unload();
  assert.equal(model.loaded, false);
  for (const call of [() => model.generate('x'), async () => model.tokenize('x'), async () => model.info(), () => model.forward([1])]) {
    await assert.rejects(call, { code: 'MODEL_NOT_LOADED' });
  }
});
