// The table of options: each one acts, or is refused.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { BitNetLoader, LLMRouter } from 'llm-runner-router';
import { startEnergyMeter } from '../lib/energy.js';
import { allowed, OPTIONS } from '../lib/options.js';
import { makeModel } from '../scripts/bench/synthetic.js';
import { loadDemo, ORACLE, ROOT, sleep, temporaryFolder } from './support/models.js';
import { runModule } from './support/run.js';

const PROMPT = 'Tell me something';
/** A call whose text depends on every sampling option. */
const SAMPLED = { temperature: 1, topK: 0, topP: 1, seed: 7, maxTokens: 40, ignoreEos: true };

/** For each option of a call: a value, and what it changes. Options that change the text are compared with SAMPLED. */
const CHANGES_TEXT = {
  temperature: 0.2,
  topK: 2,
  topP: 0.3,
  minP: 0.5,
  repetitionPenalty: 3,
  frequencyPenalty: 2,
  presencePenalty: 2,
  seed: 8,
  raw: true,
  messages: [{ role: 'user', content: 'Hello!' }],
  systemPrompt: 'You are a helpful assistant.',
  template: 'Why: {prompt}',
};

/** Options of a call whose effect is tested elsewhere, by the name of the test. */
const TESTED_ELSEWHERE = {
  responseFormat: 'answers at temperature 1 are what the schema says, or were cut off and say so',
  tools: 'tools reach the model, in its own template or as a system message',
  toolChoice: 'a call that is forced has a name and arguments by its schema',
  logprobs: 'logprobs are those of the softmax of forward(), whatever temperature and penalties',
  topLogprobs: 'logprobs are those of the softmax of forward(), whatever temperature and penalties',
  logitBias: 'logitBias rules tokens out and forces them',
  n: 'n gives several answers, each with its own seed, and streams the first',
  echo: 'echo says the prompt first, in text and in the stream',
  maxTokens: 'maxTokens ends an answer with finishReason length',
  stop: 'stop strings end an answer before them, also across token borders',
  signal: 'aborting stops the engine, and the error holds the text so far',
  onToken: 'aborting stops the engine, and the error holds the text so far',
  energy: 'energy adds the joules of the call to its usage, and null where the machine cannot tell',
  ignoreEos: 'ignoreEos goes on after the end of the answer',
  contextOverflow: 'contextOverflow decides what happens to a prompt that does not fit',
  modelId: 'C4: every call shape reaches the model',
  strategy: 'a call may name its strategy, or bring one of its own',
  fallbacks: 'a model that fails before its first text is followed by its fallbacks, for streams and whole answers alike',
  requirements: 'requirements leave out models that do not meet them, and say why when none is left',
  retries: 'what may be tried again is, with longer and longer pauses',
  timeout: 'a call that is not done in time fails with what there was of it',
  priority: 'calls beyond maxConcurrent wait, the important ones first, and beyond maxQueue they are refused',
  speculation: 'speculation drafts tokens of a text that repeats itself, unless a call or the load turns it off',
  cache: 'C14: only greedy and seeded answers are cached unless the call asks for it; hits are copies',
};

const places = (place) => OPTIONS.filter((row) => row.in.includes(place));

test('every option of a call has an effect that a test sees', () => {
  const tested = new Set([...Object.keys(CHANGES_TEXT), ...Object.keys(TESTED_ELSEWHERE)]);
  for (const row of [...places('generate'), ...places('route')]) assert.ok(tested.has(row.name), row.name);
});

test('names and aliases are given once', () => {
  for (const place of ['router', 'loader', 'load', 'generate', 'embed', 'route']) {
    const names = places(place).flatMap((row) => [row.name, ...(row.aliases ?? [])]);
    assert.equal(new Set(names).size, names.length, place);
  }
});

test('each sampling and prompt option changes the text of a call', async () => {
  const { model } = await loadDemo();
  const plain = await model.generate(PROMPT, SAMPLED);
  assert.equal((await model.generate(PROMPT, SAMPLED)).text, plain.text);
  for (const [name, value] of Object.entries(CHANGES_TEXT)) {
    const { text } = await model.generate(PROMPT, { ...SAMPLED, [name]: value });
    assert.notEqual(text, plain.text, name);
  }
});

