// Models behind an OpenAI-compatible endpoint: the wire, and everything that goes wrong on it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LLMRouter, OpenAILoader } from 'llm-runner-router';
import { retryAfterMs } from '../lib/remote/failures.js';
import { readEvents } from '../lib/remote/sse.js';
import { OPTIONS } from '../lib/options.js';
import { answer, delta, DONE, endpoint, status, usage } from './support/endpoint.js';
import { read } from './support/fakes.js';
import { collect, loadDemo, sleep } from './support/models.js';

const KEY = 'sk-very-secret-0123456789';
process.env.TEST_ENDPOINT_KEY = KEY;
const hello = answer(delta('Hel'), delta('lo'), delta('!', 'stop'), usage(7, 3), DONE);

async function remote(replies, options) {
  const server = await endpoint(...[replies].flat());
  const router = new LLMRouter();
  const model = await router.load({ source: 'some-model', type: 'openai', baseURL: server.baseURL, id: 'remote', ...options });
  return { server, router, model };
}

test('text, usage and the reason of the end come through, streamed and whole', async () => {
  const { router, server } = await remote(hello);
  const pieces = [];
  const stream = router.stream('Hi', { onToken: (text) => pieces.push(text) });
  assert.deepEqual(await collect(stream), ['Hel', 'lo', '!']);
  const result = await stream.result;
  assert.deepEqual([result.text, result.tokens, result.finishReason, result.model, result.modelId], ['Hello!', 3, 'stop', 'some-model', 'remote']);
  assert.deepEqual(result.usage, { promptTokens: 7, cachedTokens: 0, completionTokens: 3, totalTokens: 10 });
  assert.ok(result.timings.ttftMs > 0 && result.latency >= result.timings.ttftMs);
  assert.deepEqual(pieces, ['Hel', 'lo', '!']);
  assert.equal((await router.generate('Hi')).text, 'Hello!');
  assert.equal(server.requests.length, 2);
});

test('options go out under the names of the wire', async () => {
  const { router, server } = await remote(hello, { temperature: 0.3, topP: 0.5, seed: 1, frequencyPenalty: 0.1, presencePenalty: 0.2, extraBody: { top_k: 7 }, apiKeyEnv: 'TEST_ENDPOINT_KEY' });
  await router.generate('Hi', { systemPrompt: 'Be brief.', template: 'Q: {prompt}', maxTokens: 9, stop: ['x'], seed: 2 });
  const [{ url, headers, body }] = server.requests;
  assert.equal(url, '/v1/chat/completions');
  assert.equal(headers.authorization, `Bearer ${KEY}`);
  assert.deepEqual(body, {
    model: 'some-model', messages: [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'Q: Hi' }], stream: true, stream_options: { include_usage: true },
    max_tokens: 9, temperature: 0.3, top_p: 0.5, stop: ['x'], seed: 2, frequency_penalty: 0.1, presence_penalty: 0.2, top_k: 7,
  });
  await router.generate([{ role: 'user', content: 'a' }, { role: 'assistant', content: 'b' }, { role: 'user', content: 'c' }]);
  assert.equal(server.requests[1].body.messages.length, 3);
});

test('what the wire has no word for is refused, and a strategy goes round such a model', async () => {
  const { router } = await remote(hello);
  for (const options of [{ topK: 5 }, { minP: 0.1 }, { raw: true }, { repetitionPenalty: 2 }, { ignoreEos: true }, { contextOverflow: 'shift' }]) {
    await assert.rejects(router.generate('Hi', { modelId: 'remote', ...options }), { code: 'INVALID_OPTION', message: new RegExp(`Option ${Object.keys(options)[0]} `) });
  }
  await assert.rejects(router.generate('Hi', { topK: 5 }), { code: 'NO_MODEL_MATCHES', message: /has no option topK/ });
  const local = await router.load('demo', { threads: 1 });
  assert.equal((await router.generate('Hi', { topK: 5, maxTokens: 2 })).modelId, local.id);
  await router.cleanup();
});

