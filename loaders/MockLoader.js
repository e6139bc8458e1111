// Answers with fixed sentences: for tests of programs that use the router, without a model and without the engine.
import { ModelError } from '../lib/errors.js';
import { loadSpec } from '../lib/source.js';
import { BaseLoader } from './BaseLoader.js';

const SENTENCES = [
  'This is a mock answer: no model was asked.',
  'The mock model says the same four things in turn.',
  'Load a real model to get a real answer.',
  'Mock models are for tests of the program around them.',
];

let made = 0;

class MockModel {
  #answers = 0;
  type = 'mock';
  format = 'mock';
  loaded = true;
  capabilities = { streaming: true, completion: true, chat: true, embedding: false };
  metrics = { inferenceCount: 0, avgLatency: 0, lastUsed: null };

  constructor({ source, id, name, ...config }) {
    made += 1;
    this.source = source;
    this.id = id ?? `mock-${made}`;
    this.name = name ?? this.id;
    this.config = config;
  }

  #next() {
    if (!this.loaded) throw new ModelError('Model not loaded', 'MODEL_NOT_LOADED', { modelId: this.id });
    return SENTENCES[this.#answers++ % SENTENCES.length];
  }

  async generate() {
    const text = this.#next();
    const tokens = text.split(' ').length;
    this.metrics.inferenceCount += 1;
    this.metrics.lastUsed = new Date();
    return { text, tokens, latency: 0, model: this.name, modelId: this.id, cached: false, finishReason: 'stop' };
  }

  infer(prompt, options) {
    return this.generate(prompt, options);
  }

  async *stream() {
    for (const word of this.#next().split(' ')) yield `${word} `;
  }

  supports(capability) {
    return this.capabilities[capability] === true;
  }

  async unload() {
    this.loaded = false;
  }

  async cleanup() {
    await this.unload();
  }

  toJSON() {
    const { id, name, format, source, loaded } = this;
    return { id, name, format, source, loaded };
  }
}

export class MockLoader extends BaseLoader {
  static extensions = ['.mock', '.test'];
  name = 'MockLoader';
  format = 'mock';
  supportedFormats = ['mock', ...MockLoader.extensions];
  models = new Map();

  async load(source, options) {
    return this.createModel(loadSpec(source, options));
  }

  createModel(data) {
    const model = new MockModel(data);
    this.models.set(model.id, model);
    this.model = model;
    this.loaded = true;
    return model;
  }

  canLoad(source) {
    const text = typeof source === 'string' ? source : String(source?.source ?? '');
    return text.startsWith('mock:') || MockLoader.extensions.some((extension) => text.endsWith(extension));
  }

  async unload(id = this.model?.id) {
    const model = this.models.get(id);
    this.models.delete(id);
    if (model && model === this.model) await super.unload();
    else await model?.unload();
    return model !== undefined;
  }

  getCapabilities() {
    return { ...super.getCapabilities(), streaming: true };
  }
}

export default MockLoader;
