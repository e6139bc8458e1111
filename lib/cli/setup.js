// llm-router setup, which is npm run setup:bitnet: a model comes in, is checked, and answers a prompt.
import { existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline/promises';
import { DEFAULT_MODEL, KNOWN_MODELS } from '../known-models.js';
import { PACKAGE_ROOT } from '../paths.js';
import { isNativeAvailable, native } from '../native.js';
import { withInterrupt } from './interrupt.js';
import { loadModel } from './model-options.js';
import { pull } from './pull.js';
import { statistics } from './run.js';

export const usage = '';
export const about = `Fetches a model, checks it and lets it answer a prompt. CMake, Python and Clang are not needed: the engine is part of the package. In a
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
    const { router, model } = await loadModel(source, { 'quant-type': values['quant-type'] }, out, { signal });
    const { architecture, isa, threads } = model.info();
    out.say(`Loaded ${model.name} (${architecture}): kernel ${isa}, ${threads} thread${threads > 1 ? 's' : ''}`);
    out.say(`> ${PROMPT}`);
    const stream = router.stream(PROMPT, { modelId: model.id, maxTokens: 48, temperature: 0, signal });
    for await (const piece of stream) out.write(piece);
    out.print('');
    out.say(out.paintTalk('dim', statistics(await stream.result)));
    await router.cleanup();
  });
  out.say(`
BitNet setup complete. What is next:
  npx llm-router chat ${source}
  npx llm-router run ${source} "Explain quantum computing"
  router.load('${isHubId(source) ? 'bitnet:' : ''}${source}')   in a program
Models of your own go to ${models}${path.sep}<name>${path.sep} (a GGUF file, or config.json, tokenizer.json and *.safetensors);
other models of the hub are fetched when they are first loaded, or by \`npx llm-router pull OWNER/NAME\`.`);
}
