// The headers of model files that lie on a server, fetched by ranges into files with holes: all that inspect() reads of them.
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { AbortError, ModelError } from './errors.js';
import { hubSettings, isOffline } from './hub.js';

const FIRST_BYTES = 1 << 16;
/** Far above the header of any model, so that no server fills the memory. */
const MOST_BYTES = 256 << 20;
const PATIENCE_MS = 30_000;
const DEFAULT_HUB = 'https://huggingface.co';
/** Files of a folder beside its weights; only the first must be there. */
const SETTINGS = ['config.json', 'tokenizer.json', 'tokenizer.model', 'added_tokens.json', 'tokenizer_config.json', 'generation_config.json', 'chat_template.jinja'];

export const isUrl = (source) => /^https?:\/\//i.test(source);

/** The page of a model on the hub. */
export const pageOf = (id) => new URL(`/${id}`, hubSettings().endpoint ?? DEFAULT_HUB).href;

const failed = (url, why, cause) => new ModelError(`${url.host}${url.pathname} cannot be read: ${why}`, 'DOWNLOAD_FAILED', { url: url.href }, cause && { cause });

/** One server's files. The token of the hub goes to the hub alone; fetch() leaves it away where a redirect leads elsewhere. */
class Server {
  constructor(signal) {
    this.signal = signal;
    const { endpoint = DEFAULT_HUB, token } = hubSettings();
    this.hub = new URL(endpoint).origin;
    this.token = token;
  }

  async #get(url, headers) {
    const patience = AbortSignal.timeout(PATIENCE_MS);
    const signal = this.signal ? AbortSignal.any([this.signal, patience]) : patience;
    const login = this.token && url.origin === this.hub ? { authorization: `Bearer ${this.token}` } : {};
    try {
      return await fetch(url, { headers: { ...headers, ...login }, signal });
    } catch (error) {
      if (this.signal?.aborted) throw new AbortError(this.signal.reason);
      throw failed(url, error.cause?.message ?? error.message, error);
    }
  }

  /** A whole small file, or undefined where there is none. */
  async file(url) {
    const response = await this.#get(url, {});
    if (response.status === 404) return undefined;
    if (!response.ok) throw failed(url, `the server answers with status ${response.status}`);
    return this.#body(url, response, MOST_BYTES);
  }

  /** The bytes from `first` up to `end`, and the length of the whole. */
  async part(url, first, end) {
    if (end > MOST_BYTES) throw failed(url, `its header has more than ${MOST_BYTES} bytes`);
    const response = await this.#get(url, { range: `bytes=${first}-${end - 1}` });
    const total = Number(/\/(\d+)$/.exec(response.headers.get('content-range') ?? '')?.[1]);
    if (response.status !== 206 || !Number.isSafeInteger(total)) {
      await response.body?.cancel();
      const why = response.ok ? 'the server sends whole files only' : `the server answers with status ${response.status}`;
      throw response.status === 404 ? new ModelError(`There is no model at ${url.href}`, 'MODEL_NOT_FOUND', { url: url.href }) : failed(url, why);
    }
    return { bytes: await this.#body(url, response, end - first), total };
  }

  async #body(url, response, limit) {
    const parts = [];
    let length = 0;
    try {
      for await (const part of response.body) {
        length += part.length;
        if (length > limit) throw failed(url, 'the server sends more than it was asked for');
        parts.push(part);
      }
    } catch (error) {
      if (this.signal?.aborted) throw new AbortError(this.signal.reason);
      throw error instanceof ModelError ? error : failed(url, error.message, error);
    }
    return Buffer.concat(parts);
  }
}

/** Bytes of the values of GGUF's types, but strings (8) and arrays (9). */
const VALUE_BYTES = { 0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8 };

/**
 * Where the header of a GGUF file ends, or undefined when these bytes do not reach that far. What is wrong with it is for the reader of
 * model files to say: here it ends where it stops making sense.
 */
