// What a call may want of its answer besides text: log-probabilities, biased tokens, several answers, the prompt again.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LLMRouter } from 'llm-runner-router';
import { combine } from '../lib/ensemble.js';
import { answer, delta, DONE, endpoint } from './support/endpoint.js';
import { collect, loadDemo } from './support/models.js';

const PROMPT = 'Tell me something';
const SAMPLED = { temperature: 1, topK: 0, topP: 1, seed: 7, maxTokens: 20, ignoreEos: true };

test('logprobs are those of the softmax of forward(), whatever temperature and penalties', async () => {
  const { model } = await loadDemo();
  const { tokenIds, logprobs, text } = await model.generate('Once upon', { ...SAMPLED, raw: true, repetitionPenalty: 1.5, topLogprobs: 3 });
  assert.equal(logprobs.map(({ token }) => token).join(''), text);
  assert.deepEqual(logprobs.map(({ id }) => id), tokenIds);
  const prompt = model.tokenize('Once upon');
  for (const at of [0, 9]) {
    const logits = await model.forward([...prompt, ...tokenIds.slice(0, at)]);
    const max = Math.max(...logits);
    const total = Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - max), 0));
    const near = (logprob, id) => assert.ok(Math.abs(logprob - (logits[id] - max - total)) < 1e-6, `${logprob} of ${id}`);
    near(logprobs[at].logprob, tokenIds[at]);
    const best = [...logits.keys()].sort((a, b) => logits[b] - logits[a] || a - b).slice(0, 3);
    assert.deepEqual(logprobs[at].top.map(({ id }) => id), best);
    for (const { id, logprob } of logprobs[at].top) near(logprob, id);
  }
  const plain = await model.generate('Once upon', { ...SAMPLED, raw: true, repetitionPenalty: 1.5 });
  assert.deepEqual([plain.text, plain.logprobs], [text, undefined]);
  assert.deepEqual((await model.generate(PROMPT, { ...SAMPLED, logprobs: true })).logprobs[0].top, []);
  await assert.rejects(model.generate(PROMPT, { topLogprobs: 21 }), { code: 'INVALID_ARGUMENT' });
});

test('logitBias rules tokens out and forces them', async () => {
  const { model } = await loadDemo();
  const plain = await model.generate(PROMPT, { ...SAMPLED, temperature: 0 });
  const [first] = plain.tokenIds;
  const without = await model.generate(PROMPT, { ...SAMPLED, temperature: 0, logitBias: { [first]: -100 } });
  assert.ok(!without.tokenIds.includes(first));
  const forced = await model.generate(PROMPT, { ...SAMPLED, maxTokens: 3, logit_bias: { [first]: 100 } });
  assert.deepEqual(forced.tokenIds, [first, first, first]);
  for (const logitBias of [{ a: 1 }, { 5: 101 }, { 5: '1' }]) await assert.rejects(model.generate(PROMPT, { logitBias }), { code: 'INVALID_ARGUMENT' });
  await assert.rejects(model.generate(PROMPT, { logitBias: { 4000000: 1 } }), { code: 'INVALID_ARGUMENT', message: /vocabulary/ });
});

test('n gives several answers, each with its own seed, and streams the first', async () => {
  const { router, model } = await loadDemo();
  const result = await router.generate(PROMPT, { ...SAMPLED, n: 3, logprobs: true });
  assert.deepEqual(result.choices.map(({ index, seed }) => [index, seed]), [[0, 7], [1, 8], [2, 9]]);
  assert.deepEqual([result.text, result.tokens], [result.choices[0].text, 60]);
  for (const { text, seed, logprobs } of result.choices) {
    assert.equal(text, (await model.generate(PROMPT, { ...SAMPLED, seed })).text);
    assert.equal(logprobs.length, 20);
  }
  const stream = model.stream(PROMPT, { ...SAMPLED, n: 2 });
  assert.equal((await collect(stream)).join(''), result.text);
  assert.equal((await stream.result).choices[1].text, result.choices[1].text);
  const controller = new AbortController();
  const endless = model.stream(PROMPT, { ...SAMPLED, maxTokens: 100_000, contextOverflow: 'shift', n: 4, signal: controller.signal });
  await endless.next();
  controller.abort();
  await assert.rejects(endless.result, { code: 'ABORTED' });
  assert.equal((await model.generate(PROMPT, { ...SAMPLED, maxTokens: 1 })).tokens, 1, 'the engine is free again');
});

