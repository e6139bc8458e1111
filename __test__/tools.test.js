// Functions that a model may call.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LLMRouter } from 'llm-runner-router';
import { callGrammar, PLAIN_STYLE, plainMessages, readCalls, readTools, templateStyle } from '../lib/tools.js';
import { answer, delta, DONE, endpoint } from './support/endpoint.js';
import { loadDemo } from './support/models.js';

const WEATHER = {
  type: 'function',
  function: {
    name: 'weather',
    description: 'The weather of a place',
    parameters: { type: 'object', properties: { place: { enum: ['Oslo', 'Rome'] }, days: { $ref: '#/$defs/days' } }, required: ['place', 'days'], additionalProperties: false, $defs: { days: { type: 'integer', minimum: 1, maximum: 7 } } },
  },
};
const CLOCK = { type: 'function', function: { name: 'clock', parameters: { type: 'object', properties: {}, additionalProperties: false } } };
const HOT = { temperature: 1, topK: 0, topP: 1, maxTokens: 200 };

test('a call that is forced has a name and arguments by its schema', async () => {
  const { router, model } = await loadDemo();
  for (let seed = 0; seed < 6; seed++) {
    const { toolCalls, finishReason, text } = await router.generate('How is it in Rome?', { ...HOT, seed, tools: [CLOCK, WEATHER], toolChoice: 'weather' });
    assert.deepEqual([toolCalls.length, finishReason, text], [1, 'tool_calls', '']);
    const [{ id, type, function: { name, arguments: given } }] = toolCalls;
    assert.match(id, /^call_/);
    assert.deepEqual([type, name], ['function', 'weather']);
    assert.ok(['Oslo', 'Rome'].includes(given.place) && given.days >= 1 && given.days <= 7, JSON.stringify(given));
  }
  const names = new Set();
  for (let seed = 0; seed < 12; seed++) names.add((await model.generate('x', { ...HOT, seed, tools: [CLOCK, WEATHER], tool_choice: 'required' })).toolCalls[0].function.name);
  assert.ok([...names].every((name) => ['clock', 'weather'].includes(name)));
});

test('tools reach the model, in its own template or as a system message', async () => {
  const { model } = await loadDemo();
  const plain = await model.generate('Hello', { temperature: 0, maxTokens: 1 });
  const shown = await model.generate('Hello', { temperature: 0, maxTokens: 1, tools: [WEATHER] });
  const hidden = await model.generate('Hello', { temperature: 0, maxTokens: 1, tools: [WEATHER], toolChoice: 'none' });
  assert.ok(shown.usage.promptTokens > plain.usage.promptTokens);
  assert.equal(hidden.usage.promptTokens, plain.usage.promptTokens);
  const hermes = (messages, tools) => `${JSON.stringify(tools)} <tool_call>\n{"name": <name>}\n</tool_call>`;
  assert.deepEqual(templateStyle(hermes), PLAIN_STYLE);
  const llama = (messages, tools) => `Respond in the format {"name": function name, "parameters": dictionary of argument name and its value}. ${JSON.stringify(tools)}`;
  assert.deepEqual(templateStyle(llama), { open: '', close: '', key: 'parameters' });
  assert.equal(templateStyle((messages) => messages[0].content), undefined);
  assert.equal(templateStyle(() => { throw new Error('no tools'); }), undefined);
});

test('a chat of a model without a template for tools is told as text', () => {
  const { list } = readTools({ tools: [WEATHER] });
  const call = { id: '1', type: 'function', function: { name: 'weather', arguments: '{"place":"Oslo"}' } };
  const told = plainMessages([{ role: 'user', content: 'Hi' }, { role: 'assistant', content: 'Well', tool_calls: [call] }, { role: 'tool', tool_call_id: '1', content: 'rain' }], list);
  assert.deepEqual(told.map(({ role }) => role), ['system', 'user', 'assistant', 'user']);
  assert.match(told[0].content, /"name":"weather"/);
  assert.equal(told[2].content, 'Well\n<tool_call>\n{"name":"weather","arguments":{"place":"Oslo"}}\n</tool_call>');
  assert.match(told[3].content, /rain/);
});

test('calls are read from an answer, and what is none stays text', () => {
  const { list } = readTools({ tools: [WEATHER, CLOCK] });
  const calls = (text) => {
    const read = readCalls(text, list);
    return [read.text, ...read.toolCalls.map(({ function: { name, arguments: given } }) => [name, given])];
  };
  const wrapped = (body) => `<tool_call>\n${body}\n</tool_call>`;
  assert.deepEqual(calls(`Let me see.\n${wrapped('{"name": "clock", "arguments": {}}')}\n${wrapped('{"name": "weather", "arguments": {"place": "Rome"}}')}`), ['Let me see.', ['clock', {}], ['weather', { place: 'Rome' }]]);
  assert.deepEqual(calls('<tool_call>{"name": "clock"}'), ['', ['clock', {}]]);
  assert.deepEqual(calls('{"name": "weather", "parameters": {"place": "Oslo"}}'), ['', ['weather', { place: 'Oslo' }]]);
  for (const text of ['Hello', wrapped('{"name": "rm", "arguments": {}}'), wrapped('{broken'), '{"name": "other", "parameters": {}}', '[]']) assert.deepEqual(calls(text), [text]);
});

