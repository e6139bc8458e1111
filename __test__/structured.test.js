// Answers of a given form: JSON schemas, regular expressions, grammars, enforced while the model chooses.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LLMRouter } from 'llm-runner-router';
import { readResponseFormat } from '../lib/response-format.js';
import { checkSchema, PERSON } from './support/schema.js';
import { answer, delta, DONE, endpoint } from './support/endpoint.js';
import { loadDemo } from './support/models.js';

const PROMPT = 'Tell me something';
const HOT = { temperature: 1, topK: 0, topP: 1 };

test('answers at temperature 1 are what the schema says, or were cut off and say so', async () => {
  const { model } = await loadDemo();
  const runs = Array.from({ length: 24 }, (_, seed) => model.generate(PROMPT, { ...HOT, seed, maxTokens: 200, responseFormat: { type: 'json_schema', schema: PERSON } }));
  const results = await Promise.all(runs);
  const whole = results.filter(({ finishReason }) => finishReason === 'stop');
  assert.ok(whole.length > 12, `${whole.length} of ${results.length} were not cut off`);
  for (const { text, parsed, seed } of whole) {
    assert.deepEqual(parsed, JSON.parse(text));
    assert.deepEqual(checkSchema(parsed), [], `seed ${seed}: ${text}`);
  }
  for (const { parsed, tokens, finishReason } of results.filter((result) => !whole.includes(result))) {
    assert.deepEqual([parsed, tokens, finishReason], [undefined, 200, 'length']);
  }
  assert.ok(new Set(whole.map(({ text }) => text)).size > 6, 'the model still chooses');
});

test('json_object, regular expressions and grammars form an answer too, streamed and whole', async () => {
  const { router, model } = await loadDemo();
  const date = await router.generate(PROMPT, { ...HOT, seed: 1, responseFormat: { type: 'regex', pattern: /^\d{4}-\d{2}-\d{2}$/ } });
  assert.match(date.text, /^\d{4}-\d{2}-\d{2}$/);
  assert.equal(date.parsed, undefined);
  const grammar = 'start: "ternary" (" " word)+\nword: "yes" | "no"';
  const { text, finishReason } = await model.generate(PROMPT, { ...HOT, seed: 2, maxTokens: 60, responseFormat: { type: 'grammar', grammar } });
  assert.match(text, finishReason === 'stop' ? /^ternary( (yes|no))+$/ : /^ternary/);
  const stream = router.stream(PROMPT, { ...HOT, seed: 3, maxTokens: 100, responseFormat: { type: 'json_schema', schema: { enum: ['a', 'b'] } } });
  let read = '';
  for await (const piece of stream) read += piece;
  const result = await stream.result;
  assert.equal(read, result.text);
  assert.ok(['a', 'b'].includes(result.parsed), read);
  const object = await model.generate(PROMPT, { ...HOT, seed: 4, maxTokens: 30, format: 'json' });
  assert.match(object.text, /^\{/);
});

test('the same seed gives the same formed answer beside others, with and without drafts', async () => {
  const { model } = await loadDemo();
  const call = { ...HOT, seed: 5, maxTokens: 120, responseFormat: { type: 'json_schema', schema: PERSON } };
  const [alone] = [await model.generate(PROMPT, call)];
  const others = [1, 2, 3].map((seed) => model.generate('Why?', { ...HOT, seed, maxTokens: 60 }));
  const beside = await model.generate(PROMPT, { ...call, speculation: 'off' });
  await Promise.all(others);
  assert.deepEqual([beside.text, beside.tokenIds], [alone.text, alone.tokenIds]);
});

test('what cannot be enforced is refused by name, and so are formats that are none', async () => {
  const { model } = await loadDemo();
  const schema = (keywords) => ({ type: 'json_schema', schema: keywords });
  for (const [responseFormat, named] of [
    [schema({ type: 'array', uniqueItems: true }), /uniqueItems/],
    [schema({ if: {}, then: {} }), /"if".*"then"/],
    [schema({ type: 'string', format: 'moon-phase' }), /moon-phase/],
    [{ type: 'regex', pattern: '(a' }, /\(a/],
    [{ type: 'regex', pattern: '(?=a)b' }, /look/],
    [{ type: 'grammar', grammar: 'start: nowhere' }, /nowhere/],
  ]) {
    await assert.rejects(model.generate(PROMPT, { responseFormat }), { code: 'GRAMMAR_UNSUPPORTED', message: named });
  }
  for (const responseFormat of [{ type: 'xml' }, schema(7), { type: 'regex' }, { type: 'grammar' }, 'yaml', { type: 'regex', pattern: /a/i }]) {
    assert.throws(() => model.stream(PROMPT, { responseFormat }), { code: 'INVALID_ARGUMENT', message: /responseFormat/ });
  }
  await assert.rejects(model.generate(PROMPT, { responseFormat: 'json', ignoreEos: true }), { code: 'INVALID_ARGUMENT', message: /ignoreEos/ });
});

test('the words of other libraries for a form are understood', () => {
  const schema = { type: 'object', properties: {} };
  const expected = { type: 'json_schema', schema };
  for (const given of [
    expected, { type: 'json', schema }, schema, { type: 'json_schema', json_schema: { schema, strict: true } },
    { type: 'json_schema', schema: { toJSONSchema: () => schema } },
  ]) assert.deepEqual(readResponseFormat(given), expected, JSON.stringify(given));
  for (const given of ['json', { type: 'json' }, { type: 'json_object' }]) assert.deepEqual(readResponseFormat(given), { type: 'json_object' });
  assert.equal(readResponseFormat({ type: 'text' }), undefined);
  assert.equal(readResponseFormat({ type: 'regex', pattern: '^a\\$$' }).pattern, 'a\\$');
});

test('an endpoint is asked for the form in its own words, and what it has no word for is refused', async () => {
  const server = await endpoint(answer(delta('{"a":1}', 'stop'), DONE));
  const router = new LLMRouter();
  await router.load({ source: 'm', type: 'openai', baseURL: server.baseURL, id: 'remote' });
  const schema = { type: 'object' };
  const { parsed } = await router.generate('Hi', { responseFormat: { type: 'json_schema', schema, name: 'thing' } });
  assert.deepEqual(parsed, { a: 1 });
  assert.deepEqual(server.requests[0].body.response_format, { type: 'json_schema', json_schema: { name: 'thing', schema, strict: true } });
  await assert.rejects(router.generate('Hi', { modelId: 'remote', responseFormat: { type: 'regex', pattern: 'a' } }), { code: 'INVALID_OPTION', message: /responseFormat of type regex/ });
});