test('sampling options of load() are the defaults of the model, and a call wins over them', async () => {
  const { model: plain } = await loadDemo();
  const greedy = await plain.generate(PROMPT, { ...SAMPLED, temperature: 0 });
  for (const name of ['temperature', 'topK', 'topP', 'minP', 'repetitionPenalty', 'frequencyPenalty', 'presencePenalty', 'seed']) {
    const { [name]: _, ...others } = SAMPLED;
    const { model } = await loadDemo({ [name]: CHANGES_TEXT[name] });
    const expected = await plain.generate(PROMPT, { ...others, [name]: CHANGES_TEXT[name] });
    assert.equal((await model.generate(PROMPT, others)).text, expected.text, name);
  }
  const { model } = await loadDemo({ temperature: 1 });
  assert.equal((await model.generate(PROMPT, { ...SAMPLED, temperature: 0 })).text, greedy.text);
});

test('energy adds the joules of the call to its usage, and null where the machine cannot tell', async () => {
  const { model } = await loadDemo();
  const { usage } = await model.generate(PROMPT, { ...SAMPLED, energy: true });
  const machineTells = startEnergyMeter()() !== null;
  if (machineTells) assert.ok(usage.joules > 0, String(usage.joules));
  else assert.equal(usage.joules, null);
  assert.ok(!('joules' in (await model.generate(PROMPT, SAMPLED)).usage));
  const router = new LLMRouter({ cache: true });
  after(() => router.cleanup());
  const { id: modelId } = await router.load('demo', { threads: 1 });
  const call = { ...SAMPLED, modelId };
  const hits = [];
  for (const energy of [false, false, true]) hits.push((await router.generate(PROMPT, { ...call, energy })).cached);
  assert.deepEqual(hits, [false, true, false]);
});

test('the energy meter adds packages and memory, bears a counter that starts anew, and says null when it cannot read', async () => {
  const folder = await temporaryFolder();
  const zone = (name, files) => {
    mkdirSync(path.join(folder, name), { recursive: true });
    for (const [file, content] of Object.entries(files)) writeFileSync(path.join(folder, name, file), `${content}\n`);
  };
  const range = { max_energy_range_uj: 1_000_000_000 };
  zone('intel-rapl', { enabled: 1 });
  zone('intel-rapl:0', { name: 'package-0', energy_uj: 5_000_000, ...range });
  zone('intel-rapl:0:0', { name: 'core', energy_uj: 1_000_000, ...range });
  zone('intel-rapl:0:1', { name: 'dram', energy_uj: 999_000_000, ...range });
  const joules = startEnergyMeter(folder);
  zone('intel-rapl:0', { energy_uj: 7_500_000 });
  zone('intel-rapl:0:0', { energy_uj: 900_000_000 });
  zone('intel-rapl:0:1', { energy_uj: 500_000 });
  assert.equal(joules(), 2.5 + 1.5);
  rmSync(path.join(folder, 'intel-rapl:0', 'energy_uj'));
  assert.equal(joules(), null);
  assert.equal(startEnergyMeter(path.join(folder, 'nowhere'))(), null);
});

test('ignoreEos goes on after the end of the answer', async () => {
  const { model } = await loadDemo();
  const short = await model.generate('Hello!', { temperature: 0 });
  const long = await model.generate('Hello!', { temperature: 0, ignoreEos: true, maxTokens: short.tokens + 5 });
  assert.equal(long.finishReason, 'length');
  assert.equal(long.tokens, short.tokens + 5);
});

test('contextOverflow decides what happens to a prompt that does not fit', async () => {
  const { model } = await loadDemo({ contextSize: 32 });
  const prompt = 'word '.repeat(100);
  await assert.rejects(model.generate(prompt), { code: 'CONTEXT_OVERFLOW' });
  await assert.rejects(model.generate(prompt, { contextOverflow: 'error' }), /\b32\b/);
  const options = { maxTokens: 60, ignoreEos: true };
  const truncated = await model.generate(prompt, { ...options, contextOverflow: 'truncate' });
  assert.ok(truncated.usage.totalTokens <= 33, JSON.stringify(truncated.usage));
  const shifted = await model.generate(prompt, { ...options, contextOverflow: 'shift' });
  assert.equal(shifted.tokens, 60);
});

test('speculation drafts tokens of a text that repeats itself, unless a call or the load turns it off', async () => {
  // Any continuation of this drifts into repeating itself; where a token is as good as free, drafting it pays.
  const prompt = 'ternary weights '.repeat(40);
  const options = { ...SAMPLED, temperature: 0, raw: true, maxTokens: 120 };
  const drafted = async (load, call) => {
    const { model } = await loadDemo(load);
    const { usage, text } = await model.generate(prompt, { ...options, ...call });
    assert.ok(usage.acceptedTokens <= usage.draftedTokens);
    return [usage.draftedTokens > 0, text];
  };
  const [on, text] = await drafted({}, {});
  assert.equal(on, true);
  for (const [load, call, expected] of [['auto', 'off', false], ['off', undefined, false], ['off', 'auto', true]]) {
    assert.deepEqual(await drafted({ speculation: load }, { speculation: call }), [expected, text]);
  }
});

