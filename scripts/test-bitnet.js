#!/usr/bin/env node
// npm run test:bitnet [-- MODEL]: one real generation, on a model of temp/bitnet-repo/models when there is one, else on one of the guide's
// models in the cache, else on the demo model.
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { listModels } from '../lib/cache.js';
import { KNOWN_MODELS } from '../lib/known-models.js';
import BitNetLoader from '../loaders/BitNetLoader.js';

/** The first model folder of the guide's layout. */
function localModel(modelDir) {
  if (!existsSync(modelDir)) return undefined;
  const isModel = (name) => readdirSync(path.join(modelDir, name)).some((file) => /\.(gguf|safetensors)$/.test(file));
  return readdirSync(modelDir, { withFileTypes: true }).find((entry) => entry.isDirectory() && isModel(entry.name))?.name;
}

/** The first of the guide's models that was fetched. */
async function cachedModel() {
  const there = (await listModels()).filter(({ place, complete }) => place === 'cache' && complete);
  return KNOWN_MODELS.find(({ id }) => there.some((model) => model.id === id))?.id;
}

async function main() {
  const loader = new BitNetLoader();
  const installed = await loader.checkBitNetInstallation();
  console.log(`Engine: ${installed ? 'ready' : 'missing (run npm run build)'}`);
  const source = process.argv[2] ?? localModel(loader.modelDir) ?? (await cachedModel()) ?? 'demo';
  const model = await loader.load(source, { temperature: 0 });
  const { architecture, isa, threads } = model.info();
  console.log(`Model: ${model.name} (${architecture}), kernel ${isa}, ${threads} threads`);
  const { text, tokens, performance } = await loader.generate('What is BitNet?', { maxTokens: 48 });
  if (tokens === 0) throw new Error('the model generated nothing');
  if (source === 'demo' && !text.includes('ternary')) throw new Error(`the demo model answered ${JSON.stringify(text)}, which is wrong`);
  console.log(`Answer: ${text.trim()}`);
  console.log(`${tokens} tokens, ${performance.tokensPerSecond.toFixed(1)} tokens/s`);
  console.log('BitNet works.');
}

try {
  await main();
} catch (error) {
  console.error(`BitNet does not work: ${error.message}`);
  process.exitCode = 1;
}
