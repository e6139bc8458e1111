// Which models and which loaders a router has.
import { EventEmitter } from 'node:events';

/** Models by id and loaders by format; holds at most `maxModels`, the least recently used one goes first. */
export class ModelRegistry extends EventEmitter {
  models = new Map();
  loaders = new Map();

  /** @param {{ maxModels?: number }} [config] */
  constructor({ maxModels = 100 } = {}) {
    super();
    this.config = { maxModels };
  }

  /** Adds a model; one of the same id is replaced and unloaded. */
  async register(model) {
    const replaced = this.models.get(model.id);
    this.models.delete(model.id);
    while (this.models.size >= this.config.maxModels) await this.#evict();
    this.models.set(model.id, model);
    if (replaced && replaced !== model) await this.#release(replaced);
    this.emit('registered', model);
    return model;
  }

  /** Takes a model out and frees it; false when there is none of this id. */
  async unregister(id) {
    const model = this.models.get(id);
    if (!model) return false;
    this.models.delete(id);
    await this.#release(model);
    this.emit('unregistered', model);
    return true;
  }

  get(id) {
    return this.models.get(id);
  }

  getAll() {
    return [...this.models.values()];
  }

  getAvailable() {
    return this.getAll().filter((model) => model.loaded !== false);
  }

  getByFormat(format) {
    return this.getAll().filter((model) => model.format === format);
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

  async cleanup() {
    for (const id of [...this.models.keys()]) await this.unregister(id);
  }

  async #evict() {
    const age = (model) => model.metrics?.lastUsed?.getTime() ?? 0;
    const oldest = this.getAll().reduce((a, b) => (age(b) < age(a) ? b : a));
    await this.unregister(oldest.id);
  }

  /** Models of other loaders may have no way to be freed. */
  async #release(model) {
    await (model.unload ?? model.cleanup)?.call(model);
  }
}

export { ModelRegistry as Registry };
export default ModelRegistry;
