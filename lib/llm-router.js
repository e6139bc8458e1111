// The router: loads models and sends each call to one of them. What it is made of is in lib/router/, lib/pipeline.js and
// lib/registry.js.
import { EventEmitter } from 'node:events';
import { readCall, readCallOptions } from './call.js';
import { Chat } from './chat.js';
import { Config } from './config.js';
import { readMembers, runEnsemble } from './ensemble.js';
import { detectEnvironment } from './environment.js';
import { ModelError } from './errors.js';
import { MemoryBudget } from './memory.js';
import { pick } from './model.js';
import { isMessages, readOptions, splitOptions } from './options.js';
import { routerEnvironment } from './paths.js';
import { Pipeline } from './pipeline.js';
import { ModelRegistry } from './registry.js';
import { Ledger } from './router/ledger.js';
import { Router } from './router/router.js';
import { show } from './show.js';
import { loadSpec, resolveFormat } from './source.js';
import { BitNetLoader } from '../loaders/BitNetLoader.js';
import { MockLoader } from '../loaders/MockLoader.js';
import { OpenAILoader } from '../loaders/OpenAILoader.js';

/** Where a local Ollama answers. */
const OLLAMA = 'http://127.0.0.1:11434/v1';

/** Options of load() that are for the router: they say what cannot be measured. */
const DECLARED = ['quality', 'price'];

/** The options of a model of this package, or why they are none. */
function tryOptions(asked) {
  try {
    return { known: readOptions(asked, 'route') };
  } catch (refusal) {
    return { refusal };
  }
}

/** Loads models and sends each call to one of them. */
export class LLMRouter extends EventEmitter {
  #initializing = null;
  #ledger;
  /** id -> load of a saved model that is under way. */
  #restoring = new Map();

