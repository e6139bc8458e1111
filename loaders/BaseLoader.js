// What every loader has; a loader of your own needs only `load(spec)`.
import { EventEmitter } from 'node:events';
import { ModelError } from '../lib/errors.js';

export class BaseLoader extends EventEmitter {
  supportedFormats = [];
  loaded = false;
  model = null;

  constructor(config = {}) {
    super();
    this.config = config;
  }

  async load() {
    throw new ModelError(`${this.constructor.name} does not implement load()`, 'INTERNAL');
  }

  supportsFormat(format) {
    return this.supportedFormats.includes(format) || this.supportedFormats.includes(`.${format}`);
  }

  async validateSource() {
    return true;
  }

  getCapabilities() {
    return { streaming: false, quantization: false, gpu: false, formats: [...this.supportedFormats] };
  }

  /** The model that generate() and stream() of the loader use: the one loaded last. */
  requireModel(message = 'Model not loaded. Call load() first.') {
    if (!this.model?.loaded) throw new ModelError(message, 'MODEL_NOT_LOADED');
    return this.model;
  }

  /** The whole answer of the model that was loaded last. */
  async generate(prompt, options) {
    return this.requireModel().generate(prompt, options);
  }

  /** The same as it is made. */
  stream(prompt, options) {
    return this.requireModel().stream(prompt, options);
  }

  async unload() {
    const { model } = this;
    this.model = null;
    this.loaded = false;
    await model?.unload();
  }
}

export default BaseLoader;
