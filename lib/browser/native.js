// The engine as the rest of the package knows it, in a web worker: the same objects as those of the addon, but that what computes is
// asked by message, so that tokenize() and its like give promises.

import { readFile, writeFile } from './platform/files.js';

const toError = ({ code, message }) => new Error(`[${code}] ${message}`);

/** One worker and the requests that it owes an answer. */
class Channel {
  #worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
  /** id -> { resolve, reject, onProgress, onTask } */
  #pending = new Map();
  #last = 0;
  #ended;

  constructor() {
    this.#worker.addEventListener('message', ({ data }) => this.#receive(data));
    this.#worker.addEventListener('error', (event) => this.end({ code: 'INTERNAL', message: `The worker of the engine failed: ${event.message ?? 'it did not start'}` }));
  }

  ask(request, { onProgress, onTask } = {}) {
    if (this.#ended) return Promise.reject(toError(this.#ended));
    this.#last += 1;
    const id = this.#last;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject, onProgress, onTask });
      this.#worker.postMessage({ id, ...request });
    });
  }

  /** Asks for what has no answer that anybody waits for. */
  tell(request) {
    this.ask(request).catch(() => {});
  }

  #receive({ id, ok, error, progress, task, dead }) {
    if (dead !== undefined) {
      this.end({ code: 'INTERNAL', message: `The engine stopped: ${dead}. Load the model again; if it is large, its browser may have no more memory for it` });
      return;
    }
    const asked = this.#pending.get(id);
    if (!asked) return;
    if (progress) asked.onProgress?.(progress);
    else if (task !== undefined) asked.onTask?.(task);
    else {
      this.#pending.delete(id);
      if (error) asked.reject(toError(error));
      else asked.resolve(ok);
    }
  }

  /** Ends the worker: its memory is free at once, and whoever waits gets the error. */
  end(error) {
    if (this.#ended) return;
    this.#ended = error;
    this.#worker.terminate();
    for (const { reject } of this.#pending.values()) reject(toError(error));
    this.#pending.clear();
  }
}

class Generation {
  #channel;
  #number;
  #onMemory;

  constructor(channel, number, onMemory) {
    this.#channel = channel;
    this.#number = number;
    this.#onMemory = onMemory;
  }

  async next() {
    const event = await this.#channel.ask({ op: 'next', generation: this.#number });
    if (event?.memory) this.#onMemory(event.memory);
    return event;
  }

  cancel() {
    this.#channel.tell({ op: 'cancelGeneration', generation: this.#number });
  }
}

class Embedding {
  #channel;
  #texts;
  #task;
  #cancelled = false;

  constructor(channel, texts) {
    this.#channel = channel;
    this.#texts = texts;
  }

  async result() {
    const onTask = (task) => {
      this.#task = task;
      if (this.#cancelled) this.cancel();
    };
    const { floats, vectors } = await this.#channel.ask({ op: 'embed', texts: this.#texts }, { onTask });
    const size = vectors > 0 ? floats.length / vectors : 0;
    return Array.from({ length: vectors }, (_, i) => floats.slice(i * size, (i + 1) * size));
  }

  cancel() {
    this.#cancelled = true;
    if (this.#task !== undefined) this.#channel.tell({ op: 'cancelTask', task: this.#task });
  }
}

/** One loaded model. */
class BrowserEngine {
  #channel;
  #info;

  constructor(channel, info, toolStyle) {
    this.#channel = channel;
    this.#info = info;
    this.toolStyle = toolStyle;
  }

  info() {
    return structuredClone(this.#info);
  }

  async generate(call) {
    const number = await this.#channel.ask({ op: 'generate', ...call });
    return new Generation(this.#channel, number, (memory) => (this.#info.memory = memory));
  }

  tokenize(text, addSpecial) {
    return this.#channel.ask({ op: 'tokenize', text, addSpecial });
  }

  detokenize(ids, skipSpecial) {
    return this.#channel.ask({ op: 'detokenize', ids, skipSpecial });
  }

  applyChatTemplate(messages, addGenerationPrompt, variables) {
    return this.#channel.ask({ op: 'applyChatTemplate', messages, addGenerationPrompt, variables });
  }

  async forward(ids, all) {
    return (await this.#channel.ask({ op: 'forward', ids, all })).floats;
  }

  perplexity(text) {
    return this.#channel.ask({ op: 'perplexity', text });
  }

  perplexityOf(ids) {
    return this.#channel.ask({ op: 'perplexityOf', ids });
  }

  /** Refused: pages have no files. */
  saveContext(_messages, file) {
    return writeFile(file);
  }

  /** Refused likewise. */
  loadContext(file) {
    return readFile(file);
  }

  async embed(texts) {
    return new Embedding(this.#channel, texts);
  }

  selfTest(thorough) {
    return this.#channel.ask({ op: 'selfTest', thorough });
  }

  async close() {
    this.#channel.end({ code: 'MODEL_NOT_LOADED', message: 'the model was unloaded' });
  }
}

/**
 * Loads a model into a worker of its own.
 * @param {{ url: string } | { blobs: Blob[] }} source
 * @param {object} engineOptions contextSize, isa, head, speculation, maxBytes
 * @param {{ offline?: boolean, onProgress?: (progress: object) => void, signal?: AbortSignal }} how
 */
export async function openEngine(source, engineOptions, { offline = false, onProgress, signal }) {
  signal?.throwIfAborted();
  const channel = new Channel();
  const abort = () => channel.end({ code: 'ABORTED', message: 'the load was stopped' });
  signal?.addEventListener('abort', abort, { once: true });
  try {
    const { info, toolStyle } = await channel.ask({ op: 'load', source, offline, engineOptions }, { onProgress });
    return new BrowserEngine(channel, { path: source.url ?? 'file', ...info }, toolStyle);
  } catch (error) {
    abort();
    throw error;
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}