export function ggufHeaderEnd(bytes) {
  let at = 24;
  const u64 = () => Number(bytes.readBigUInt64LE((at += 8) - 8));
  const u32 = () => bytes.readUInt32LE((at += 4) - 4);
  // What reads moves `at`, so a length is read before it is added.
  const skipString = () => {
    const length = u64();
    at += length;
  };
  const skipValue = (type) => {
    if (type === 8) skipString();
    else if (type === 9) {
      const [inner, count] = [u32(), u64()];
      if (VALUE_BYTES[inner]) at += count * VALUE_BYTES[inner];
      else for (let i = 0; i < count && at <= bytes.length; i += 1) skipValue(inner);
    } else at += VALUE_BYTES[type] ?? 0;
  };
  try {
    const [tensors, pairs] = [Number(bytes.readBigUInt64LE(8)), Number(bytes.readBigUInt64LE(16))];
    for (let i = 0; i < pairs; i += 1) {
      skipString();
      skipValue(u32());
    }
    for (let i = 0; i < tensors; i += 1) {
      skipString();
      const dimensions = u32();
      at += 8 * dimensions + 12;
    }
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
  return at <= bytes.length ? at : undefined;
}

/** Writes the beginning of a file and gives it its length. */
function writeWithHole(place, bytes, total) {
  writeFileSync(place, bytes);
  truncateSync(place, total);
}

async function fetchGguf(server, url, place) {
  let { bytes, total } = await server.part(url, 0, FIRST_BYTES);
  while (bytes.length < total && bytes.subarray(0, 4).toString() === 'GGUF' && ggufHeaderEnd(bytes) === undefined) {
    const more = await server.part(url, bytes.length, Math.min(total, 4 * bytes.length));
    bytes = Buffer.concat([bytes, more.bytes]);
  }
  writeWithHole(place, bytes, total);
}

async function fetchSafetensors(server, url, place) {
  let { bytes, total } = await server.part(url, 0, FIRST_BYTES);
  const end = Math.min(total, bytes.length < 8 ? 0 : 8 + Number(bytes.readBigUInt64LE(0)));
  if (end > bytes.length) bytes = Buffer.concat([bytes, (await server.part(url, bytes.length, end)).bytes]);
  writeWithHole(place, bytes, total);
}

async function fetchFolder(server, base, folder) {
  const at = (name) => new URL(encodeURIComponent(name), base);
  for (const name of SETTINGS) {
    const content = await server.file(at(name));
    if (content) writeFileSync(path.join(folder, name), content);
    else if (name === 'config.json') throw new ModelError(`There is no model at ${base.href}: config.json is missing`, 'MODEL_NOT_FOUND', { url: base.href });
  }
  const index = await server.file(at('model.safetensors.index.json'));
  let shards = ['model.safetensors'];
  if (index) {
    writeFileSync(path.join(folder, 'model.safetensors.index.json'), index);
    try {
      shards = [...new Set(Object.values(JSON.parse(index).weight_map))];
    } catch (error) {
      throw failed(at('model.safetensors.index.json'), `it is no index: ${error.message}`, error);
    }
  }
  for (const shard of shards) {
    if (typeof shard !== 'string' || path.basename(shard) !== shard || /^\.|[\\:]/.test(shard)) throw failed(base, `its index names ${JSON.stringify(shard)}, which is no file beside it`);
    await fetchSafetensors(server, at(shard), path.join(folder, shard));
  }
}

/** `https://hub/owner/name` is the page of a model, whose files lie below. */
function folderUrl(url, hub) {
  const isPage = url.origin === hub && url.pathname.split('/').filter(Boolean).length === 2;
  return new URL(`${url.pathname.replace(/\/$/, '')}${isPage ? '/resolve/main' : ''}/`, url);
}

/**
 * Runs `work(path)` on a file or folder that has the headers of what lies at an address, and holes for its weights.
 * @template T
 * @param {string} address a .gguf file, a folder, or the page of a model
 * @param {(path: string) => Promise<T>} work
 * @param {AbortSignal} [signal]
 * @returns {Promise<T>}
 */
export async function withHeaders(address, work, signal) {
  if (isOffline()) throw new ModelError(`${address} cannot be read: HF_HUB_OFFLINE forbids to fetch anything`, 'DOWNLOAD_FAILED', { url: address });
  if (!URL.canParse(address)) throw new ModelError(`Invalid path: ${address} is no address`, 'INVALID_ARGUMENT', { option: 'path', given: address });
  const url = new URL(address);
  const server = new Server(signal);
  const folder = mkdtempSync(path.join(tmpdir(), 'llm-runner-inspect-'));
  try {
    let place = folder;
    if (url.pathname.toLowerCase().endsWith('.gguf')) {
      place = path.join(folder, 'model.gguf');
      await fetchGguf(server, url, place);
    } else await fetchFolder(server, folderUrl(url, server.hub), folder);
    return await work(place);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