  /** @param {import('../index.js').RouterOptions | Config} [options] */
  constructor(options = {}) {
    super();
    const given = options instanceof Config ? options.routerOptions() : readOptions(options, 'router');
    this.config = { strategy: 'balanced', autoInit: true, ...readOptions(routerEnvironment(), 'router'), ...given };
    this.#ledger = new Ledger(this.config);
    this.registry = new ModelRegistry({ ...this.config, isBusy: (model) => this.#ledger.isBusy(model) });
    this.router = new Router(this.registry, this.config, this.#ledger);
    this.pipeline = new Pipeline(this.config, this.#ledger);
    this.memory = new MemoryBudget(this.config.maxMemory, this.registry);
    this.loaders = this.registry.loaders;
    this.engine = null;
    this.initialized = false;
    // An id may come to mean another model: what it answered is forgotten.
    this.registry.on('registered', () => this.pipeline.cache.clear());
    this.registry.on('unregistered', (model) => {
      this.memory.limitCaches(this.loaders.values());
      this.emit('model-unloaded', model);
    });
    this.router.on('strategy-changed', (name) => this.emit('strategy-changed', name));
  }

  /** Registers the loaders; load() does it by itself. Calling it again does nothing. */
  async initialize() {
    this.#initializing ??= this.#initialize();
    return this.#initializing;
  }

  async #initialize() {
    const bitnet = new BitNetLoader(pick(this.config, ['bitnetPath', 'cacheDir', 'offline']));
    const remote = [['openai', new OpenAILoader()], ['ollama', new OpenAILoader({ baseURL: OLLAMA })]];
    for (const [format, loader] of [['bitnet', bitnet], ['gguf', bitnet], ['mock', new MockLoader()], ...remote]) {
      if (!this.loaders.has(format)) this.registerLoader(format, loader);
    }
    await this.registry.initialize();
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
   * @param {string | import('../index.js').LoadSpec} source
   * @param {import('../index.js').LoadOptions} [options]
   */
  async load(source, options) {
    const given = loadSpec(source, options);
    const declared = readOptions(pick(given, DECLARED), 'register');
    const spec = Object.fromEntries(Object.entries(given).filter(([name]) => !DECLARED.includes(name)));
    if (this.config.autoInit) await this.initialize();
    const { format, source: place } = resolveFormat(spec);
    const loader = this.registry.getLoader(format);
    if (!loader) {
      const known = [...this.loaders.keys()].join(', ');
      throw new ModelError(`No loader available for format: ${format}. There are: ${known || 'none'}`, 'UNSUPPORTED_FORMAT', { format });
    }
    if (!this.registry.get(spec.id)) await this.registry.makeRoom();
    const model = loader instanceof BitNetLoader
      ? await this.memory.fit((maxBytes) => loader.load(spec, undefined, { maxBytes }))
      : await loader.load({ ...spec, source: place });
    this.#ledger.declare(model, declared);
    await this.registry.register(model, given);
    await this.memory.settle(model);
    this.memory.limitCaches(this.loaders.values());
    this.emit('model-loaded', model);
    return model;
  }

  /**
   * Answers a prompt; see readCall() for the call shapes.
   * @returns {Promise<import('../index.js').RoutedResult>}
   */
  async generate(first, second, third) {
    const { plan, call, how, cache } = this.#prepare(readCall(first, second, third), false);
    return this.pipeline.generate(plan, call, { ...how, cache });
  }

  /** The same answer as an async iterable of text, at once: it may be awaited, but need not be. */
  stream(first, second, third) {
    const { plan, call, how, cache } = this.#prepare(readCall(first, second, third), true);
    if (cache) throw new ModelError('Option cache is for generate(): a stream is not cached', 'INVALID_ARGUMENT', { option: 'cache' });
    return this.pipeline.run(plan, call, how);
  }

  /** generate() under its other name. */
  async quick(prompt, options) {
    return this.generate(prompt, options);
  }

  /**
   * One call as one object, with fallbacks; `model` may be the id of a loaded model or a source to load. With `stream: true` it resolves
   * to the stream.
   */
  async advanced(call) {
    const { stream = false, model, modelId = model, fallbacks, ...rest } = call ?? {};
    const options = { temperature: 0.7, maxTokens: 500, ...rest };
    if (modelId !== undefined) options.modelId = await this.#loadedId(modelId);
    if (Array.isArray(fallbacks)) options.fallbacks = await Promise.all(fallbacks.map((id) => this.#loadedId(id)));
    else if (fallbacks !== undefined) options.fallbacks = fallbacks;
    return stream ? this.stream(options) : this.generate(options);
  }

  /** The id of a model; what is no id of a loaded one is loaded. */
  async #loadedId(model) {
    const id = typeof model === 'string' ? model : model?.id;
    if (typeof id !== 'string') throw new ModelError(`A model is named by its id or source; ${show(model)} was given`, 'INVALID_ARGUMENT', { option: 'model', given: model });
    if (this.registry.get(id) || this.registry.saved.has(id)) return id;
    return (await this.load(id)).id;
  }

  /**
   * Asks several models side by side and makes one answer of theirs: the result of the model that answered it, with `ensemble`.
   * @param {(string | object)[]} models ids, sources or models, each alone or as `{ model, weight }`
   * @param {string | object[]} prompt
   * @param {object} [options] of each call, with `method` and `minAgreement`
   */
  async ensemble(models, prompt, options) {
    const members = readMembers(models);
    const { route, rest: given } = splitOptions(options, 'ensemble');
    const rest = route.method === 'best-logprob' ? { ...given, logprobs: true } : given;
    const ask = async (model) => {
      if (typeof model !== 'string') return this.generate(model, prompt, rest);
      return this.generate(prompt, { ...rest, modelId: await this.#loadedId(model) });
    };
    return runEnsemble(members, ask, { method: 'weighted-vote', minAgreement: 0, ...route });
  }

  /** A conversation: chat({ modelId, system }). With messages in the place of options, one answer to them. */
  chat(options, more) {
    if (isMessages(options)) return this.#chatOnce(options, more);
    const modelOf = (id) => this.registry.getAvailable().find((model) => model.id === id);
    return new Chat({ ask: (messages, given) => this.stream(messages, given), modelOf }, options);
  }

  async #chatOnce(messages, options) {
    const { text, latency, ...result } = await this.generate(messages, options);
    return { ...result, latency, duration: latency, message: { role: 'assistant', content: text } };
  }

  /** What a call comes to: the models that it goes to, what they are asked, and how. */
  #prepare({ model, prompt, options }, streaming) {
    const { route, watch, asked } = readCallOptions(options);
    const { modelId, strategy, fallbacks, requirements, cache, ...given } = route;
    const how = { ...pick(this.config, ['retries', 'timeout']), ...given };
    const { known, refusal } = tryOptions(asked);
    // A loader of one's own may have options of its own; ours know theirs.
    const call = { prompt, options: asked };
    const begin = (plan) => {
      if (plan.models[0].streamsText) {
        if (refusal) throw refusal;
        call.options = known;
      }
      this.#announce(plan, prompt, streaming);
      return plan;
    };
    const choose = () => this.router.plan(prompt, { ...known, modelId, strategy, fallbacks, requirements }, { model, streaming });
    const planned = this.#withSaved([modelId, fallbacks].flat(), choose);
    const plan = typeof planned.then === 'function' ? planned.then(begin) : begin(planned);
    return { plan, call, cache, how: { ...how, ...this.#watched(watch), onFallback: (fallback) => this.emit('fallback', fallback) } };
  }

  /** Chooses once the models that are named and only saved are loaded: at once where there are none. */
  #withSaved(ids, choose) {
    const restore = async () => {
      for (const id of ids) if (this.registry.saved.has(id)) await this.#restore(id);
      return choose();
    };
    // What is saved is known once the router is initialized.
    const { registryPath, autoInit } = this.config;
    if (registryPath !== undefined && autoInit && !this.initialized) return this.initialize().then(restore);
    return ids.some((id) => this.registry.saved.has(id)) ? restore() : choose();
  }

  /** Loads a model that only the file of the registry lists. */
  #restore(id) {
    let restored = this.#restoring.get(id);
    if (!restored) {
      restored = this.load(this.registry.saved.get(id)).finally(() => this.#restoring.delete(id));
      this.#restoring.set(id, restored);
    }
    return restored;
  }

  #announce({ models, routing }, prompt, streaming) {
    this.emit('route', routing);
    this.emit('inference-start', { model: models[0].id, prompt, routing, streaming });
  }

  /** The events of a running call. */
  #watched({ signal, onToken }) {
    const tell = this.listenerCount('token') > 0 ? (text) => this.emit('token', text) : undefined;
    const both = onToken && tell ? (text) => (onToken(text), tell(text)) : (onToken ?? tell);
    // Told after the promise of the call has settled; an error that nobody listens for is told by that promise alone.
    const onSettled = (error, result) => queueMicrotask(() => {
      if (result) this.emit('inference-complete', result);
      else if (this.listenerCount('error') > 0) this.emit('error', error);
    });
    return { signal, onToken: both, onSettled, onCacheHit: (model) => this.emit('cache-hit', { model: model.id }) };
  }

  /** Changes how models are chosen from now on. */
  setStrategy(strategy) {
    this.router.setStrategy(strategy);
  }

  /** Gives a strategy of your own a name. */
  addStrategy(name, strategy) {
    this.router.addStrategy(name, strategy);
  }

  /** Unloads a model; false when there is none of this id. */
  async unload(modelId) {
    return this.registry.unregister(modelId);
  }

  getStatus() {
    const models = this.registry.getAll().map((model) => ({
      id: model.id, name: model.name ?? model.id, format: model.format, loaded: model.loaded !== false, ...this.#ledger.status(model),
    }));
    return {
      initialized: this.initialized,
      engine: this.engine?.name,
      strategy: this.router.strategy,
      modelsLoaded: this.registry.getModelCount(),
      models,
      environment: this.detectEnvironment(),
      memory: { maxBytes: this.memory.limit, usedBytes: this.memory.used },
      memoryUsage: process.memoryUsage(),
    };
  }

  detectEnvironment() {
    return detectEnvironment();
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

  async dispose() {
    await this.cleanup();
  }

  async [Symbol.asyncDispose]() {
    await this.cleanup();
  }
}