test('options of load() are seen in the model', async () => {
  const seen = [];
  const { model } = await loadDemo({
    id: 'my-model', name: 'My model', threads: 2, contextSize: 100, isa: 'scalar', quantType: 'i2_s', conversation: true,
    onProgress: (progress) => seen.push(progress),
  });
  const info = model.info();
  assert.deepEqual([model.id, model.name, info.threads, info.contextSize, info.isa], ['my-model', 'My model', 2, 100, 'scalar']);
  assert.equal(model.quantType, 'i2_s');
  assert.equal(model.conversation, true);
  await sleep(20);
  assert.ok(seen.some(({ phase }) => phase === 'weights') && seen.at(-1).phase === 'ready', JSON.stringify(seen));
  assert.ok(seen.every(({ loadedBytes, totalBytes }) => loadedBytes <= totalBytes));
});

test('two different sources in one load are refused', async () => {
  const { router } = await loadDemo();
  await assert.rejects(router.load('demo', { source: 'elsewhere' }), { code: 'INVALID_ARGUMENT', message: /two sources/ });
});

test('head chooses between a searched head and the full one, which give the same text', async () => {
  const source = path.join(temporaryFolder(), 'large-vocabulary');
  makeModel('tiny', source);
  const { router } = await loadDemo();
  const loaded = {};
  for (const head of [undefined, 'auto', 'full']) {
    const model = await router.load(source, { threads: 1, head });
    const { tokenIds } = await model.generate('Hello', { raw: true, temperature: 0, maxTokens: 20, ignoreEos: true });
    loaded[head] = { ...model.info(), tokenIds };
  }
  const { auto, full } = loaded;
  assert.deepEqual([loaded[undefined].head, auto.head, full.head], ['searched', 'searched', 'full']);
  assert.deepEqual(auto.tokenIds, full.tokenIds);
  assert.ok(auto.weightBytesPerToken < full.weightBytesPerToken);
  assert.ok(auto.memory.weightsBytes > full.memory.weightsBytes + auto.vocabSize * auto.embeddingSize);
});

test('an error thrown by onProgress fails the load', async () => {
  const failure = new Error('of the caller');
  const onProgress = () => {
    throw failure;
  };
  await assert.rejects(new BitNetLoader().load('demo', { onProgress }), (error) => error === failure);
});

test('LLM_RUNNER_ISA chooses the kernel, the option wins over it, and what is not there is refused', async () => {
  const source = `
    const { BitNetLoader } = await import(${JSON.stringify(path.join(ROOT, 'index.js'))});
    const isa = process.env.OPTION || undefined;
    const model = await new BitNetLoader().load('demo', { isa }).catch((error) => ({ info: () => ({ isa: error.code }) }));
    console.log(model.info().isa);`;
  const run = async (environment, option = '') => (await runModule(source, { env: { LLM_RUNNER_ISA: environment, OPTION: option } })).stdout.trim();
  assert.equal(await run('scalar'), 'scalar');
  const foreign = process.arch === 'arm64' ? 'avx2' : 'neon';
  assert.equal(await run(foreign, 'scalar'), 'scalar');
  assert.equal(await run(foreign), 'ISA_UNAVAILABLE');
  assert.equal(await run('sse9'), 'INVALID_ARGUMENT');
});

test('every kernel of this machine is chosen by isa and gives the same text', async () => {
  const texts = new Set();
  for (const isa of ['scalar', 'avx2', 'avxvnni', 'avx512vnni', 'avx512vbmi', 'neon', 'neondotprod', 'neoni8mm', 'simd128', 'relaxedsimd']) {
    try {
      const { model } = await loadDemo({ isa });
      assert.equal(model.info().isa, isa);
      texts.add((await model.generate(PROMPT, SAMPLED)).text);
    } catch (error) {
      assert.equal(error.code, 'ISA_UNAVAILABLE');
      assert.match(error.message, /available: .*scalar/);
    }
  }
  assert.equal(texts.size, 1);
});

test('gpuLayers above 0 warns once, with a code, and runs on the CPU', async () => {
  const source = `
    const { BitNetLoader } = await import(${JSON.stringify(path.join(ROOT, 'index.js'))});
    const codes = [];
    process.on('warning', (warning) => codes.push(warning.code));
    const loader = new BitNetLoader();
    for (const gpuLayers of [0, 8, 99]) console.log((await loader.load('demo', { gpuLayers })).info().gpuLayers);
    setImmediate(() => console.log(codes.join()));`;
  const { stdout } = await runModule(source);
  assert.equal(stdout, '0\n0\n0\nLLM_ROUTER_NO_GPU\n');
});

