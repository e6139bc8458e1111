// llm-router setup, which is npm run setup:bitnet: a model comes in, is checked, and answers a prompt.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline/promises';
import { DEFAULT_MODEL, KNOWN_MODELS } from '../known-models.js';
import { isaFromEnvironment, PACKAGE_ROOT } from '../paths.js';
import { isNativeAvailable, native } from '../native.js';
import { fastestKernel, keepTuned, LEAST_PARAMETERS } from '../tuned.js';
import { withInterrupt } from './interrupt.js';
import { loadModel } from './model-options.js';
import { pull } from './pull.js';
import { statistics } from './run.js';

export const usage = '';
export const about = `Fetches a model, checks it, measures which kernel is the fastest here, lets the model answer a prompt and writes a small script that does so. CMake, Python and Clang are not needed: the engine is part of the package. In a
terminal it asks which model; without one it fetches only what --model or --yes says. Safe to run again.`;
export const options = {
  model: { type: 'string', short: 'm', value: 'ID', about: 'the model: owner/name, a file, a folder or demo' },
  'quant-type': { type: 'string', short: 't', value: 'TYPE', about: 'i2_s, tl1 (ARM64) or tl2 (x86-64) (default: what the model has)' },
  yes: { type: 'boolean', short: 'y', about: `ask nothing; without --model: ${DEFAULT_MODEL}` },
};
export const examples = ['llm-router setup', 'llm-router setup --yes', 'npm run setup:bitnet -- --model tiiuae/Falcon3-1B-Instruct-1.58bit --quant-type i2_s'];

const PROMPT = 'What is BitNet?';

/** The model that the user chooses by number, name or with Enter. */
async function choose(out) {
  out.say('Which model?');
  const choices = [...KNOWN_MODELS, { id: 'demo', about: 'the toy in this package, nothing to fetch' }];
  choices.forEach(({ id, about: text }, index) => out.say(`  ${String(index + 1).padStart(2)}  ${id}  ${out.paintTalk('dim', text)}`));
  const reader = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = (await reader.question(`Number or name [${DEFAULT_MODEL}]: `)).trim();
    return choices[Number(answer) - 1]?.id ?? (answer || DEFAULT_MODEL);
  } finally {
    reader.close();
  }
}

/** Milliseconds for a prompt and some tokens with a kernel; undefined where the processor has none of its instructions. */
async function timeOf(router, source, options, isa) {
  let model;
  try {
    model = await router.load(source, { ...options, isa, selfTest: false });
  } catch (error) {
    if (error.code === 'ISA_UNAVAILABLE') return undefined;
    throw error;
  }
  const { timings } = await model.generate('word '.repeat(64), { raw: true, temperature: 0, maxTokens: 16, ignoreEos: true, speculation: 'off', signal: options.signal });
  await router.unload(model.id);
  return timings.prefillMs + timings.decodeMs;
}

/** Measures the kernels with a model that is not loaded now, and keeps the choice for later loads. */
export async function tune(router, source, options, out) {
  keepTuned(undefined); // first what the engine takes by itself
  const model = await router.load(source, { ...options, selfTest: false });
  const { isa: usual } = model.info();
  await router.unload(model.id);
  out.status('Measuring kernels');
  const { isa, times } = await fastestKernel(usual, (name) => timeOf(router, source, options, name));
  out.endProgress();
  if (isa !== usual) keepTuned(isa);
  const list = Object.entries(times).map(([name, ms]) => `${name} ${ms.toFixed(0)} ms`);
  out.say(`Kernels, for a prompt of 64 words and 16 tokens: ${list.join(', ')}. Taken here: ${isa}`);
}

/** A script of the project that loads the model and asks it something. */
function writeTestScript(base, source, quantType) {
  const place = path.join(base, 'temp', 'test-bitnet.mjs');
  const model = existsSync(source) ? path.resolve(source) : source;
  const options = quantType === undefined ? '' : `, { quantType: ${JSON.stringify(quantType)} }`;
  const script = `// Asks the model that setup has brought. Run it with: node temp/test-bitnet.mjs
import LLMRouter from 'llm-runner-router';

const router = new LLMRouter();
await router.load(${JSON.stringify(model)}${options});
for await (const token of router.stream(${JSON.stringify(PROMPT)}, { maxTokens: 48 })) process.stdout.write(token);
console.log();
await router.cleanup();
`;
  writeFileSync(place, script);
  return place;
}

const isHubId = (source) => /^[^./\\][^/\\]*\/[^/\\]+(\/.+\.gguf)?$/.test(source);

export async function run({ values, out }) {
  out.say('CMake, Python and Clang are not needed: the engine is part of this package.');
  if (!isNativeAvailable()) native(); // says what is missing, and what to do
  // In an installed package the models belong to the project that uses it.
  const base = existsSync(path.join(PACKAGE_ROOT, 'Cargo.toml')) ? PACKAGE_ROOT : process.cwd();
  const models = path.join(base, 'temp', 'bitnet-repo', 'models');
  mkdirSync(models, { recursive: true });
  const source = values.model ?? (values.yes ? DEFAULT_MODEL : out.isInteractive ? await choose(out) : 'demo');
  if (isHubId(source)) {
    const model = await pull(source, { quantType: values['quant-type'] }, out);
    out.say(`It is in ${model.path}`);
  }
  await withInterrupt(async (signal) => {
    const { router, model: first } = await loadModel(source, { 'quant-type': values['quant-type'] }, out, { signal });
    let model = first;
    // A small model lies in the processor's caches, and a named kernel is the choice of somebody.
    if (model.info().parameters >= LEAST_PARAMETERS && isaFromEnvironment() === undefined) {
      await router.unload(model.id); // there may be no room for it twice
      await tune(router, source, { quantType: values['quant-type'], signal }, out);
      model = await router.load(source, { quantType: values['quant-type'], signal });
    }
    const { architecture, isa, threads } = model.info();
    out.say(`Loaded ${model.name} (${architecture}): kernel ${isa}, ${threads} thread${threads > 1 ? 's' : ''}`);
    out.say(`> ${PROMPT}`);
    const stream = router.stream(PROMPT, { modelId: model.id, maxTokens: 48, temperature: 0, signal });
    for await (const piece of stream) out.write(piece);
    out.print('');
    out.say(out.paintTalk('dim', statistics(await stream.result)));
    await router.cleanup();
  });
  const script = writeTestScript(base, source, values['quant-type']);
  out.say(`
BitNet setup complete. What is next:
  node ${path.relative(process.cwd(), script)}
  npx llm-router chat ${source}
  npx llm-router run ${source} "Explain quantum computing"
  router.load('${isHubId(source) ? 'bitnet:' : ''}${source}')   in a program
Models of your own go to ${models}${path.sep}<name>${path.sep} (a GGUF file, or config.json, tokenizer.json and *.safetensors);
other models of the hub are fetched when they are first loaded, or by \`npx llm-router pull OWNER/NAME\`.`);
}
