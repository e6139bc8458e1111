// Native models that are loaded, each once: who asks for the same again gets the same, and it is unloaded when nobody holds it.
import { randomUUID } from 'node:crypto';
import { readdirSync, statSync } from 'node:fs';
import path from 'node:path';

/** What tells that a file or folder is still the one that was loaded: names, sizes and times of change. */
function stampOf(place) {
  const rowOf = (file) => {
    const { size, mtimeMs, ino } = statSync(file);
    return [file, size, mtimeMs, ino];
  };
  try {
    const files = statSync(place).isDirectory() ? readdirSync(place).sort().map((name) => path.join(place, name)) : [place];
    return JSON.stringify(files.map(rowOf));
  } catch {
    return undefined; // gone: nothing is shared with what comes next
  }
}

export class Engines {
  #open;
  #close;
  /** request -> what is loaded for it. */
  #loaded = new Map();
  /** request -> a load that is under way. */
  #loading = new Map();

  /**
   * @param {(key: string, request: object, how: object) => Promise<object>} open loads a native model
   * @param {(key: string) => Promise<void>} close unloads it
   */
  constructor(open, close) {
    this.#open = open;
    this.#close = close;
  }

  /**
   * A native model, loaded now or before.
   * @param {object} request what tells models apart: plain data
   * @param {{ maxBytes?: number, onProgress?: Function, signal?: AbortSignal, hub?: object }} how what does not
   * @returns {Promise<{ key: string, engine: object, release: () => Promise<void> }>}
   */
  async acquire(request, how) {
    const name = JSON.stringify(request);
    // Of two loads at once the second waits for what the first comes to.
    while (this.#loading.has(name)) await this.#loading.get(name);
    const shared = this.#loaded.get(name);
    if (shared && stampOf(shared.origin) === shared.stamp) {
      const bytes = shared.engine.info().memory.mappedBytes;
      how.onProgress?.({ phase: 'ready', loadedBytes: bytes, totalBytes: bytes });
      return this.#hold(shared);
    }
    const load = this.#load(name, request, how);
    const settled = load.then(() => {}, () => {}).finally(() => this.#loading.delete(name));
    this.#loading.set(name, settled);
    return this.#hold(await load);
  }

  async #load(name, request, how) {
    // A key of its own: a model that takes the place of another one is unloaded apart from it.
    const key = randomUUID();
    const engine = await this.#open(key, request, how);
    const origin = engine.origin();
    const entry = { key, name, engine, origin, stamp: stampOf(origin), users: 0 };
    if (entry.stamp !== undefined) this.#loaded.set(name, entry);
    return entry;
  }

  #hold(entry) {
    entry.users += 1;
    let held = true;
    const release = async () => {
      if (!held) return;
      held = false;
      entry.users -= 1;
      if (entry.users > 0) return;
      if (this.#loaded.get(entry.name) === entry) this.#loaded.delete(entry.name);
      await this.#close(entry.key);
    };
    return { key: entry.key, engine: entry.engine, release };
  }
}
