// The list of models on the disk: { version, models: [what load() was given] }. A file that cannot be used never keeps a model from
// being loaded; a warning says so once.
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { warnOnce } from './options.js';

const VERSION = 1;

const isSpec = (spec) => spec !== null && typeof spec === 'object' && typeof spec.id === 'string' && typeof spec.source === 'string';

/** @returns {Promise<Map<string, object>>} id -> what load() was given; empty when there is no file */
export async function readSaved(file) {
  try {
    const { version, models } = JSON.parse(await readFile(file, 'utf8'));
    if (version !== VERSION || !Array.isArray(models) || !models.every(isSpec)) throw new Error('it is no list of this version');
    return new Map(models.map((spec) => [spec.id, spec]));
  } catch (error) {
    if (error.code !== 'ENOENT') warnOnce(`The list of models ${file} cannot be read: ${error.message}`, 'LLM_ROUTER_REGISTRY');
    return new Map();
  }
}

/** Renamed into place, so that a reader sees the old list or the new one. Functions and signals are left out. */
export async function writeSaved(file, specs) {
  const temporary = `${file}.${process.pid}`;
  try {
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(temporary, `${JSON.stringify({ version: VERSION, models: specs }, null, 2)}\n`);
    await rename(temporary, file);
  } catch (error) {
    warnOnce(`The list of models ${file} cannot be written: ${error.message}`, 'LLM_ROUTER_REGISTRY');
  }
}
