// Models from a hub on this machine: what load() and downloadModel() fetch, and what happens when something goes wrong.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { AbortError, BitNetLoader, LLMRouter } from 'llm-runner-router';
import { COMMIT, startHub } from './support/hub.js';
import { ORACLE, ROOT, sleep, temporaryFolder, until } from './support/models.js';
import { runModule } from './support/run.js';

const MODEL = path.join(ORACLE, 'models', 'bitnet-2b4t');
const ID = 'owner/tiny';
const INDEX = path.join(ROOT, 'index.js');
const WEIGHTS = readFileSync(path.join(MODEL, 'model.safetensors')).length;

/** Environment of this process while a test runs: none of the user's, and a cache of its own. */
const NAMES = ['HF_ENDPOINT', 'HF_HUB_CACHE', 'HF_HOME', 'HF_TOKEN', 'HF_TOKEN_PATH', 'HF_HUB_OFFLINE', 'HTTP_PROXY', 'http_proxy', 'ALL_PROXY', 'all_proxy', 'HF_HUB_DOWNLOAD_TIMEOUT'];
let saved;
let cache;

beforeEach(() => {
  saved = Object.fromEntries(NAMES.map((name) => [name, process.env[name]]));
  for (const name of NAMES) delete process.env[name];
  cache = path.join(temporaryFolder(), 'hub');
  process.env.HF_HUB_CACHE = cache;
  process.env.HF_TOKEN_PATH = path.join(cache, 'no-token');
});

afterEach(() => {
  for (const [name, value] of Object.entries(saved)) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
});

async function hubWith(options) {
  const hub = await startHub(MODEL, options);
  process.env.HF_ENDPOINT = hub.url;
  return hub;
}

const snapshot = () => path.join(cache, 'models--owner--tiny', 'snapshots', COMMIT);

test('load() fetches what is missing, reports it, and the model answers', async () => {
  const hub = await hubWith();
  const router = new LLMRouter();
  const reports = [];
  const model = await router.load({ source: ID, type: 'bitnet', quantType: 'i2_s', threads: 1, onProgress: (report) => reports.push(report) });
  const { tokens } = await router.generate('Hello', { modelId: model.id, maxTokens: 4 });
  assert.ok(tokens > 0);
  assert.equal(path.resolve(model.path), snapshot());
  assert.ok(!readdirSync(snapshot()).includes('goldens.json'), 'nothing that loading does not read');
  const downloads = reports.filter(({ phase }) => phase === 'download');
  const last = downloads.at(-1);
  assert.equal(last.loadedBytes, last.totalBytes);
  assert.equal(last.totalBytes, hub.sent);
  assert.deepEqual(downloads.find(({ file }) => file.name === 'model.safetensors').file.totalBytes, WEIGHTS);
  assert.equal(reports.at(-1).phase, 'ready');
  await router.cleanup();
});

test('what is in the cache is loaded without asking the hub', async () => {
  const hub = await hubWith();
  const loader = new BitNetLoader();
  await (await loader.load(ID)).unload();
  hub.requests.length = 0;
  process.env.HF_ENDPOINT = 'http://127.0.0.1:1';
  for (const options of [{}, { offline: true }, { revision: 'main' }, { revision: COMMIT }]) await (await loader.load(ID, options)).unload();
  assert.equal(hub.requests.length, 0);
});

test('offline fetches nothing: as an option of load, loader and router, and in the environment', async () => {
  const hub = await hubWith();
  const refused = { code: 'MODEL_NOT_FOUND', message: /Model not found: owner\/tiny.*downloads are off/s };
  await assert.rejects(new LLMRouter().load(ID, { offline: true }), refused);
  await assert.rejects(new LLMRouter({ offline: true }).load(ID), refused);
  await assert.rejects(new BitNetLoader({ offline: true }).load(ID), refused);
  await assert.rejects(new BitNetLoader({ offline: true }).downloadModel(ID), { code: 'DOWNLOAD_FAILED', message: /^Failed to download model: .*downloads are off/ });
  process.env.HF_HUB_OFFLINE = '1';
  await assert.rejects(new LLMRouter().load(ID), refused);
  assert.equal(hub.requests.length, 0);
  await (await new LLMRouter().load(ID, { offline: false })).unload();
  assert.ok(hub.requests.length > 0);
});

