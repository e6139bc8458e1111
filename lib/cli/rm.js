// llm-router rm: models leave the cache.
import { createInterface } from 'node:readline/promises';
import { listModels, removeModel } from '../cache.js';
import { ModelError } from '../errors.js';
import { bytes } from './terminal.js';

export const usage = 'OWNER/NAME ...';
export const about = `Removes models from the Hugging Face cache, all revisions of them, and converted models, by the names that list gives them. Other
tools that share the cache lose what is in it too, so it asks first.
Models in other folders are left alone: delete their folder.`;
export const operands = { least: 1, most: Infinity };
export const options = {
  yes: { type: 'boolean', short: 'y', about: 'do not ask' },
  json: { type: 'boolean', about: 'one line of JSON: an array of id, bytes' },
};
export const examples = ['llm-router rm microsoft/BitNet-b1.58-2B-4T', 'llm-router rm --yes owner/one owner/two'];

async function isAgreed(question) {
  const reader = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return /^y(es)?$/i.test((await reader.question(`${question} [y/N] `)).trim());
  } finally {
    reader.close();
  }
}

export async function run({ values, positionals, out }) {
  const there = await listModels();
  const wanted = positionals.map((id) => {
    const model = there.find((candidate) => candidate.id === id && candidate.place !== 'folder');
    if (model) return model;
    const folder = there.find((candidate) => candidate.id === id);
    const where = folder ? `it is in ${folder.path}: delete that folder` : `there is: ${there.map((candidate) => candidate.id).join(', ') || 'nothing'}`;
    throw new ModelError(`Model not found in the cache: ${id}; ${where}`, 'MODEL_NOT_FOUND', { id });
  });
  const size = bytes(wanted.reduce((sum, model) => sum + model.bytes, 0));
  if (!values.yes) {
    if (!out.isInteractive) throw new ModelError('rm asks before it removes anything; without a terminal it needs --yes', 'INVALID_ARGUMENT');
    if (!(await isAgreed(`Remove ${wanted.map(({ id }) => id).join(', ')} (${size}) from the cache?`))) {
      out.say('Nothing was removed.');
      return;
    }
  }
  for (const model of wanted) await removeModel(model);
  if (values.json) out.json(wanted.map(({ id, bytes: freed }) => ({ id, bytes: freed })));
  else out.say(`Removed ${wanted.length === 1 ? wanted[0].id : `${wanted.length} models`}: ${size} are free again.`);
}