test('echo says the prompt first, in text and in the stream', async () => {
  const { router, model } = await loadDemo();
  const plain = await model.generate(PROMPT, SAMPLED);
  const stream = router.stream(PROMPT, { ...SAMPLED, echo: true });
  const pieces = await collect(stream);
  assert.equal(pieces[0], PROMPT);
  assert.deepEqual([pieces.join(''), (await stream.result).text], [PROMPT + plain.text, PROMPT + plain.text]);
  const two = await model.generate(PROMPT, { ...SAMPLED, echo: true, n: 2, template: '<{prompt}>' });
  for (const { text } of two.choices) assert.ok(text.startsWith(`<${PROMPT}>`), text);
  assert.throws(() => model.stream([{ role: 'user', content: 'x' }], { echo: true }), { code: 'INVALID_ARGUMENT' });
});

test('an ensemble may choose the answer that its model held the most probable', async () => {
  const { router, model } = await loadDemo();
  const other = await router.load('demo', { id: 'hot', temperature: 3 });
  const options = { topK: 0, topP: 1, seed: 3, maxTokens: 20, method: 'best-logprob' };
  const { text, ensemble } = await router.ensemble([other, model], PROMPT, options);
  assert.equal(ensemble.method, 'best-logprob');
  assert.equal(text, ensemble.votes[ensemble.votes[1].score > ensemble.votes[0].score ? 1 : 0].text);
  const lp = (...values) => values.map((logprob) => ({ logprob }));
  const pick = (answers) => combine(answers, 'best-logprob').index;
  assert.equal(pick([{ text: 'ab', weight: 1, logprobs: lp(-1, -3) }, { text: 'abcdefgh', weight: 1, logprobs: lp(-4, -2) }]), 1);
  assert.equal(pick([{ text: 'ab', weight: 9, logprobs: lp(-4) }, { text: 'ab', weight: 1, logprobs: lp(-3) }]), 0);
  assert.equal(pick([{ text: 'ab', weight: 9 }, { text: 'ab', weight: 1, logprobs: lp(-30) }]), 1);
});

test('endpoints are asked for log-probabilities and biases, and refuse what they have no word for', async () => {
  const event = `data: ${JSON.stringify({ choices: [{ delta: { content: 'Hi' }, finish_reason: 'stop', logprobs: { content: [{ token: 'Hi', logprob: -0.5, top_logprobs: [{ token: 'Ho', logprob: -2 }] }] } }] })}\n\n`;
  const server = await endpoint(answer(event, DONE), answer(delta('a', 'stop'), DONE));
  const router = new LLMRouter();
  await router.load({ source: 'm', type: 'openai', baseURL: server.baseURL, id: 'remote' });
  const { logprobs } = await router.generate('Hello', { topLogprobs: 1, logitBias: { 5: -3 } });
  assert.deepEqual(logprobs, [{ token: 'Hi', logprob: -0.5, top: [{ token: 'Ho', logprob: -2 }] }]);
  const { body } = server.requests[0];
  assert.deepEqual([body.logprobs, body.top_logprobs, body.logit_bias], [true, 1, { 5: -3 }]);
  assert.equal((await router.generate('Hello', { echo: true })).text, 'Helloa');
  await assert.rejects(router.generate('Hello', { modelId: 'remote', n: 2 }), { code: 'INVALID_OPTION', message: /Option n / });
});