test('downloadModel() gives the path, takes a revision and a signal, and reports', async () => {
  const hub = await hubWith();
  const loader = new BitNetLoader();
  const reports = [];
  const place = await loader.downloadModel(ID, 'i2_s', { revision: 'v1', onProgress: (report) => reports.push(report) });
  assert.equal(place, snapshot());
  assert.ok(hub.requests.some(({ url }) => url.includes('/revision/v1?')));
  assert.ok(reports.length > 0);
  await (await loader.load(place)).unload();
  await assert.rejects(loader.downloadModel(ID, 'i2_s', { signal: AbortSignal.abort() }), AbortError);
  await assert.rejects(loader.downloadModel(ID, 'i2_s', { revison: 'v1' }), { code: 'INVALID_OPTION', message: /revision/ });
});

test('a revision of a path is refused', async () => {
  await assert.rejects(new LLMRouter().load(MODEL, { revision: 'main' }), { code: 'INVALID_ARGUMENT', message: /revision/ });
});

test('an aborted load stops fetching, keeps what has arrived, and goes on from there', async () => {
  const hub = await hubWith({ rate: 400_000 });
  const loader = new BitNetLoader();
  const stop = new AbortController();
  const reason = new Error('enough');
  const onProgress = ({ file }) => {
    if (file?.name === 'model.safetensors' && file.loadedBytes > 100_000) stop.abort(reason);
  };
  await assert.rejects(loader.load(ID, { signal: stop.signal, onProgress }), (error) => {
    assert.ok(error instanceof AbortError);
    assert.equal(error.cause, reason);
    return true;
  });
  await sleep(500);
  const sent = hub.sent;
  await sleep(300);
  assert.equal(hub.sent, sent, 'the connection is closed');
  assert.ok(!existsSync(snapshot()));
  hub.rate = undefined;
  hub.sent = 0;
  await (await loader.load(ID)).unload();
  assert.ok(hub.sent < WEIGHTS, `${hub.sent} of ${WEIGHTS} bytes were sent again`);
});

test('a callback that throws stops the load with its error', async () => {
  await hubWith();
  const error = new Error('mine');
  await assert.rejects(new BitNetLoader().load(ID, { onProgress: () => { throw error; } }), error);
});

test('the event loop runs on while files arrive', async () => {
  await hubWith({ rate: 1_000_000 });
  let longest = 0;
  let last = performance.now();
  const timer = setInterval(() => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  }, 5);
  await new BitNetLoader().downloadModel(ID);
  clearInterval(timer);
  assert.ok(longest < 1000, `${longest} ms`);
});

test('errors of the hub have their codes', async () => {
  const hub = await hubWith();
  const answer = (status, headers = {}) => (request, response) => {
    response.writeHead(status, headers).end();
    return true;
  };
  const cases = [
    [answer(401, { 'X-Error-Code': 'GatedRepo' }), 'MODEL_GATED', /owner\/tiny is gated: ask for access at .*\/owner\/tiny/, false],
    [answer(401, { 'X-Error-Code': 'RepoNotFound' }), 'MODEL_NOT_FOUND', /Model not found: owner\/tiny\. Looked in.*HF_TOKEN is not set/s, false],
    [answer(404, { 'X-Error-Code': 'RevisionNotFound' }), 'MODEL_NOT_FOUND', /no revision main/, false],
    [answer(401), 'UNAUTHORIZED', /HF_TOKEN is not set/, false],
    [answer(429, { 'Retry-After': '4000' }), 'RATE_LIMITED', /4000 s/, true],
    [answer(418), 'DOWNLOAD_FAILED', /418/, true],
  ];
  for (const [fault, code, message, retryable] of cases) {
    hub.fault = fault;
    await assert.rejects(new LLMRouter().load(ID), (error) => {
      assert.equal(error.code, code, error.message);
      assert.match(error.message, message);
      assert.match(error.message, /^Failed to load BitNet model: /);
      assert.equal(error.retryable, retryable);
      return true;
    });
  }
  hub.fault = undefined;
  hub.files = hub.files.delete('tokenizer.json');
  await assert.rejects(new LLMRouter().load(ID), { code: 'UNSUPPORTED_FORMAT', message: /no tokenizer\.json and no tokenizer\.model; it has: / });
});

