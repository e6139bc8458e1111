// One test for each statement of the BitNet Integration Guide that calls something.
import assert from 'node:assert/strict';
import { chmodSync, cpSync, existsSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import LLMRouter, { LLMRouter as Named } from 'llm-runner-router';
import BitNetLoader from 'llm-runner-router/loaders/BitNetLoader';
import { collect, guideProject, ORACLE, ROOT, temporaryFolder } from './support/models.js';
import { runNode } from './support/run.js';

const OFFICIAL = 'microsoft/BitNet-b1.58-2B-4T';
const project = guideProject();
const basic = { source: OFFICIAL, type: 'bitnet', quantType: 'i2_s', threads: 4, contextSize: 2048 };

before(() => process.chdir(project));

test('G1: the default export is a class that needs no options', () => {
  assert.equal(LLMRouter, Named);
  assert.ok(new LLMRouter() instanceof LLMRouter);
});

test('G2: initialize() resolves to nothing, can be repeated, and registers the loaders', async () => {
  const router = new LLMRouter();
  const results = await Promise.all([router.initialize(), router.initialize()]);
  assert.deepEqual(results, [undefined, undefined]);
  assert.equal(router.initialized, true);
  for (const format of ['bitnet', 'gguf', 'mock']) assert.ok(router.registry.getLoader(format), format);
});

test('G3: load() of the spec resolves to a model with an id of its own', async () => {
  const router = new LLMRouter();
  await router.initialize();
  const [first, second] = [await router.load(basic), await router.load(basic)];
  assert.equal(typeof first.id, 'string');
  assert.notEqual(first.id, '');
  assert.notEqual(first.id, second.id);
  assert.equal(first.info().threads, 4);
  await router.cleanup();
});

test('G4: generate(prompt, { modelId, maxTokens, temperature }) gives the completion as text', async () => {
  const router = new LLMRouter();
  const model = await router.load(basic);
  const other = await router.load({ ...basic, source: '1bitLLM/bitnet_b1_58-3B', contextSize: 256 });
  for (const { id } of [model, other]) {
    const response = await router.generate('Explain quantum computing', { modelId: id, maxTokens: 20, temperature: 0.7 });
    assert.equal(typeof response.text, 'string');
    assert.equal(response.modelId, id);
    assert.ok(response.tokens >= 1 && response.tokens <= 20, String(response.tokens));
    assert.ok(!response.text.startsWith('Explain quantum computing'), 'the prompt is not part of the text');
  }
  await router.cleanup();
});

test('G5: stream() gives strings that join to the text of generate(), with and without await', async () => {
  const router = new LLMRouter();
  const { id: modelId } = await router.load(basic);
  const options = { modelId, maxTokens: 30, seed: 5 };
  const { text } = await router.generate('Write a poem about AI', options);
  const awaited = await router.stream('Write a poem about AI', options);
  assert.equal((await collect(awaited)).join(''), text);
  const pieces = await collect(router.stream('Write a poem about AI', options));
  assert.equal(pieces.join(''), text);
  assert.ok(pieces.every((piece) => typeof piece === 'string' && piece !== ''));
  await router.cleanup();
});

test('G6: a second model with all options lives beside the first', async () => {
  const router = new LLMRouter();
  const model = await router.load(basic);
  const bitnetModel = await router.load({
    source: '1bitLLM/bitnet_b1_58-3B',
    type: 'bitnet',
    quantType: 'i2_s',
    threads: 8,
    contextSize: 4096,
    temperature: 0.8,
    gpuLayers: 0,
    conversation: true,
  });
  assert.equal(bitnetModel.info().threads, 8);
  assert.equal(bitnetModel.info().gpuLayers, 0);
  assert.equal(bitnetModel.config.temperature, 0.8);
  assert.equal(bitnetModel.conversation, true);
  for (const { id } of [model, bitnetModel]) {
    const { modelId } = await router.generate('Hello', { modelId: id, maxTokens: 4 });
    assert.equal(modelId, id);
  }
  await router.cleanup();
});

test('G7: the loader has its subpath and takes bitnetPath and autoBuild', async () => {
  const loader = new BitNetLoader({ bitnetPath: './temp/bitnet-repo', autoBuild: true });
  assert.equal(loader.bitnetPath, './temp/bitnet-repo');
  assert.deepEqual(loader.config, { bitnetPath: './temp/bitnet-repo', autoBuild: true });
  assert.equal(await loader.checkBitNetInstallation(), true);
});

test('G8: loader.load() takes an id, a file and a folder', async () => {
  const loader = new BitNetLoader({ bitnetPath: './temp/bitnet-repo' });
  const file = path.join('temp', 'bitnet-repo', 'models', 'BitNet-b1.58-2B-4T', 'ggml-model-i2_s.gguf');
  const sources = [OFFICIAL, file, path.resolve(file), path.join(ORACLE, 'models', 'bitnet-2b4t'), `bitnet:${OFFICIAL}`];
  for (const source of sources) {
    const model = await loader.load(source, { quantType: 'i2_s', threads: 4, contextSize: 64 });
    assert.ok(model.info().path.length > 0, source);
    assert.equal(model.format, 'bitnet');
    await model.unload();
  }
});

test('G9: loader.generate() answers with the model loaded last', async () => {
  const loader = new BitNetLoader();
  await assert.rejects(loader.generate('Hello world'), { code: 'MODEL_NOT_LOADED', message: 'Model not loaded. Call load() first.' });
  await loader.load(OFFICIAL);
  const last = await loader.load('1bitLLM/bitnet_b1_58-large');
  const result = await loader.generate('Hello world', { maxTokens: 10, temperature: 0.7 });
  assert.equal(result.modelId, last.id);
  assert.equal(result.raw, result.text);
  assert.equal(result.config, last.config);
});

test('G10: loader.stream() streams like the router', async () => {
  const loader = new BitNetLoader();
  await loader.load(OFFICIAL);
  const options = { maxTokens: 20, temperature: 0 };
  const { text } = await loader.generate('Tell me a story', options);
  assert.equal((await collect(await loader.stream('Tell me a story', options))).join(''), text);
});

test('G11: listAvailableModels() gives the official and the community models', async () => {
  const models = await BitNetLoader.listAvailableModels();
  assert.deepEqual(models, {
    official: ['microsoft/BitNet-b1.58-2B-4T'],
    community: [
      '1bitLLM/bitnet_b1_58-large',
      '1bitLLM/bitnet_b1_58-3B',
      'HF1BitLLM/Llama3-8B-1.58-100B-tokens',
      'tiiuae/Falcon3-7B-Instruct-1.58bit',
      'tiiuae/Falcon3-10B-Instruct-1.58bit',
      'tiiuae/Falcon3-3B-Instruct-1.58bit',
      'tiiuae/Falcon3-1B-Instruct-1.58bit',
    ],
  });
  models.official.push('changed');
  assert.equal((await BitNetLoader.listAvailableModels()).official.length, 1);
});

test('G12: setup:bitnet makes the layout, proves that the engine works, and can be run again', async () => {
  for (let round = 0; round < 2; round++) {
    const setup = await runNode([path.join(ROOT, 'scripts', 'setup-bitnet.js')], { cwd: project, timeout: 600_000 });
    assert.equal(setup.code, 0, setup.stderr);
    assert.match(setup.stderr, /CMake, Python and Clang are not needed/);
    assert.match(setup.stderr, /BitNet setup complete/);
  }
  assert.ok(existsSync(path.join(ROOT, 'temp', 'bitnet-repo', 'models')));
  const check = await runNode([path.join(ROOT, 'scripts', 'test-bitnet.js')], { cwd: ROOT });
  assert.equal(check.code, 0, check.stderr);
  assert.match(check.stdout, /\d+ tokens, [\d.]+ tokens\/s\nBitNet works\./);
});

test('G12: test:bitnet fails when the model does not work', async () => {
  const broken = guideProject();
  const file = path.join(broken, 'temp', 'bitnet-repo', 'models', 'BitNet-b1.58-2B-4T', 'ggml-model-i2_s.gguf');
  cpSync(path.join(ORACLE, 'malformed', 'gguf', 'cut_empty.gguf'), file);
  for (const name of ['bitnet_b1_58-large', 'bitnet_b1_58-3B', 'Llama3-8B-1.58-100B-tokens']) {
    const place = path.join(path.dirname(path.dirname(file)), name, 'ggml-model-i2_s.gguf');
    chmodSync(place, 0o644);
    cpSync(file, place);
  }
  const check = await runNode([path.join(ROOT, 'scripts', 'test-bitnet.js')], { cwd: broken });
  assert.equal(check.code, 1);
  assert.match(check.stderr, /BitNet does not work/);
});

test('G13: models laid out by the upstream script are found by each of their ids', async () => {
  const loader = new BitNetLoader();
  const ids = [OFFICIAL, '1bitLLM/bitnet_b1_58-large', '1bitLLM/bitnet_b1_58-3B', 'HF1BitLLM/Llama3-8B-1.58-100B-tokens'];
  for (const id of ids) {
    const model = await loader.load(id, { quantType: 'i2_s' });
    const expected = path.join(project, 'temp', 'bitnet-repo', 'models', id.split('/')[1], 'ggml-model-i2_s.gguf');
    assert.equal(path.resolve(model.path), expected);
    assert.equal(path.resolve(await loader.downloadModel(id)), expected);
  }
});

test('convertModel() converts, and says what it failed at', async () => {
  const loader = new BitNetLoader();
  const output = path.join(temporaryFolder(), 'out.gguf');
  const folder = path.join(ORACLE, 'models', 'bitnet-2b4t');
  assert.equal(await loader.convertModel(folder, output, 'tq2_0'), output);
  assert.equal((await loader.load(output)).architecture, 'bitnet-b1.58');
  await assert.rejects(loader.convertModel(folder, output), { code: 'OUTPUT_EXISTS', message: /^Failed to convert model: .*is there already/ });
});

test('G14: models become the quant types of their processor, others are refused naming the supported ones, and files of all are read', async () => {
  const loader = new BitNetLoader();
  const [own, foreign] = process.arch === 'arm64' ? ['tl1', 'tl2'] : ['tl2', 'tl1'];
  for (const quantType of ['i2_s', own]) {
    const model = await loader.load(path.join(ORACLE, 'models', 'bitnet-2b4t'), { quantType, cacheDir: temporaryFolder() });
    assert.equal(model.quantType, quantType);
  }
  for (const quantType of [foreign, 'q4_0']) {
    await assert.rejects(loader.load(OFFICIAL, { quantType }), (error) => {
      assert.equal(error.code, 'UNSUPPORTED_QUANT');
      assert.match(error.message, new RegExp(`${quantType}.*i2_s, ${own}`));
      return true;
    });
  }
  // A file of the foreign type is there to be read.
  const file = path.join(temporaryFolder(), 'foreign.gguf');
  await loader.convertModel(path.join(ORACLE, 'models', 'bitnet-2b4t'), file, foreign);
  assert.equal((await loader.load(file, { quantType: foreign })).quantType, foreign);
});

test('G15: a missing model says where it was looked for, what is there and how to bring it', async () => {
  const router = new LLMRouter();
  await assert.rejects(router.load({ source: 'microsoft/BitNet-b1.58-2B-4TT', type: 'bitnet' }), (error) => {
    assert.equal(error.code, 'MODEL_NOT_FOUND');
    assert.match(error.message, /^Failed to load BitNet model: Model not found: microsoft\/BitNet-b1\.58-2B-4TT/);
    for (const part of [path.join('temp', 'bitnet-repo', 'models'), 'BitNet-b1.58-2B-4T,', 'download']) {
      assert.ok(error.message.includes(part), `${part} is missing in: ${error.message}`);
    }
    return true;
  });
});

test('G15: a failing inference says so and says why', async () => {
  const router = new LLMRouter();
  const model = await router.load({ ...basic, contextSize: 16 });
  await assert.rejects(model.generate('word '.repeat(100)), (error) => {
    assert.equal(error.code, 'CONTEXT_OVERFLOW');
    assert.match(error.message, /^Inference failed: .*\b16\b/);
    return true;
  });
  await router.cleanup();
});
