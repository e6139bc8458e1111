// The package as others meet it: its entries, in require(), in workers, several at a time, without its native half.
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import * as root from 'llm-runner-router';
import { loadDemo, ROOT, temporaryFolder } from './support/models.js';
import { runModule } from './support/run.js';

const manifest = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8'));
const require = createRequire(import.meta.url);

test('package.json says what the original said, and nothing runs at installation', () => {
  assert.equal(manifest.name, 'llm-runner-router');
  assert.match(manifest.version, /^2\.\d+\.\d+$/);
  assert.match(manifest.main, /index\.js$/);
  assert.equal(manifest.type, 'module');
  assert.equal(manifest.dependencies, undefined);
  for (const script of ['preinstall', 'install', 'postinstall', 'prepare']) assert.equal(manifest.scripts[script], undefined);
  const cargo = readFileSync(path.join(ROOT, 'Cargo.toml'), 'utf8');
  assert.equal(/\[workspace\.package\]\nversion = "([^"]+)"/.exec(cargo)[1], manifest.version);
});

test('types come first in every entry', () => {
  for (const [entry, target] of Object.entries(manifest.exports)) {
    if (typeof target === 'object') assert.deepEqual(Object.keys(target), ['types', 'default'], entry);
  }
});

test('every entry but that for browsers can be imported, and each loader under both spellings', async () => {
  for (const entry of Object.keys(manifest.exports).filter((name) => !['./package.json', './browser'].includes(name))) {
    const module = await import(path.posix.join('llm-runner-router', entry));
    assert.ok(Object.keys(module).length > 0, entry);
  }
  const { default: first } = await import('llm-runner-router/loaders/BitNetLoader');
  const { default: second } = await import('llm-runner-router/src/loaders/BitNetLoader.js');
  assert.equal(first, second);
  assert.equal(first, root.BitNetLoader);
});

test('require() gives the class, with the other exports on it', () => {
  const LLMRouter = require('llm-runner-router');
  assert.equal(LLMRouter, root.LLMRouter);
  for (const name of Object.keys(root).filter((key) => key !== 'module.exports')) assert.equal(LLMRouter[name], root[name], name);
});

test('the functions of the module share one router', async () => {
  const model = await root.load('demo', { temperature: 0 });
  const { text } = await root.generate('What is BitNet?', { modelId: model.id });
  assert.equal((await root.quick('What is BitNet?')).text, text);
  let streamed = '';
  for await (const piece of root.stream('What is BitNet?')) streamed += piece;
  assert.equal(streamed, text);
  await model.unload();
});

test('two routers work at once and do not see each other', async () => {
  const [a, b] = await Promise.all([loadDemo({ id: 'm' }), loadDemo({ id: 'm' })]);
  const options = { modelId: 'm', temperature: 0 };
  const [first, second] = await Promise.all([a.router.generate('Hello!', options), b.router.generate('Hello!', options)]);
  assert.equal(first.text, second.text);
  await a.router.cleanup();
  assert.equal((await b.router.generate('Hello!', options)).text, second.text);
  await assert.rejects(a.router.generate('Hello!', options), { code: 'MODEL_NOT_FOUND' });
});

test('a router can be used again after cleanup()', async () => {
  const { router } = await loadDemo();
  await router.cleanup();
  assert.equal(router.initialized, false);
  const { id } = await router.load('demo');
  assert.ok((await router.generate('Hello!', { modelId: id })).tokens > 0);
});

test('it works in worker threads, several at once, and one may be terminated in the middle', { timeout: 60_000 }, async () => {
  const source = `
    const { parentPort, workerData } = require('node:worker_threads');
    import(workerData).then(async ({ LLMRouter }) => {
      const model = await new LLMRouter().load('demo');
      const { text } = await model.generate('What is BitNet?', { temperature: 0 });
      parentPort.postMessage(text);
      await model.generate('Hello', { maxTokens: 1e6, ignoreEos: true, contextOverflow: 'shift' });
    });`;
  const run = async () => {
    const worker = new Worker(source, { eval: true, workerData: path.join(ROOT, 'index.js') });
    const text = await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
    await worker.terminate();
    return text;
  };
  const texts = await Promise.all([run(), run(), run()]);
  assert.match(texts[0], /^BitNet is/);
  assert.equal(new Set(texts).size, 1);
  const { model } = await loadDemo();
  assert.equal((await model.generate('What is BitNet?', { temperature: 0 })).text, texts[0]);
});

test('without the native half importing works, and loading says what to do', async () => {
  const copy = path.join(temporaryFolder(), 'llm-runner-router');
  mkdirSync(copy);
  for (const name of ['package.json', 'index.js', 'lib', 'loaders']) cpSync(path.join(ROOT, name), path.join(copy, name), { recursive: true });
  const source = `
    import LLMRouter from ${JSON.stringify(path.join(copy, 'index.js'))};
    const router = new LLMRouter();
    const mock = await router.load('mock://x');
    console.log((await mock.generate('x')).tokens > 0);
    for (const options of [{}, { autoBuild: false }, { autoBuild: true }]) {
      await router.load('demo', options).catch(({ code, message }) => console.log(code, message));
    }
    console.log(await router.loaders.get('bitnet').checkBitNetInstallation());`;
  const { stdout, stderr } = await runModule(source);
  const lines = stdout.trim().split('\n');
  assert.equal(lines[0], 'true', stderr);
  assert.match(lines[1], /^NATIVE_BINDING_MISSING .*npm install --no-save/);
  assert.match(lines[2], /^NATIVE_BINDING_MISSING .*BitNet\.cpp not installed\. Run build first or set autoBuild: true/);
  assert.match(lines[3], /^NATIVE_BINDING_MISSING /);
  assert.equal(lines[4], 'false');
});

test('every code that an error can have is in docs/errors.md', () => {
  const documented = new Set([...readFileSync(path.join(ROOT, 'docs', 'errors.md'), 'utf8').matchAll(/^\| `([A-Z_]+)`/gm)].map(([, code]) => code));
  const scripts = (folder) => readdirSync(path.join(ROOT, folder), { recursive: true }).filter((name) => name.endsWith('.js')).map((name) => path.join(folder, name));
  const sources = ['src/error.rs', 'crates/engine/src/codes.rs', 'index.js', ...scripts('lib'), ...scripts('loaders')];
  const used = new Set();
  for (const file of sources) {
    for (const [, code] of readFileSync(path.join(ROOT, file), 'utf8').matchAll(/["'\[]([A-Z]+_[A-Z_]+|ABORTED|INTERNAL|TIMEOUT|UNAUTHORIZED)["'\]]/g)) used.add(code);
  }
  used.delete('MODULE_NOT_FOUND'); // of Node, read and not thrown
  // Variables of the environment, and codes of Node that the command line tells apart.
  const others = /^(LLM|HF|HUGGING_FACE|HUGGINGFACE|TRANSFORMERS|XDG|NODE|OPENAI|SSL|REQUESTS|NO|FORCE|ERR_PARSE_ARGS)(_|$)/;
  const unknown = [...used].filter((code) => !documented.has(code) && !others.test(code));
  assert.deepEqual(unknown, []);
  assert.deepEqual([...documented].filter((code) => !used.has(code)), []);
});