test('the token comes from the environment or from a login, and only where it is wanted', async () => {
  const hub = await hubWith();
  const asked = async (environment) => {
    Object.assign(process.env, environment);
    await new BitNetLoader().downloadModel(ID);
    return hub.requests.at(-1).authorization;
  };
  assert.equal(await asked({}), undefined);
  const file = path.join(temporaryFolder(), 'token');
  writeFileSync(file, 'hf_login\n');
  assert.equal(await asked({ HF_TOKEN_PATH: file }), 'Bearer hf_login');
  assert.equal(await asked({ HF_TOKEN: 'hf_given' }), 'Bearer hf_given');
  process.env.HF_HUB_DISABLE_IMPLICIT_TOKEN = '1';
  assert.equal(await asked({}), undefined);
  delete process.env.HF_HUB_DISABLE_IMPLICIT_TOKEN;
  await assert.rejects(asked({ HF_TOKEN: 'not a token' }), { code: 'INVALID_ARGUMENT', message: /HF_TOKEN/ });
});

const CHILD = `
  const { default: LLMRouter } = await import(${JSON.stringify(INDEX)});
  const model = await new LLMRouter().load(${JSON.stringify(ID)}, { threads: 1 });
  console.log(model.path);
  process.exit();`;

test('after kill -9 in the middle the next process goes on from there', async () => {
  const hub = await hubWith({ rate: 300_000 });
  const child = spawn(process.execPath, ['--input-type=module', '--eval', CHILD], { stdio: 'ignore' });
  await until(() => hub.sent > 250_000);
  child.kill('SIGKILL');
  await once(child, 'exit');
  hub.rate = undefined;
  hub.sent = 0;
  const { code, stdout, stderr } = await runModule(CHILD);
  assert.equal(code, 0, stderr);
  assert.equal(stdout.trim(), snapshot());
  assert.ok(hub.sent < WEIGHTS, `${hub.sent} of ${WEIGHTS} bytes were sent again`);
});

test('two processes that load the same model at once fetch it once', async () => {
  const hub = await hubWith({ rate: 1_000_000 });
  const results = await Promise.all([runModule(CHILD), runModule(CHILD), runModule(CHILD)]);
  for (const { code, stdout, stderr } of results) {
    assert.equal(code, 0, stderr);
    assert.equal(stdout.trim(), snapshot());
  }
  const wanted = ['config.json', 'generation_config.json', 'model.safetensors', 'special_tokens_map.json', 'tokenizer.json', 'tokenizer_config.json'];
  assert.equal(hub.sent, wanted.reduce((sum, name) => sum + hub.files.get(name).length, 0));
});

test('HF_HOME has the cache, and certificates of a company are trusted', async () => {
  const pem = (name) => path.join(ROOT, 'testdata', 'tls', `${name}.pem`);
  const tls = { cert: readFileSync(pem('certificate')), key: readFileSync(pem('key')) };
  await hubWith({ tls });
  delete process.env.HF_HUB_CACHE;
  const home = temporaryFolder();
  const env = { HF_HOME: home, NO_PROXY: '127.0.0.1' };
  const { code, stdout, stderr } = await runModule(CHILD, { env: { ...env, NODE_EXTRA_CA_CERTS: pem('authority') } });
  assert.equal(code, 0, stderr);
  assert.ok(stdout.startsWith(path.join(home, 'hub', 'models--owner--tiny')), stdout);
  const distrustful = await runModule(CHILD, { env: { ...env, HF_HOME: temporaryFolder() } });
  assert.equal(distrustful.code, 1);
  assert.match(distrustful.stderr, /DOWNLOAD_FAILED/);
  assert.match(distrustful.stderr, /certificate/i);
});

test('a worker that is terminated stops its download', async () => {
  const hub = await hubWith({ rate: 100_000 });
  const worker = new Worker(`import(${JSON.stringify(INDEX)}).then(({ BitNetLoader }) => new BitNetLoader().load(${JSON.stringify(ID)}));`, { eval: true });
  await until(() => hub.sent > 60_000);
  await worker.terminate();
  await sleep(500);
  const { sent } = hub;
  await sleep(500);
  assert.equal(hub.sent, sent);
});
