// What lies on a server is looked into without fetching its weights.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { convert, inspect } from 'llm-runner-router';
import { ggufHeaderEnd } from '../lib/remote-header.js';
import { ORACLE, ROOT, temporaryFolder } from './support/models.js';
import { runNode } from './support/run.js';

let base;
let sent = 0;
let knowsRanges = true;
const extra = {};

/** Serves the files of the oracle, or others by name, by ranges. */
const server = createServer((request, response) => {
  const { pathname } = new URL(request.url, 'http://x');
  const file = extra[pathname] ?? path.join(ORACLE, pathname.replace('/resolve/main/', '/'));
  if (!existsSync(file) || statSync(file).isDirectory()) return void response.writeHead(404).end();
  const content = readFileSync(file);
  const range = knowsRanges && /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
  if (!range) {
    sent += content.length;
    return void response.writeHead(200, { 'content-length': content.length }).end(content);
  }
  const part = content.subarray(Number(range[1]), Number(range[2]) + 1);
  sent += part.length;
  response.writeHead(206, { 'content-range': `bytes ${range[1]}-${Number(range[1]) + part.length - 1}/${content.length}` }).end(part);
});

before(async () => {
  process.env.HF_HUB_OFFLINE = '0';
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${server.address().port}`;
});
after(() => server.close());

test('a GGUF file on a server tells the same as here, and its weights stay there', async () => {
  const place = path.join(temporaryFolder(), 'big.gguf');
  await convert(path.join(ORACLE, 'models', 'bitnet-2b4t'), place, { embeddingType: 'f32' });
  extra['/big.gguf'] = place;
  sent = 0;
  const remote = await inspect(`${base}/big.gguf`, { contextSize: 7 });
  const local = await inspect(place, { contextSize: 7 });
  assert.deepEqual({ ...remote, path: '' }, { ...local, path: '' });
  assert.equal(remote.path, `${base}/big.gguf`);
  assert.ok(sent < statSync(place).size / 2, `${sent} of ${statSync(place).size} bytes`);
});

test('folders on a server are looked into, sharded ones too', async () => {
  for (const name of ['bitnet-2b4t', 'llama-bf16-sharded']) {
    const remote = await inspect(`${base}/models/${name}`);
    const local = await inspect(path.join(ORACLE, 'models', name));
    assert.deepEqual({ ...remote, path: '' }, { ...local, path: '' }, name);
  }
});

test('an id that is not on this machine is looked up on the hub, and one that is nowhere is told', async () => {
  const before = process.env.HF_ENDPOINT;
  process.env.HF_ENDPOINT = base;
  try {
    const remote = await inspect('models/bitnet-2b4t');
    const local = await inspect(path.join(ORACLE, 'models', 'bitnet-2b4t'));
    assert.deepEqual({ ...remote, path: '' }, { ...local, path: '' });
    assert.equal(remote.path, 'models/bitnet-2b4t');
    await assert.rejects(inspect('models/none'), { code: 'MODEL_NOT_FOUND', message: /^`models\/none` is neither a file or folder nor a model on this machine, and as an id: .*config\.json is missing/ });
  } finally {
    if (before === undefined) delete process.env.HF_ENDPOINT;
    else process.env.HF_ENDPOINT = before;
  }
});

test('the end of a header is found wherever the bytes end before it', () => {
  const bytes = readFileSync(path.join(ORACLE, 'gguf', 'bitnet-2b4t.I2_S.gguf'));
  const end = ggufHeaderEnd(bytes);
  assert.ok(end > 1000 && end < bytes.length);
  for (const length of [0, 7, 24, 100, end - 1]) assert.equal(ggufHeaderEnd(bytes.subarray(0, length)), undefined, `${length}`);
  assert.equal(ggufHeaderEnd(bytes.subarray(0, end)), end);
});

test('what is not there, is no model or cannot be sent in parts is told', async () => {
  await assert.rejects(inspect(`${base}/none.gguf`), { code: 'MODEL_NOT_FOUND' });
  await assert.rejects(inspect(`${base}/models/none`), { code: 'MODEL_NOT_FOUND' });
  await assert.rejects(inspect(`${base}/malformed/manifest.json`), { code: 'MODEL_NOT_FOUND' });
  extra['/text.gguf'] = path.join(ROOT, 'package.json');
  await assert.rejects(inspect(`${base}/text.gguf`), { code: 'INVALID_MODEL' });
  await assert.rejects(inspect('http://127.0.0.1:1/model.gguf'), { code: 'DOWNLOAD_FAILED' });
  await assert.rejects(inspect(`${base}/gguf/bitnet-2b4t.I2_S.gguf`, { signal: AbortSignal.abort() }), { code: 'ABORTED' });
  knowsRanges = false;
  await assert.rejects(inspect(`${base}/gguf/bitnet-2b4t.I2_S.gguf`), { code: 'DOWNLOAD_FAILED', message: /whole files only/ });
  knowsRanges = true;
  process.env.HF_HUB_OFFLINE = '1';
  await assert.rejects(inspect(`${base}/gguf/bitnet-2b4t.I2_S.gguf`), { code: 'DOWNLOAD_FAILED', message: /HF_HUB_OFFLINE/ });
  process.env.HF_HUB_OFFLINE = '0';
});

test('llm-router inspect takes an address', async () => {
  const { code, stdout, stderr } = await runNode([path.join(ROOT, 'bin', 'llm-router.js'), 'inspect', `${base}/gguf/bitnet-2b4t.I2_S.gguf`, '--json'], { cwd: ROOT });
  assert.equal(code, 0, stderr);
  assert.equal(JSON.parse(stdout).architecture, 'bitnet-b1.58');
});
