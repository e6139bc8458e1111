// Which models and which loaders a router has, and the list of models on the disk when one is asked for.
import { EventEmitter } from 'node:events';
import { ModelError } from './errors.js';
import { show } from './show.js';
import { readSaved, writeSaved } from './registry-file.js';

/** Models by id and loaders by format; holds at most `maxModels`, the least recently used one goes first. */
export class ModelRegistry extends EventEmitter {
  #isBusy;
  #specs = new WeakMap();
  #writing = Promise.resolve();
  models = new Map();
  loaders = new Map();
  /** id -> what load() was given, for models that the file lists and that are not loaded. */
  saved = new Map();

  /** @param {{ maxModels?: number, registryPath?: string, isBusy?: (model: object) => boolean }} [config] */
  constructor({ maxModels = 100, registryPath, isBusy = () => false } = {}) {
    super();
    this.config = { maxModels, registryPath };
    this.#isBusy = isBusy;
  }

  /** Reads the file, if one was asked for: its models are loaded when they are first asked for. */
  async initialize() {
    if (this.config.registryPath === undefined) return;
    const saved = await readSaved(this.config.registryPath);
    for (const [id, spec] of saved) if (!this.models.has(id)) this.saved.set(id, spec);
  }

  /**
   * Adds a model; one of the same id is replaced and unloaded.
   * @param {object} model at least an id and generate()
   * @param {object} [spec] what load() was given: a model with one is saved
   */
  async register(model, spec) {
    if (typeof model?.id !== 'string' || model.id === '' || typeof model.generate !== 'function') {
      throw new ModelError(`A model needs an id and a generate() method; ${show(model)} was given`, 'INVALID_ARGUMENT', { option: 'model', given: model });
    }
    const replaced = this.models.get(model.id);
    if (!replaced) await this.makeRoom();
    this.models.delete(model.id);
    this.models.set(model.id, model);
    this.saved.delete(model.id);
    if (spec) this.#specs.set(model, { ...spec, id: model.id });
    if (replaced && replaced !== model) await this.#release(replaced);
    this.emit('registered', model);
    await this.#save();
    return model;
  }

  /** Takes a model out, frees it and forgets it; false when there is none of this id. */
  async unregister(id) {
    const known = this.saved.delete(id);
    const model = this.models.get(id);
    if (model) await this.#takeOut(model);
    if (model || known) await this.#save();
    return model !== undefined || known;
  }

  /** Frees a model, which is loaded again when it is asked for if the file lists it. */
  async evict(model) {
    const spec = this.#specs.get(model);
    if (spec && this.config.registryPath !== undefined) this.saved.set(model.id, spec);
    await this.#takeOut(model);
  }

  /** Evicts idle models, the least recently used first, until one more may be registered. */
  async makeRoom() {
    while (this.models.size >= this.config.maxModels) {
      const idle = this.idle()[0];
      if (!idle) {
        throw new ModelError(`${this.models.size} models are loaded and busy, as many as maxModels allows: unload one, or raise maxModels`, 'TOO_MANY_MODELS', {
          maxModels: this.config.maxModels,
        });
      }
      await this.evict(idle);
    }
  }

  /** Models that answer nothing now, the least recently used first. */
  idle() {
    const age = (model) => model.metrics?.lastUsed?.getTime() ?? 0;
    return this.getAll().filter((model) => !this.#isBusy(model)).sort((a, b) => age(a) - age(b));
  }

  get(id) {
    return this.models.get(id);
  }

  getAll() {
    return [...this.models.values()];
  }

  /** Plain data on every model: those that are loaded, then those that only the file lists. */
  list() {
    const rows = this.getAll().map((model) => ({ id: model.id, name: model.name ?? model.id, format: model.format, source: model.source, loaded: model.loaded !== false }));
    const saved = [...this.saved].map(([id, { name = id, type, format = type, source }]) => ({ id, name, format, source, loaded: false }));
    return [...rows, ...saved];
  }

  getAvailable() {
    return this.getAll().filter((model) => model.loaded !== false);
  }

  getByFormat(format) {
    return this.getAll().filter((model) => model.format === format);
  }

  getByCapability(capability) {
    return this.search({ capability });
  }

  /**
   * The models that meet every given part.
   * @param {{ name?: string | RegExp, format?: string, capability?: string, remote?: boolean }} query `name`: a regular expression, in
   *   whatever case, that the name or the id contains
   */
  search({ name, format, capability, remote } = {}) {
    const pattern = name === undefined ? undefined : new RegExp(name, 'i');
    const has = (model) => (typeof model.supports === 'function' ? model.supports(capability) : model.capabilities?.[capability]) === true;
    return this.getAll().filter((model) =>
      (!pattern || pattern.test(model.name ?? '') || pattern.test(model.id)) &&
      (format === undefined || model.format === format) &&
      (capability === undefined || has(model)) &&
      (remote === undefined || (model.remote === true) === remote));
  }

  getModelCount() {
    return this.models.size;
  }

  registerLoader(format, loader) {
    this.loaders.set(format, loader);
  }

  getLoader(format) {
    return this.loaders.get(format);
  }

  /** Frees all models. The file keeps its list. */
  async cleanup() {
    await Promise.all(this.getAll().map((model) => this.#takeOut(model)));
    this.saved.clear();
    await this.#writing;
  }

  async #takeOut(model) {
    this.models.delete(model.id);
    await this.#release(model);
    this.emit('unregistered', model);
  }

  /** Models of other loaders may have no way to be freed. */
  async #release(model) {
    await (model.unload ?? model.cleanup)?.call(model);
  }

  /** Writes come one after the other, each with the list as it is then. */
  async #save() {
    const { registryPath } = this.config;
    if (registryPath === undefined) return;
    this.#writing = this.#writing.then(() => {
      const loaded = this.getAll().map((model) => this.#specs.get(model)).filter(Boolean);
      return writeSaved(registryPath, [...loaded, ...this.saved.values()]);
    });
    await this.#writing;
  }
}

export { ModelRegistry as Registry };
export default ModelRegistry;