test('a contextSize above the limit of the model warns and uses that limit', async () => {
  const source = `
    const { BitNetLoader } = await import(${JSON.stringify(path.join(ROOT, 'index.js'))});
    process.on('warning', (warning) => console.log(warning.code));
    const { contextSize, contextLength } = (await new BitNetLoader().load('demo', { contextSize: 4096 })).info();
    console.log(contextSize, contextLength);`;
  const { stdout, stderr } = await runModule(source);
  assert.deepEqual(stdout.trim().split('\n').sort(), ['512 512', 'LLM_ROUTER_CONTEXT_SIZE'], stderr);
});

test('wrong values are refused with the name, what was given and what is allowed', async () => {
  const { router, model } = await loadDemo();
  const cases = [
    { maxTokens: -1 }, { maxTokens: 0 }, { maxTokens: 1.5 }, { maxTokens: '10' }, { temperature: 'hot' }, { temperature: -1 }, { temperature: NaN },
    { topP: 7 }, { topP: 0 }, { topK: -1 }, { minP: 2 }, { seed: -1 }, { seed: 2 ** 53 }, { repetitionPenalty: 0 }, { repeatPenalty: 'x' },
    { stop: [1] }, { stop: '' }, { raw: 'yes' }, { messages: 'x' }, { signal: {} }, { onToken: 1 }, { contextOverflow: 'drop' }, { ignoreEos: 1 }, { speculation: 'on' },
    { systemPrompt: 1 }, { template: {} }, { seed: 1n },
  ];
  for (const options of cases) {
    const [[name, value]] = Object.entries(options);
    const row = OPTIONS.find((candidate) => candidate.name === name || candidate.aliases?.includes(name));
    const check = (error) => {
      assert.equal(error.code, 'INVALID_ARGUMENT', name);
      assert.ok(error.message.includes(name) && error.message.includes(allowed(row)), error.message);
      assert.equal(error.details.option, name);
      assert.ok(Object.is(error.details.given, value));
      return true;
    };
    await assert.rejects(model.generate(PROMPT, options), check);
    await assert.rejects(router.generate(PROMPT, options), check);
    assert.throws(() => router.stream(PROMPT, options), check);
  }
});

test('wrong values of load() and of constructors are refused likewise', async () => {
  const cases = [{ threads: 0 }, { threads: 2.5 }, { threads: '4' }, { contextSize: 0 }, { gpuLayers: -1 }, { conversation: 1 }, { isa: 'mmx' }, { head: 'half' },
    { temperature: 'hot' }, { source: '' }, { source: 7 }, { id: '' }, { onProgress: true }, { type: 5 }];
  for (const options of cases) {
    const [[name]] = Object.entries(options);
    const check = (error) => error.code === 'INVALID_ARGUMENT' && error.message.includes(name);
    await assert.rejects(new LLMRouter().load({ source: 'demo', ...options }), check, name);
    await assert.rejects(new BitNetLoader().load({ source: 'demo', ...options }), check, name);
  }
  for (const source of [undefined, null, 3, []]) await assert.rejects(new LLMRouter().load(source), { code: 'INVALID_ARGUMENT' });
  await assert.rejects(new LLMRouter().load({}), { code: 'INVALID_ARGUMENT', message: /source/ });
  assert.throws(() => new LLMRouter({ maxModels: 0 }), { code: 'INVALID_ARGUMENT' });
  assert.throws(() => new LLMRouter('balanced'), { code: 'INVALID_ARGUMENT' });
  assert.throws(() => new BitNetLoader({ bitnetPath: 5 }), { code: 'INVALID_ARGUMENT' });
});

test('unknown options are refused with the nearest name, or the call that has it', async () => {
  const { router, model } = await loadDemo();
  const cases = [
    [() => router.generate(PROMPT, { maxToken: 5 }), /"maxToken".*did you mean "maxTokens"/],
    [() => router.generate(PROMPT, { maxtokens: 5 }), /did you mean "maxTokens"/],
    [() => router.generate(PROMPT, { modelID: model.id }), /did you mean "modelId"/],
    [() => model.generate(PROMPT, { temprature: 1 }), /did you mean "temperature"/],
    [() => model.generate(PROMPT, { threads: 4 }), /"threads".*is an option of load\(\)/],
    [() => model.generate(PROMPT, { modelId: model.id }), /is an option of generate\(\) and stream\(\) of a router/],
    [() => router.load({ source: 'demo', contextsize: 4 }), /did you mean "contextSize"/],
    [() => router.load('demo', { maxTokens: 4 }), /"maxTokens".*is an option of generate/],
    [async () => new LLMRouter({ stratgy: 'balanced' }), /did you mean "strategy"/],
    [async () => new BitNetLoader({ path: 'x' }), /Known options: bitnetPath, autoBuild/],
  ];
  for (const [call, message] of cases) await assert.rejects(call, (error) => error.code === 'INVALID_OPTION' && message.test(error.message));
});

