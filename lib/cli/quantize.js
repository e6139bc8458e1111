// llm-router quantize: full-precision weights become ternary ones.
import { readFileSync } from 'node:fs';
import { quantize } from '../convert.js';
import { withInterrupt } from './interrupt.js';
import { bytes } from './terminal.js';

export const usage = 'IN OUT';
export const about = `Rounds full-precision master weights to ternary ones by their mean magnitude, and measures the perplexity before and after. A model that was
not trained for it is refused: --force rounds it all the same, which ruins it.`;
export const operands = { least: 2, most: 2 };
export const options = {
  type: { type: 'string', short: 't', value: 'TYPE', about: 'as of convert (default: i2_s where OUT ends in .gguf, else hf)' },
  'embedding-type': { type: 'string', value: 'TYPE', about: 'as of convert (default: what embedding and head are)' },
  file: { type: 'string', short: 'f', value: 'FILE', about: 'text of the perplexities (default: a few sentences)' },
  force: { type: 'boolean', about: 'round a model that was not trained for it' },
  json: { type: 'boolean', about: 'one line of JSON: path, type, isTrained, before, after ...' },
};
export const examples = ['llm-router quantize ./BitNet-b1.58-2B-4T-bf16 model.gguf --file wiki.test.raw', 'llm-router quantize ./some-llama ruined.gguf --force'];

export async function run({ values, positionals: [input, output], out }) {
  const { type, force, 'embedding-type': embeddingType, file } = values;
  const text = file === undefined ? undefined : readFileSync(file, 'utf8');
  const made = await withInterrupt((signal) => quantize(input, output, { type, embeddingType, force, text, signal, onProgress: out.progress }));
  out.endProgress();
  if (values.json) {
    out.json(made);
    return;
  }
  const { isTrained, before, after } = made;
  if (!isTrained) out.say(`${out.paintTalk('yellow', 'Warning:')} the model was not trained for ternary weights`);
  out.say(`perplexity ${before.perplexity.toFixed(4)} before, ${after.perplexity.toFixed(4)} after; ${bytes(made.bytes)}`);
  out.print(made.path);
}
