// The package in a browser: Chromium without a window, on pages from a server of this machine. Needs what `npm run build:browser`
// makes, and Chromium: CHROMIUM, or the first of the usual names on PATH.
import assert from 'node:assert/strict';
import { createReadStream, existsSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { chromium } from 'playwright-core';
import LLMRouter from '../../index.js';
import { hasRelaxedSimd } from '../../lib/browser/engine-file.js';
import { ORACLE, ROOT } from '../support/models.js';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'chrome'];
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.json': 'application/json' };
const QUESTION = 'What is BitNet?';
const GREEDY = { temperature: 0, maxTokens: 60 };

function findChromium() {
  const folders = process.env.PATH.split(path.delimiter);
  const found = process.env.CHROMIUM ?? folders.flatMap((folder) => NAMES.map((name) => path.join(folder, name))).find((file) => existsSync(file));
  assert.ok(found, `Chromium is not there: install it, or name it in CHROMIUM`);
  return found;
}

/** Paths that were asked for, in their order. */
const asked = [];
const server = createServer((request, response) => {
  const { pathname } = new URL(request.url, 'http://localhost');
  asked.push(pathname);
  if (pathname === '/empty') {
    response.setHeader('content-type', 'text/html');
    response.end('<!doctype html><title>empty</title>');
    return;
  }
  const file = path.join(ROOT, path.normalize(pathname));
  if (!existsSync(file) || !statSync(file).isFile()) {
    response.statusCode = 404;
    response.end();
    return;
  }
  response.setHeader('content-type', TYPES[path.extname(file)] ?? 'application/octet-stream');
  response.setHeader('content-length', statSync(file).size);
  createReadStream(file).pipe(response);
});

let browser;
let page;
let origin;
const router = new LLMRouter();

before(async () => {
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  origin = `http://localhost:${server.address().port}`;
  browser = await chromium.launch({ executablePath: findChromium(), args: ['--no-sandbox'] });
  page = await browser.newPage();
  await page.goto(`${origin}/empty`);
});

after(async () => {
  await browser?.close();
  server.close();
  await router.dispose();
});

/** Runs a function in the page with the package; what it throws of ours comes back as `{ code, message }`. */
const inPage = (work, argument) => page.evaluate(`(async () => {
  const browser = await import('/browser/index.js');
  try { return await (${work})(browser, ${JSON.stringify(argument ?? null)}); }
  catch (error) { return { code: error.code, name: error.name, message: error.message }; }
})()`);

const native = async (source, prompt, options) => {
  const model = await router.load(source);
  const result = await model.generate(prompt, options);
  return { text: result.text, tokenIds: result.tokenIds };
};

test('the demo answers with the tokens of the native engine, streamed', async () => {
  const expected = await native('demo', QUESTION, GREEDY);
  const answer = await inPage(async ({ LLMRouter: Router }, [prompt, options]) => {
    const own = new Router();
    const phases = new Set();
    await own.load('demo', { onProgress: ({ phase }) => phases.add(phase) });
    const stream = own.stream(prompt, options);
    const pieces = [];
    for await (const piece of stream) pieces.push(piece);
    const { text, tokenIds, usage, routing } = await stream.result;
    await own.dispose();
    return { pieces, text, tokenIds, usage, routing, phases: [...phases] };
  }, [QUESTION, GREEDY]);
  assert.deepEqual(answer.tokenIds, expected.tokenIds);
  assert.equal(answer.text, expected.text);
  assert.equal(answer.pieces.join(''), expected.text);
  assert.ok(answer.pieces.length > 5 && answer.usage.completionTokens === expected.tokenIds.length);
  assert.deepEqual(answer.phases, ['download', 'open', 'weights', 'tokenizer', 'ready']);
});

test('the fastest kernels that the browser has are used, and the others give the same tokens', async () => {
  const expected = await native('demo', QUESTION, GREEDY);
  const answers = await inPage(async ({ LLMRouter: Router }, [prompt, options]) => {
    const told = [];
    for (const isa of [undefined, 'simd128', 'scalar']) {
      const own = new Router();
      const model = await own.load({ source: 'demo', ...(isa && { isa }) });
      told.push([model.info().isa, (await model.generate(prompt, options)).tokenIds]);
      await own.dispose();
    }
    return told;
  }, [QUESTION, GREEDY]);
  assert.deepEqual(answers, ['relaxedsimd', 'simd128', 'scalar'].map((kernel) => [kernel, expected.tokenIds]));
});

