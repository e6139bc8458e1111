// Where a model's files come from in a browser: fetched from an address and kept in the browser's cache, or chosen by the user.
import { ModelError } from '../errors.js';

/** Name of the cache that fetched files are kept in. */
export const CACHE = 'llm-runner-router';

/** Files of a folder in the layout of Hugging Face beside its weights; those marked may be missing. */
const FOLDER_FILES = [
  ['config.json'], ['generation_config.json', true], ['tokenizer.json', true], ['tokenizer.model', true], ['tokenizer_config.json', true],
  ['special_tokens_map.json', true], ['added_tokens.json', true], ['chat_template.jinja', true], ['modules.json', true], ['1_Pooling/config.json', true],
];
const WEIGHTS = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';

/** A file of the module: read by slices, so that it never lies in memory as a whole beside the module's own copy. */
class BlobFile {
  #blob;
  #reader = new FileReaderSync();

  constructor(blob) {
    this.#blob = blob;
    this.size = blob.size;
  }

  read(offset, length) {
    return new Uint8Array(this.#reader.readAsArrayBuffer(this.#blob.slice(offset, offset + length)));
  }
}

/** The cache, or undefined where the browser has none: pages that are not served securely. */
const openCache = () => globalThis.caches?.open(CACHE);

/** Counts the bytes of a body as they come. */
function counted(body, onBytes) {
  return body.pipeThrough(new TransformStream({
    transform(chunk, controller) {
      onBytes(chunk.length);
      controller.enqueue(chunk);
    },
  }));
}

function refusal(url, status) {
  const [code, reason] = { 401: ['UNAUTHORIZED', 'it asks for a login'], 403: ['UNAUTHORIZED', 'access is refused'], 404: ['MODEL_NOT_FOUND', 'there is no such file'] }[status]
    ?? ['DOWNLOAD_FAILED', `the server answers ${status}`];
  return new ModelError(`Cannot fetch ${url}: ${reason}`, code, { url, status });
}

async function fetchFile(url) {
  try {
    return await fetch(url);
  } catch (cause) {
    throw new ModelError(`Cannot fetch ${url}: ${cause.message}. The server must be reachable and allow this page to read from it (CORS)`, 'DOWNLOAD_FAILED', { url }, { cause });
  }
}

/** One file by its address, from the cache if it is there; undefined where it may be missing and is. */
async function blobAt(url, { mayBeMissing = false, offline = false, report }) {
  const cache = await openCache();
  const kept = await cache?.match(url);
  if (kept) return kept.blob();
  if (offline) {
    if (mayBeMissing) return undefined;
    throw new ModelError(`${url} is not in the cache of this browser, and downloads are off`, 'MODEL_NOT_FOUND', { url });
  }
  const response = await fetchFile(url);
  if (response.status === 404 && mayBeMissing) return undefined;
  if (!response.ok) throw refusal(url, response.status);
  const total = Number(response.headers.get('content-length')) || 0;
  let loaded = 0;
  const body = counted(response.body, (bytes) => report({ url, loaded: (loaded += bytes), total }));
  const headers = { 'content-type': 'application/octet-stream' };
  try {
    // Kept whole or not at all: a body that breaks off is not put.
    if (!cache) return await new Response(body).blob();
    await cache.put(url, new Response(body, { headers }));
  } catch (cause) {
    const [code, reason] = cause.name === 'QuotaExceededError' ? ['DISK_FULL', 'the browser gives this page no more room'] : ['DOWNLOAD_FAILED', cause.message];
    throw new ModelError(`Cannot fetch ${url}: ${reason}`, code, { url }, { cause });
  }
  return (await cache.match(url)).blob();
}

const nameOf = (url) => decodeURIComponent(new URL(url).pathname.split('/').pop());

/** Names of the weight files that an index lists. */
function shardsOf(index, url) {
  const names = Object.values(JSON.parse(index).weight_map ?? {});
  const shards = [...new Set(names)];
  if (shards.length > 0 && shards.every((name) => typeof name === 'string' && /^[\w.-]+$/.test(name) && !name.startsWith('.'))) return shards;
  throw new ModelError(`${url} names no weight files of its folder`, 'INVALID_MODEL', { url });
}

async function folderBlobs(base, how) {
  const at = (name) => new URL(name, base).href;
  const blobs = new Map();
  const take = async (name, mayBeMissing) => {
    const blob = await blobAt(at(name), { ...how, mayBeMissing });
    if (blob) blobs.set(name, blob);
    return blob;
  };
  await Promise.all(FOLDER_FILES.map(([name, mayBeMissing]) => take(name, mayBeMissing)));
  const index = await take(INDEX, true);
  const weights = index ? shardsOf(await index.text(), at(INDEX)) : [WEIGHTS];
  // One after the other: each is large, and a page has few connections.
  for (const name of weights) await take(name, false);
  return blobs;
}

/**
 * The files of a model and the path at which the module opens it.
 * @param {{ url: string } | { blobs: Blob[] }} source
 * @param {{ offline?: boolean, report: (file: { url: string, loaded: number, total: number }) => void }} how
 */
export async function modelFiles(source, how) {
  const blobs = new Map();
  if (source.blobs) for (const blob of source.blobs) blobs.set(blob.name ?? 'model.gguf', blob);
  else if (/\.gguf$/i.test(new URL(source.url).pathname)) blobs.set(nameOf(source.url), await blobAt(source.url, how));
  else for (const [name, blob] of await folderBlobs(source.url.endsWith('/') ? source.url : `${source.url}/`, how)) blobs.set(name, blob);
  const files = new Map([...blobs].map(([name, blob]) => [name, new BlobFile(blob)]));
  const [only] = files.size === 1 ? files.keys() : [];
  return { files, path: only ? `/model/${only}` : '/model' };
}
