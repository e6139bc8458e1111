// What the Hugging Face cache, the BitNet folders and the folder of converted models hold, and how it is removed.
import { existsSync } from 'node:fs';
import { lstat, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { bitnetDirs, convertedModels, huggingFaceCache } from './paths.js';

const PREFIX = 'models--';

const entriesOf = (folder) => readdir(folder, { withFileTypes: true }).catch(() => []);
const isWeights = (name) => /\.(gguf|safetensors)$/i.test(name);

/** All files below a folder, as paths. */
async function filesBelow(folder) {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true }).catch(() => []);
  return entries.filter((entry) => !entry.isDirectory()).map((entry) => path.join(entry.parentPath ?? entry.path, entry.name));
}

/** Bytes that files take; links count for nothing. */
async function bytesOf(files) {
  const sizes = await Promise.all(files.map((file) => lstat(file).then((info) => (info.isSymbolicLink() ? 0 : info.size), () => 0)));
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** One repository of the cache; undefined when it holds no weights. */
async function cachedModel(cache, folder) {
  const place = path.join(cache, folder);
  const snapshots = (await entriesOf(path.join(place, 'snapshots'))).map(({ name }) => name);
  const names = await Promise.all(snapshots.map(async (commit) => [commit, (await entriesOf(path.join(place, 'snapshots', commit))).map(({ name }) => name)]));
  const usable = names.filter(([, files]) => files.some(isWeights));
  const partial = (await entriesOf(path.join(place, 'blobs'))).some(({ name }) => name.endsWith('.incomplete'));
  if (usable.length === 0 && !partial) return undefined;
  const main = await readFile(path.join(place, 'refs', 'main'), 'utf8').then((text) => text.trim(), () => undefined);
  const [commit, files] = usable.find(([name]) => name === main) ?? usable[0] ?? [];
  const { mtime } = await stat(place);
  return {
    id: folder.slice(PREFIX.length).replace('--', '/'),
    place: 'cache',
    path: commit === undefined ? place : path.join(place, 'snapshots', commit),
    commit,
    files: (files ?? []).filter(isWeights).sort(),
    bytes: await bytesOf(await filesBelow(path.join(place, 'blobs'))),
    complete: usable.length > 0 && !partial,
    modified: mtime.toISOString(),
  };
}

async function localModel(dir, name) {
  const place = path.join(dir, 'models', name);
  const files = await filesBelow(place);
  if (!files.some(isWeights)) return undefined;
  const { mtime } = await stat(place);
  return {
    id: name,
    place: 'folder',
    path: place,
    commit: undefined,
    files: files.filter(isWeights).map((file) => path.relative(place, file)).sort(),
    bytes: await bytesOf(files),
    complete: true,
    modified: mtime.toISOString(),
  };
}

/** A model that was converted to a quantType. */
async function convertedModel(name) {
  const place = path.join(convertedModels(), name);
  const { size, mtime } = await stat(place);
  return { id: name.replace(/\.gguf$/, ''), place: 'converted', path: place, commit: undefined, files: [name], bytes: size, complete: true, modified: mtime.toISOString() };
}

/**
 * The models on this machine: those of the Hugging Face cache, whichever tool brought them, those of the BitNet folders, and what was
 * made of them for a quantType.
 * @returns {Promise<object[]>} sorted by id
 */
export async function listModels() {
  const cache = huggingFaceCache();
  const cached = (await entriesOf(cache)).filter(({ name }) => name.startsWith(PREFIX)).map(({ name }) => cachedModel(cache, name));
  const local = bitnetDirs().map(async (dir) => {
    const folders = (await entriesOf(path.join(dir, 'models'))).filter((entry) => entry.isDirectory());
    return Promise.all(folders.map(({ name }) => localModel(dir, name)));
  });
  const converted = (await entriesOf(convertedModels())).filter((entry) => entry.isFile()).map(({ name }) => convertedModel(name).catch(() => undefined));
  const found = [...(await Promise.all(cached)), ...(await Promise.all(local)).flat(), ...(await Promise.all(converted))];
  return found.filter(Boolean).sort((a, b) => (a.id < b.id ? -1 : 1));
}

/**
 * Removes a converted model, or a repository from the cache: out of sight in one step, then file by file.
 * @param {{ id: string, place: string, path: string }} model of listModels()
 * @returns {Promise<boolean>} false when it is not there
 */
export async function removeModel({ id, place: kind, path: file }) {
  if (kind === 'converted') {
    await rm(file);
    return true;
  }
  const cache = huggingFaceCache();
  const folder = PREFIX + id.replaceAll('/', '--');
  const place = path.join(cache, folder);
  if (folder.includes(path.sep) || !existsSync(place)) return false;
  const doomed = path.join(cache, `.removed-${folder}-${process.pid}`);
  await rename(place, doomed);
  await rm(doomed, { recursive: true });
  await rm(path.join(cache, '.locks', folder), { recursive: true, force: true });
  return true;
}
