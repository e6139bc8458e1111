// llm-runner-router: runs ternary (BitNet b1.58) language models on CPUs.
//
//   const router = new LLMRouter();
//   const model = await router.load('demo');
//   const { text } = await router.generate('What is BitNet?', { modelId: model.id });
//
// The classes behind it are in lib/, the loaders in loaders/, the engine in src/ and crates/.
import { EventEmitter } from 'node:events';
import { AbortError, ModelError } from './lib/errors.js';
import { BitNetModel } from './lib/model.js';
import { isMessages, readOptions, show } from './lib/options.js';
import { Pipeline } from './lib/pipeline.js';
import { ModelRegistry } from './lib/registry.js';
import { Router } from './lib/router.js';
import { loadSpec, resolveFormat } from './lib/source.js';
import { TextStream } from './lib/stream.js';
import { BaseLoader } from './loaders/BaseLoader.js';
import { BitNetLoader } from './loaders/BitNetLoader.js';
import { MockLoader } from './loaders/MockLoader.js';

const isModel = (value) => value !== null && typeof value === 'object' && typeof value.generate === 'function';
const isPrompt = (value) => typeof value === 'string' || isMessages(value);
const isOptions = (value) => value === undefined || value === null || (typeof value === 'object' && !Array.isArray(value));

/**
 * The call shapes of generate() and stream(), told apart by their types:
 * (prompt, options), (model, prompt, options), (modelId, prompt, options) and ({ prompt | messages, ...options }).
 * @returns {{ model?: object, prompt: string | object[], options: object }}
 */
function readCall(first, second, third) {
  if (isModel(first) && isPrompt(second) && isOptions(third)) return { model: first, prompt: second, options: third ?? {} };
  if (typeof first === 'string' && isPrompt(second) && isOptions(third)) {
    return { prompt: second, options: { ...third, modelId: first } };
  }
  if (isPrompt(first) && isOptions(second) && third === undefined) return { prompt: first, options: second ?? {} };
  if (first !== null && typeof first === 'object' && second === undefined && ('prompt' in first || 'messages' in first)) {
    const { prompt, ...options } = first;
    return { prompt: prompt ?? options.messages, options };
  }
  if ((first === undefined || first === null) && isMessages(second?.messages)) return { prompt: second.messages, options: second };
  throw new ModelError(
    'generate() and stream() take (prompt, options), (model, prompt, options), (modelId, prompt, options) or one object with a ' +
      `prompt or messages; (${[first, second, third].map(show).join(', ')}) was given`,
    'INVALID_ARGUMENT',
    { option: 'prompt', given: first },
  );
}

/** Loads models and sends each call to one of them. */
export class LLMRouter extends EventEmitter {
  #initializing = null;

  /** @param {import('./index.js').RouterOptions} [options] */
  constructor(options = {}) {
    super();
    this.config = { strategy: 'balanced', autoInit: true, ...readOptions(options, 'router') };
    this.registry = new ModelRegistry(this.config);
    this.router = new Router(this.registry, this.config);
    this.pipeline = new Pipeline(this.config);
    this.loaders = this.registry.loaders;
    this.engine = null;
    this.initialized = false;
    // An id may come to mean another model: what it answered is forgotten.
    this.registry.on('registered', () => this.pipeline.cache.clear());
    this.registry.on('unregistered', (model) => this.emit('model-unloaded', model));
  }

  /** Registers the loaders; load() does it by itself. Calling it again does nothing. */
  async initialize() {
    this.#initializing ??= this.#initialize();
    return this.#initializing;
  }