test('options that only old callers know warn once and do nothing', async () => {
  const source = `
    const { LLMRouter } = await import(${JSON.stringify(path.join(ROOT, 'index.js'))});
    process.on('warning', (warning) => console.log(warning.code));
    for (let i = 0; i < 2; i++) new LLMRouter({ logLevel: 'info', database: {} });`;
  const { stdout } = await runModule(source, { cwd: temporaryFolder() });
  assert.deepEqual(stdout.trim().split('\n').sort(), ['LLM_ROUTER_UNUSED_DATABASE', 'LLM_ROUTER_UNUSED_LOGLEVEL']);
});

test('a type names the loader, and what the file is comes from the file', async () => {
  const router = new LLMRouter();
  const folder = path.join(ORACLE, 'models', 'bitnet-2b4t');
  const file = path.join(ORACLE, 'gguf', 'llama-fp16.Q8_0.gguf');
  for (const spec of [{ source: folder }, { source: folder, type: 'gguf' }, { source: folder, format: 'auto' }, { source: file, type: 'bitnet' }]) {
    assert.ok((await router.load(spec)).info().parameters > 0);
  }
  assert.equal((await router.load(file)).quantization === '1.58-bit', false);
  for (const [source, format] of [['model.onnx', 'onnx'], ['model.pt', 'pytorch']]) {
    await assert.rejects(router.load(source), { code: 'UNSUPPORTED_FORMAT', message: new RegExp(`No loader available for format: ${format}`) });
  }
  await assert.rejects(router.load({ source: 'x', type: 'tensorflow' }), { code: 'UNSUPPORTED_FORMAT' });
  await router.cleanup();
});

test('the names of neighbouring libraries mean the same, and ours win over them', async () => {
  const { router, model } = await loadDemo({ threads: undefined, num_thread: 2, num_ctx: 64 });
  assert.deepEqual([model.info().threads, model.info().contextSize], [2, 64]);
  const sampled = { temperature: 1, seed: 7, ignoreEos: true };
  const same = [
    [{ maxTokens: 5 }, { max_tokens: 5 }], [{ maxTokens: 5 }, { maxOutputTokens: 5 }], [{ maxTokens: 5 }, { num_predict: 5 }],
    [{ maxTokens: 5 }, { max_completion_tokens: 5 }], [{ maxTokens: 5 }, { max_tokens: 9, maxTokens: 5 }], [{ topK: 2 }, { top_k: 2 }],
    [{ topP: 0.3 }, { top_p: 0.3 }], [{ topK: 0, minP: 0.5 }, { topK: 0, min_p: 0.5 }], [{ repetitionPenalty: 3 }, { repeat_penalty: 3 }],
    [{ frequencyPenalty: 2 }, { frequency_penalty: 2 }], [{ presencePenalty: 2 }, { presence_penalty: 2 }],
    [{ systemPrompt: 'You are a helpful assistant.' }, { system: 'You are a helpful assistant.' }], [{ stop: ['e'] }, { customStopTriggers: ['e'] }],
  ];
  for (const [ours, theirs] of same) {
    const limit = 'maxTokens' in ours ? {} : { maxTokens: 20 };
    const [a, b] = [await router.generate(PROMPT, { ...sampled, ...limit, ...ours }), await router.generate(PROMPT, { ...sampled, ...limit, ...theirs })];
    assert.equal(b.text, a.text, JSON.stringify(theirs));
  }
  const pieces = [];
  await router.generate(PROMPT, { maxTokens: 3, onTextChunk: (text) => pieces.push(text) });
  assert.ok(pieces.length > 0);
});

test('every name and alias of the table is in the types', () => {
  const files = ['index.d.ts', ...readdirSync(path.join(ROOT, 'lib', 'types')).map((name) => path.join('lib', 'types', name))];
  const types = files.map((name) => readFileSync(path.join(ROOT, name), 'utf8')).join('\n');
  for (const { name, aliases = [], retired } of OPTIONS) {
    if (!retired) for (const key of [name, ...aliases]) assert.match(types, new RegExp(`^\\s+${key}\\??:`, 'm'), key);
  }
});