test('an event stream may be cut anywhere', async () => {
  const bytes = Buffer.from('﻿: hello\r\n\r\ndata: grüße 🙂\r\n\r\nevent: x\rdata: two\rdata:  lines\r\rdata: a\n\ndata\n\nid: 1\n\ndata: cut off');
  const cuts = Array.from({ length: bytes.length }, (_, i) => i + 1);
  for (const size of cuts) {
    const chunks = async function* () {
      for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
    };
    assert.deepEqual(await collect(readEvents(chunks())), ['grüße 🙂', 'two\n lines', 'a', ''], `chunks of ${size}`);
  }
});

test('a server that does not stream is understood, and so are other shapes of an end', async () => {
  const whole = (request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ choices: [{ message: { content: 'whole' }, finish_reason: 'length' }], usage: { prompt_tokens: 1, completion_tokens: 2 } }));
  };
  const { router } = await remote([whole, answer(delta('no done'), delta('', 'stop')), answer(delta('no reason'), DONE), answer(delta('x', 'eos'), DONE), answer(DONE)]);
  const ends = [];
  for (let i = 0; i < 5; i++) {
    const { text, finishReason, tokens } = await router.generate('Hi');
    ends.push([text, finishReason, tokens]);
  }
  assert.deepEqual(ends, [['whole', 'length', 2], ['no done', 'stop', 1], ['no reason', 'stop', 1], ['x', 'stop', 1], ['', 'stop', 0]]);
});

test('an answer that is cut off is an error and never a short answer', async () => {
  const cut = (request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(delta('half'));
    setTimeout(() => response.destroy(), 20);
  };
  for (const reply of [cut, answer(delta('half')), answer(delta('half'), 'data: {"broken\n\n'), answer(delta('half'), 'data: {"error":{"message":"overloaded"}}\n\n')]) {
    const { router, server } = await remote([reply, hello]);
    const stream = router.stream('Hi');
    await assert.rejects(collect(stream), (error) => {
      assert.equal(error.code, 'REMOTE_FAILED');
      assert.equal(error.partialText, 'half');
      return true;
    });
    assert.equal(server.requests.length, 1, 'what was read is not asked for again');
  }
});

test('failures before the first text are tried again, those of the caller are not', async () => {
  const destroy = (request, response) => response.destroy();
  const again = [status(500), status(503, '', { 'retry-after': '0' }), status(429, '', { 'retry-after': '0' }), destroy, answer()];
  for (const reply of again) {
    const { router, server } = await remote([reply, hello]);
    const { text, routing } = await router.generate('Hi');
    assert.deepEqual([text, server.requests.length, routing.attempts.length], ['Hello!', 2, 2]);
  }
  const final = [
    [400, '{"error":{"message":"no such parameter"}}', 'REMOTE_REFUSED', /status 400: no such parameter/],
    [404, 'nothing here', 'REMOTE_REFUSED', /status 404: nothing here/],
    [400, '{"error":{"message":"too long","code":"context_length_exceeded"}}', 'CONTEXT_OVERFLOW', /too long/],
    [401, `{"error":{"message":"bad key ${KEY}"}}`, 'AUTH_FAILED', /TEST_ENDPOINT_KEY is not accepted\): bad key \*\*\*/],
    [403, '', 'AUTH_FAILED', /status 403/],
  ];
  for (const [code, body, expected, message] of final) {
    const { router, server } = await remote([status(code, body), hello], { apiKeyEnv: 'TEST_ENDPOINT_KEY' });
    await assert.rejects(router.generate('Hi'), (error) => {
      assert.equal(error.code, expected);
      assert.match(error.message, message);
      return true;
    });
    assert.equal(server.requests.length, 1);
  }
});