  async #initialize() {
    const bitnet = new BitNetLoader({ bitnetPath: this.config.bitnetPath });
    for (const [format, loader] of [['bitnet', bitnet], ['gguf', bitnet], ['mock', new MockLoader()]]) {
      if (!this.loaders.has(format)) this.registerLoader(format, loader);
    }
    this.engine = { name: 'native' };
    this.initialized = true;
    this.emit('initialized');
  }

  /** Adds a loader of your own: an object with `load(spec)` that resolves to `{ id, generate, ... }`. */
  registerLoader(format, loader) {
    if (typeof loader?.load !== 'function') {
      throw new ModelError(`registerLoader() takes a format and an object with a load() method; ${show(loader)} was given`, 'INVALID_ARGUMENT');
    }
    this.registry.registerLoader(format, loader);
  }

  /**
   * Loads a model: load('demo'), load(path, options) or load({ source, type, threads, ... }).
   * @param {string | import('./index.js').LoadSpec} source
   * @param {import('./index.js').LoadOptions} [options]
   */
  async load(source, options) {
    const spec = loadSpec(source, options);
    if (this.config.autoInit) await this.initialize();
    const { format, source: place } = resolveFormat(spec);
    const loader = this.registry.getLoader(format);
    if (!loader) {
      const known = [...this.loaders.keys()].join(', ');
      throw new ModelError(`No loader available for format: ${format}. There are: ${known || 'none'}`, 'UNSUPPORTED_FORMAT', { format });
    }
    const model = await loader.load(loader instanceof BitNetLoader ? spec : { ...spec, source: place });
    await this.registry.register(model);
    this.emit('model-loaded', model);
    return model;
  }

  /**
   * Answers a prompt; see readCall() for the call shapes.
   * @returns {Promise<import('./index.js').GenerateResult>}
   */
  async generate(first, second, third) {
    const { model, prompt, options } = this.#route(first, second, third);
    return this.pipeline.process(model, prompt, options);
  }

  /** The same answer as an async iterable of text, at once: it may be awaited, but need not be. */
  stream(first, second, third) {
    const { model, prompt, options } = this.#route(first, second, third);
    const { cache, ...rest } = options;
    if (cache) throw new ModelError('Option cache is for generate(): a stream is not cached', 'INVALID_ARGUMENT', { option: 'cache' });
    return this.pipeline.stream(model, prompt, rest);
  }

  /** generate() under its other name. */
  async quick(prompt, options) {
    return this.generate(prompt, options);
  }

  /** Which model a call goes to, and its options without what only the router reads. */
  #route(first, second, third) {
    const call = readCall(first, second, third);
    const { modelId, model: alias, ...asked } = call.options;
    const id = modelId ?? alias ?? undefined;
    if (id !== undefined) readOptions({ modelId: id }, 'route');
    const model = call.model ?? this.router.selectModel(id);
    // A loader of one's own may have options of its own.
    const options = model instanceof BitNetModel ? readOptions(asked, 'route') : asked;
    return { model, prompt: call.prompt, options };
  }

  /** Unloads a model; false when there is none of this id. */
  async unload(modelId) {
    return this.registry.unregister(modelId);
  }

  getStatus() {
    return {
      initialized: this.initialized,
      engine: this.engine?.name,
      modelsLoaded: this.registry.getModelCount(),
      environment: 'node',
      memoryUsage: process.memoryUsage(),
    };
  }

  /** Unloads everything; the router can be used again afterwards. */
  async cleanup() {
    await this.pipeline.cleanup();
    await this.registry.cleanup();
    this.loaders.clear();
    this.#initializing = null;
    this.engine = null;
    this.initialized = false;
  }

  async [Symbol.asyncDispose]() {
    await this.cleanup();
  }
}

let shared;
/** The router behind the functions below, made when one of them is first called. */
const sharedRouter = () => (shared ??= new LLMRouter());

export const initialize = () => sharedRouter().initialize();
export const load = (source, options) => sharedRouter().load(source, options);
export const generate = (...call) => sharedRouter().generate(...call);
export const stream = (...call) => sharedRouter().stream(...call);
export const quick = (prompt, options) => sharedRouter().quick(prompt, options);

// require('llm-runner-router') gives the class itself, so the other exports hang on it.
Object.assign(LLMRouter, {
  default: LLMRouter, LLMRouter, BitNetLoader, MockLoader, BaseLoader, ModelRegistry, Router, Pipeline, TextStream,
  ModelError, LlmError: ModelError, AbortError, initialize, load, generate, stream, quick,
});

export { AbortError, BaseLoader, BitNetLoader, MockLoader, ModelError, ModelError as LlmError, ModelRegistry, Pipeline, Router, TextStream };
export { LLMRouter as default, LLMRouter as 'module.exports' };