test('a browser without relaxed SIMD gets a module that has none of it', async () => {
  assert.equal(await hasRelaxedSimd(), process.versions.node.split('.')[0] > 20);
  const isWhole = (name) => WebAssembly.validate(gunzipSync(readFileSync(path.join(ROOT, 'browser', name))));
  assert.ok(isWhole('engine.wasm.gz'));
  assert.equal(isWhole('engine-relaxed.wasm.gz'), await hasRelaxedSimd());
});

test('logits of a ternary GGUF file are those of the native engine, bit for bit', async () => {
  const file = path.join(ORACLE, 'gguf', 'bitnet-2b4t.I2_S.gguf');
  const ids = [1, 5, 9, 2, 7, 11, 3];
  const model = await router.load(file);
  const expected = await model.forward(ids);
  const got = await inPage(async ({ LLMRouter: Router }, [url, tokens]) => {
    const own = await new Router().load(url);
    const logits = await own.forward(tokens);
    await own.unload();
    return [...logits];
  }, ['/testdata/oracle/gguf/bitnet-2b4t.I2_S.gguf', ids]);
  assert.deepEqual(got, [...expected]);
});

test('a model is fetched once: the second load asks the server for nothing of it, and works offline', async () => {
  const before = asked.length;
  const text = await inPage(async ({ LLMRouter: Router }, options) => {
    const own = new Router();
    const model = await own.load('demo', { offline: true });
    const result = await model.generate('What is BitNet?', options);
    await own.dispose();
    return result.text;
  }, GREEDY);
  assert.match(text, /BitNet/);
  assert.deepEqual(asked.slice(before).filter((name) => name.includes('/demo/') && name.endsWith('.safetensors')), []);
});

test('a file that the user has chosen is loaded without a server', async () => {
  const expected = await native(path.join(ORACLE, 'gguf', 'llama3-158.I2_S.gguf'), 'abc', { ...GREEDY, raw: true });
  await page.setContent('<input id="chosen" type="file">');
  await page.setInputFiles('#chosen', path.join(ORACLE, 'gguf', 'llama3-158.I2_S.gguf'));
  const answer = await inPage(async ({ LLMRouter: Router }, options) => {
    const own = new Router();
    const model = await own.load({ source: document.getElementById('chosen').files[0] });
    const { text, tokenIds } = await model.generate('abc', { ...options, raw: true });
    await own.dispose();
    return { text, tokenIds };
  }, GREEDY);
  await page.goto(`${origin}/empty`);
  assert.deepEqual(answer, expected);
});

test('an aborted call ends with AbortError, a left stream computes no more, and the model goes on', async () => {
  const seen = await inPage(async ({ LLMRouter: Router }, options) => {
    const own = new Router();
    const model = await own.load('demo');
    const long = { ...options, maxTokens: 400, ignoreEos: true };
    const controller = new AbortController();
    const failed = await model.generate('Count', { ...long, signal: controller.signal, onToken: () => controller.abort() }).catch(({ name }) => name);
    for await (const piece of model.stream('Count', long)) if (piece) break;
    const { text } = await model.generate('What is BitNet?', options);
    const [ids] = [await model.tokenize('Hello there')];
    const back = await model.detokenize(ids);
    await own.dispose();
    const closed = await model.generate('again').catch(({ code }) => code);
    return { failed, text, back, closed };
  }, GREEDY);
  assert.equal(seen.failed, 'AbortError');
  assert.match(seen.text, /BitNet/);
  assert.equal(seen.back, 'Hello there');
  assert.equal(seen.closed, 'MODEL_NOT_LOADED');
});