test('Retry-After is a number of seconds or a date; who asks for too much patience is passed over', async () => {
  assert.equal(retryAfterMs('2'), 2000);
  assert.equal(retryAfterMs('Thu, 01 Jan 1970 00:00:05 GMT', 1000), 4000);
  assert.equal(retryAfterMs('soon'), undefined);
  assert.equal(retryAfterMs(null), undefined);
  const { router, server } = await remote([status(429, '', { 'retry-after': '3600' }), hello]);
  const local = await router.load('demo', { threads: 1 });
  const { modelId, routing } = await router.generate('Hello!', { modelId: 'remote', fallbacks: [local.id], maxTokens: 2 });
  assert.equal(modelId, local.id);
  assert.equal(routing.attempts[0].error.code, 'RATE_LIMITED');
  assert.equal(server.requests.length, 1);
  await router.cleanup();
});

test('the key is nowhere but in the request, goes to no other host, and without one the error says which variable', async () => {
  const elsewhere = await endpoint(hello);
  const { server, model, router } = await remote([status(307, '', { location: `${elsewhere.baseURL}/chat/completions` })], { apiKeyEnv: 'TEST_ENDPOINT_KEY' });
  const error = await router.generate('Hi', { retries: 0 }).catch((failure) => failure);
  assert.equal(error.code, 'REMOTE_FAILED');
  assert.deepEqual([server.requests.length, elsewhere.requests.length], [1, 0]);
  const { inspect } = await import('node:util');
  for (const text of [JSON.stringify(model), inspect(model, { depth: 9, showHidden: true }), JSON.stringify(router.registry.list()), inspect(error, { depth: 9 })]) assert.ok(!text.includes(KEY));

  process.env.OPENAI_API_KEY = KEY;
  const open = await remote(hello);
  await open.router.generate('Hi');
  assert.equal(open.server.requests[0].headers.authorization, undefined, 'the key of OpenAI goes to OpenAI only');
  process.env.OPENAI_BASE_URL = open.server.baseURL;
  await (await new OpenAILoader().load('x')).generate('Hi');
  assert.equal(open.server.requests[1].headers.authorization, `Bearer ${KEY}`);
  delete process.env.OPENAI_API_KEY;
  delete process.env.OPENAI_BASE_URL;
  const unset = await remote(status(401), { apiKeyEnv: 'NO_SUCH_VARIABLE' });
  await assert.rejects(unset.router.generate('Hi'), { code: 'AUTH_FAILED', message: /NO_SUCH_VARIABLE is not set/ });
  const unnamed = await remote(status(401));
  await assert.rejects(unnamed.router.generate('Hi'), { code: 'AUTH_FAILED', message: /apiKeyEnv/ });
});

test('aborting, leaving and unloading close the connection', async () => {
  const forever = (request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(delta('first '));
  };
  const ends = [
    (stream) => stream.abort(new Error('enough')),
    (stream) => stream.return(),
    (stream, router) => router.unload('remote'),
  ];
  for (const end of ends) {
    const { router, server } = await remote(forever);
    const stream = router.stream('Hi');
    assert.equal((await stream.next()).value, 'first ');
    const rest = stream.next().catch((error) => error);
    await end(stream, router);
    assert.equal((await rest).partialText, 'first ');
    await server.requests[0].closed;
  }
  const { router, server } = await remote(() => {});
  const waiting = router.generate('Hi', { timeout: 2000 });
  await assert.rejects(waiting, { code: 'TIMEOUT' });
  await server.requests[0].closed;
});

test('silence is given up after idleTimeout, a slow reader is not', async () => {
  const silent = (request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(delta('one '));
  };
  for (const [reply, partialText] of [[silent, 'one '], [() => {}, '']]) {
    const { router } = await remote(reply, { idleTimeout: 600 });
    await assert.rejects(router.generate('Hi', { retries: 0 }), (error) => {
      assert.match(error.message, /sent nothing for 600 ms/);
      assert.deepEqual([error.code, error.partialText], ['REMOTE_FAILED', partialText]);
      return true;
    });
  }
  const { router } = await remote(hello, { idleTimeout: 600 });
  const stream = router.stream('Hi');
  await stream.next();
  await sleep(1000);
  assert.deepEqual(await collect(stream), ['lo', '!']);
});

