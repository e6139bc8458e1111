// llm-router list: what is on this machine.
import { listModels } from '../cache.js';
import { huggingFaceCache } from '../paths.js';
import { bytes } from './terminal.js';

export const usage = '';
export const about = 'Lists the models of the Hugging Face cache, whichever tool brought them, those of the BitNet folders (models/<name>/), and those that were converted to a quantType.';
export const options = { json: { type: 'boolean', about: 'one line of JSON: an array of id, place, path, commit, files, bytes, complete, modified' } };
export const examples = ['llm-router list', 'llm-router list --json'];

export async function run({ values, out }) {
  const models = await listModels();
  if (values.json) {
    out.json(models);
    return;
  }
  if (models.length === 0) {
    out.print(`No models in ${huggingFaceCache()} yet. \`llm-router pull microsoft/BitNet-b1.58-2B-4T\` fetches one; \`demo\` is always there.`);
    return;
  }
  const rows = models.map(({ id, bytes: size, commit, complete, place, path }) => [id, bytes(size), commit?.slice(0, 12) ?? '-', complete ? place : 'incomplete', path]);
  const head = ['MODEL', 'SIZE', 'COMMIT', 'PLACE', 'PATH'];
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column].length)));
  const line = (row) => row.map((cell, column) => (column === 1 ? cell.padStart(widths[1]) : cell.padEnd(widths[column]))).join('  ').trimEnd();
  out.print(out.paint('bold', line(head)));
  for (const row of rows) out.print(line(row));
}