test('answers in a form, and log-probabilities, are those of the native engine', async () => {
  const options = { temperature: 1, seed: 7, maxTokens: 60, responseFormat: { type: 'regex', pattern: '(yes|no), [a-z]{3,8}' }, logprobs: true };
  const model = await router.load('demo');
  const expected = await model.generate(QUESTION, options);
  const got = await inPage(async ({ LLMRouter: Router }, [prompt, given]) => {
    const own = new Router();
    const result = await (await own.load('demo')).generate(prompt, given);
    await own.dispose();
    return { text: result.text, logprobs: result.logprobs };
  }, [QUESTION, options]);
  assert.match(got.text, /^(yes|no), [a-z]{3,8}$/);
  assert.deepEqual(got, { text: expected.text, logprobs: expected.logprobs });
});

test('what cannot be in a browser is refused with the reason', async () => {
  const refusal = (spec) => inPage(({ LLMRouter: Router }, given) => new Router().load(given), spec);
  for (const [spec, code, words] of [
    [{ source: 'demo', threads: 4 }, 'INVALID_ARGUMENT', /threads.*one thread/],
    [{ source: 'demo', autoBuild: true }, 'INVALID_ARGUMENT', /autoBuild cannot be used in a browser/],
    [{ source: '/nowhere.gguf' }, 'MODEL_NOT_FOUND', /nowhere\.gguf.*no such file/],
    [{ source: '/another.gguf', offline: true }, 'MODEL_NOT_FOUND', /not in the cache/],
    [{ source: '/README.md' }, 'MODEL_NOT_FOUND', /README\.md\/config\.json/],
    [{ source: '/testdata/oracle/gguf/bitnet-2b4t.I2_S.gguf', isa: 'avx2' }, 'ISA_UNAVAILABLE', /avx2/],
    [{ source: 'demo', revision: 'main' }, 'INVALID_ARGUMENT', /revision is for models of the hub/],
  ]) {
    const { code: got, message } = await refusal(spec);
    assert.equal(got, code, message);
    assert.match(message, words);
  }
});

test('a loader refuses folders and builds, and answers with the model that it loaded last', async () => {
  const seen = await inPage(async ({ BitNetLoader }, options) => {
    const refusals = ['bitnetPath', 'autoBuild'].map((name) => {
      try { return new BitNetLoader({ [name]: name === 'autoBuild' || '/somewhere' }); } catch ({ code, message }) { return `${code} ${message}`; }
    });
    const loader = new BitNetLoader();
    const model = await loader.load('demo');
    const whole = await loader.generate('What is BitNet?', options);
    let streamed = '';
    for await (const piece of loader.stream('What is BitNet?', options)) streamed += piece;
    const kept = await model.saveContext([{ role: 'user', content: 'Hi' }], 'a.context').catch(({ code }) => code);
    const read = await model.loadContext('a.context').catch(({ code }) => code);
    const ids = await model.tokenize('Hello there');
    const perplexities = [await model.perplexity('Hello there'), await model.perplexity(ids)].map(({ perplexity }) => perplexity);
    await loader.unload();
    return { refusals, raw: whole.raw, streamed, kept, read, perplexities };
  }, GREEDY);
  assert.match(seen.refusals[0], /^INVALID_ARGUMENT Option bitnetPath/);
  assert.match(seen.refusals[1], /^INVALID_ARGUMENT Option autoBuild/);
  assert.match(seen.raw, /BitNet/);
  assert.equal(seen.streamed, seen.raw);
  assert.deepEqual([seen.kept, seen.read], ['IO_ERROR', 'IO_ERROR']);
  assert.ok(seen.perplexities[0] > 1 && seen.perplexities[0] === seen.perplexities[1]);
});

test('the example page loads the demo, answers, and stops', async () => {
  const { text } = await native('demo', QUESTION, { temperature: 0, maxTokens: 200 });
  await page.goto(`${origin}/examples/browser/index.html`);
  await page.waitForSelector('#ask:enabled', { timeout: 120_000 });
  await page.click('#ask');
  await page.waitForFunction(() => / tokens, /.test(document.getElementById('status').textContent), undefined, { timeout: 120_000 });
  assert.equal(await page.inputValue('#answer').catch(() => page.textContent('#answer')), text);
});

test('the bundle names no module of Node', () => {
  for (const name of ['index.js', 'worker.js']) {
    assert.doesNotMatch(readFileSync(path.join(ROOT, 'browser', name), 'utf8'), /(?:from|import\()\s*["']node:/);
  }
});
