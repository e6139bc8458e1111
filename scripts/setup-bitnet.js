// npm run setup:bitnet: makes the guide's folders, builds the engine where that is needed, and tries it. Safe to run again.
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { ensureBuilt, isCheckout, ROOT, run, say } from './support.js';

const MODEL = 'microsoft/BitNet-b1.58-2B-4T';

function main() {
  say('CMake, Python and Clang are not needed: the engine is part of this package.');
  // In an installed package the models belong to the project that uses it.
  const base = isCheckout ? ROOT : process.cwd();
  const models = path.join(base, 'temp', 'bitnet-repo', 'models');
  mkdirSync(models, { recursive: true });
  say(`Models go to ${models}`);
  ensureBuilt();
  run(process.execPath, [path.join(ROOT, 'scripts', 'test-bitnet.js')]);
  say(`
BitNet setup complete. What is next:
  npm run test:bitnet                 tries the engine again
  npm run demo                        talks with the small model in this package

To bring a model, put its files where the engine looks for its name, for example those of ${MODEL} in
  ${path.join(models, 'BitNet-b1.58-2B-4T')}
(the GGUF file, or config.json, tokenizer.json and *.safetensors), then
  router.load('bitnet:${MODEL}')
What Hugging Face tools have downloaded to their cache is found as well.`);
}

try {
  main();
} catch (error) {
  say(`Setup failed: ${error.message}`);
  process.exitCode = 1;
}