test('tools and choices that make no sense are refused', () => {
  for (const tools of [[{}], [{ function: { name: 'a b' } }], [CLOCK, CLOCK], [{ function: { name: 'a', parameters: 7 } }], [null]]) {
    assert.throws(() => readTools({ tools }), { code: 'INVALID_ARGUMENT' }, JSON.stringify(tools));
  }
  for (const toolChoice of ['clocks', { function: { name: 'x' } }]) assert.throws(() => readTools({ tools: [CLOCK], toolChoice }), { message: /clock/ });
  assert.throws(() => readTools({ toolChoice: 'required' }), { code: 'INVALID_ARGUMENT' });
  assert.throws(() => callGrammar(readTools({ tools: [{ function: { name: 'a', parameters: { 'x-guidance': {} } } }] }).list, PLAIN_STYLE), { code: 'INVALID_ARGUMENT' });
});

test('options that tools exclude are refused', async () => {
  const { model } = await loadDemo();
  for (const options of [{ raw: true }, { responseFormat: 'json', toolChoice: 'required' }]) {
    await assert.rejects(async () => model.generate('x', { tools: [CLOCK], ...options }), { code: 'INVALID_ARGUMENT' });
  }
  await assert.rejects(model.generate('x', { toolChoice: 'required', tools: [{ function: { name: 'a', parameters: { not: {} } } }] }), { code: 'GRAMMAR_UNSUPPORTED', message: /not/ });
});

/** A model that calls tools as it is told to, in words of the wire. */
const calling = (...parts) => answer(...parts.map((tool_calls) => `data: ${JSON.stringify({ choices: [{ delta: { tool_calls }, finish_reason: null }] })}\n\n`), delta('', 'tool_calls'), DONE);

test('a chat runs the tools that its model calls and gives it what they say', async () => {
  const server = await endpoint(
    calling([{ index: 0, id: 'c1', function: { name: 'weather', arguments: '{"place":' } }, { index: 1, id: 'c2', function: { name: 'clock', arguments: '{}' } }], [{ index: 0, function: { arguments: '"Oslo"}' } }]),
    answer(delta('It rains.', 'stop'), DONE),
  );
  const router = new LLMRouter();
  await router.load({ source: 'm', type: 'openai', baseURL: server.baseURL, id: 'remote' });
  const asked = [];
  const execute = (given, call) => {
    asked.push([call.id, given]);
    return { sky: 'rain' };
  };
  const broken = { ...CLOCK, execute: () => { throw new Error('no battery'); } };
  const chat = router.chat({ tools: [{ ...WEATHER, execute }, broken], toolChoice: 'required' });
  const { text } = await chat.send('How is it in Oslo?');
  assert.equal(text, 'It rains.');
  assert.deepEqual(asked, [['c1', { place: 'Oslo' }]]);
  const [first, second] = server.requests.map(({ body }) => body);
  assert.deepEqual([first.tools.length, first.tools[0].execute, first.tool_choice, second.tool_choice], [2, undefined, 'required', 'auto']);
  assert.deepEqual(second.messages.slice(1).map(({ role, content, tool_call_id: id }) => [role, id, content]), [
    ['assistant', undefined, ''], ['tool', 'c1', '{"sky":"rain"}'], ['tool', 'c2', 'Error: no battery'],
  ]);
  assert.equal(second.messages[1].tool_calls[0].function.arguments, '{"place":"Oslo"}');
  assert.deepEqual(chat.history.map(({ role }) => role), ['user', 'assistant', 'tool', 'tool', 'assistant']);
});

test('a chat with tools that never ends is ended, and leaves no trace', async () => {
  const { router, model } = await loadDemo();
  const chat = router.chat({ modelId: model.id });
  // The plain form of a call is what this model says in any case.
  const responder = { ...HOT, seed: 1, tools: [{ ...CLOCK, execute: () => 'noon' }], maxToolRounds: 2 };
  const server = await endpoint(calling([{ index: 0, id: 'c', function: { name: 'clock', arguments: '{}' } }]));
  await router.load({ source: 'm', type: 'openai', baseURL: server.baseURL, id: 'remote' });
  const remote = router.chat({ modelId: 'remote', tools: responder.tools, maxToolRounds: 2 });
  await assert.rejects(remote.send('What time is it?'), { code: 'TOOL_ROUNDS_EXCEEDED' });
  assert.deepEqual([server.requests.length, remote.history], [3, []]);
  assert.throws(() => chat.stream('x', { tools: [CLOCK] }), { code: 'INVALID_ARGUMENT', message: /execute/ });
  assert.throws(() => chat.stream('x', { maxToolRounds: 0 }), { code: 'INVALID_ARGUMENT' });
  const forced = await chat.send('What time is it?', { ...responder, toolChoice: 'required' }).catch(({ code }) => code);
  assert.ok(forced === 'TOOL_ROUNDS_EXCEEDED' || chat.history[1].tool_calls[0].function.name === 'clock', JSON.stringify(forced));
});
