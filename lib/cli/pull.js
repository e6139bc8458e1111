// llm-router pull: a model comes into the cache.
import { downloadModel } from '../hub.js';
import { withInterrupt } from './interrupt.js';
import { bytes } from './terminal.js';

export const usage = 'OWNER/NAME[/FILE.gguf]';
export const about = `Fetches what is missing of a model into the Hugging Face cache, which other tools share, and checks each file's hash. What was
fetched before goes on where it ended; a model that is there is brought up to date.

HF_TOKEN is for gated models, HF_HUB_CACHE and HF_HOME say where the cache is, HF_ENDPOINT and HTTPS_PROXY how the hub is reached.`;
export const operands = { least: 1, most: 1 };
export const options = {
  revision: { type: 'string', value: 'NAME', about: 'branch, tag or commit (default: main)' },
  'quant-type': { type: 'string', short: 't', value: 'TYPE', about: 'which file of several: i2_s, tl1, tl2, or the end of a GGUF file\'s name' },
  json: { type: 'boolean', about: 'one line of JSON: path, commit, bytes, fetchedBytes' },
};
export const examples = [
  'llm-router pull microsoft/BitNet-b1.58-2B-4T',
  'llm-router pull microsoft/bitnet-b1.58-2B-4T-gguf/ggml-model-i2_s.gguf',
  'llm-router pull tiiuae/Falcon3-1B-Instruct-1.58bit --revision main --json',
];

/** Fetches, with a bar; what `setup` does too. */
export async function pull(id, { revision, quantType }, out) {
  const given = id.replace(/^(hf|huggingface|bitnet):(\/\/)?/, '');
  out.say(`Fetching ${given}`);
  const model = await withInterrupt((signal) => downloadModel(given, { revision, quantType, signal, onProgress: out.progress }));
  out.endProgress();
  const news = model.fetchedBytes > 0 ? `${bytes(model.fetchedBytes)} fetched and checked` : 'everything was there already';
  out.say(`${given}: ${news}, ${bytes(model.bytes)} in all, commit ${model.commit.slice(0, 12)}`);
  return model;
}

export async function run({ values, positionals: [id], out }) {
  const model = await pull(id, { revision: values.revision, quantType: values['quant-type'] }, out);
  if (values.json) out.json({ id, ...model });
  else out.print(model.path);
}