test('an endpoint that is not there is an error with its address, and prefixes name loaders', async () => {
  const router = new LLMRouter();
  await router.load({ source: 'openai:some/model', baseURL: 'http://127.0.0.1:9/v1', id: 'gone' });
  await assert.rejects(router.generate('Hi', { modelId: 'gone', retries: 0 }), { code: 'REMOTE_FAILED', message: /127\.0\.0\.1:9.*/ });
  const ollama = await router.load('ollama:llama3.2');
  assert.deepEqual([ollama.baseURL, ollama.source], ['http://127.0.0.1:11434/v1', 'llama3.2']);
  assert.deepEqual(router.registry.search({ remote: true }).length, 2);
  for (const options of [{ baseURL: 'ftp://x' }, { baseURL: 'nonsense' }, { baseURL: 'http://user:pass@host/v1' }, { idleTimeout: 0 }, { capabilities: 1 }, { extraBody: 'x' }]) {
    await assert.rejects(router.load({ source: 'x', type: 'openai', ...options }), { code: 'INVALID_ARGUMENT' });
  }
  await assert.rejects(router.load({ source: 'x', type: 'openai', apiKey: KEY }), (error) => error.code === 'INVALID_OPTION' && /apiKeyEnv/.test(error.message) && !error.message.includes(KEY));
  assert.throws(() => new OpenAILoader({ baseUrl: 'x' }), { code: 'INVALID_OPTION' });
});

test('remote models are candidates like any other: price, capabilities, fallback from a local one', async () => {
  const server = await endpoint(hello);
  const { router, model } = await loadDemo({ contextSize: 32 });
  await router.load({ source: 'big', type: 'openai', baseURL: server.baseURL, id: 'big', quality: 0.9, price: { input: 2, output: 8 }, capabilities: { vision: true }, contextSize: 100_000 });
  assert.equal((await router.generate('Hi', { strategy: 'cost-optimized', maxTokens: 2 })).modelId, model.id);
  assert.equal((await router.generate('Hi', { strategy: 'quality-first' })).modelId, 'big');
  assert.equal((await router.generate('Hi', { requirements: { capabilities: ['vision'] } })).modelId, 'big');
  const { modelId, routing } = await router.generate('one two three four five '.repeat(9), { modelId: model.id, fallbacks: ['big'] });
  assert.equal(modelId, 'big');
  assert.equal(routing.attempts[0].error.code, 'CONTEXT_OVERFLOW');
  assert.ok(router.getStatus().models.find(({ id }) => id === 'big').ttftMs > 0);
});

test('every option of a remote load is tested here', () => {
  const seen = ['source', 'type', 'id', 'name', 'contextSize', 'temperature', 'topP', 'frequencyPenalty', 'presencePenalty', 'seed', 'baseURL', 'apiKeyEnv', 'extraBody', 'idleTimeout', 'capabilities'];
  assert.deepEqual(OPTIONS.filter((row) => row.in.includes('remote')).map(({ name }) => name).sort(), seen.sort());
});

test('many streams at once are not mixed up', async () => {
  const echo = (request, response) => {
    const { body } = server.requests.at(-1);
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const words = `${body.messages[0].content} `.repeat(5).split(/(?<= )/);
    const send = () => (words.length > 0 ? (response.write(delta(words.shift())), setTimeout(send, Math.random() * 4)) : response.end(DONE));
    send();
  };
  const { router, server } = await remote(echo);
  const asked = Array.from({ length: 30 }, (_, i) => `prompt-${i}`);
  const answers = await Promise.all(asked.map((prompt) => read(router.stream(prompt))));
  answers.forEach(({ text }, i) => assert.equal(text, `prompt-${i} `.repeat(5)));
});
