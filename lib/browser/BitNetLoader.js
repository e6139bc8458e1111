// Loads models with the engine in a web worker: takes the place of loaders/BitNetLoader.js in a browser.
import { AbortError, awaitNative, callNative, ModelError } from '../errors.js';
import { BitNetModel, pick, SAMPLING_OPTIONS } from '../model.js';
import { readFlags, readOptions, warnOfLimits } from '../options.js';
import { checkChat, checkIds, checkText, toJson } from '../prompt.js';
import { show } from '../show.js';
import { loadSpec, resolveFormat } from '../source.js';
import { BaseLoader } from '../../loaders/BaseLoader.js';
import { openEngine } from './native.js';

const HUB = 'https://huggingface.co';
/** Beside browser/, where the bundle of this lies. */
const DEMO = new URL('../demo/bitnet-demo/', import.meta.url).href;

/** What a module can address. */
const MODULE_BYTES = 2 ** 32;

/** Options that have no meaning where models come by an address. */
const NOT_HERE = {
  bitnetPath: 'pages have no folders',
  autoBuild: 'the engine is part of the package',
  quantType: 'name the file that you want',
  cacheDir: 'nothing is converted here',
  i2sLayout: 'convert a file of ARM\'s block order with convert() first',
  kernelConfig: 'convert the file with convert() first',
};

function refuseWhatIsNotHere(given) {
  for (const [option, reason] of Object.entries(NOT_HERE)) {
    if (given[option] !== undefined) throw new ModelError(`Option ${option} cannot be used in a browser: ${reason}`, 'INVALID_ARGUMENT', { option });
  }
  return given;
}

const isBlob = (value) => value instanceof Blob;

const HUB_ID = /^[\w-][\w.-]*\/[\w-][\w.-]*$/;

/** What the worker fetches: a file or folder by its address, files that the user has chosen, `demo`, or a Hugging Face id. */
function place(source, revision) {
  const isOnHub = typeof source === 'string' && HUB_ID.test(source);
  if (revision !== undefined && !isOnHub) {
    throw new ModelError(`Option revision is for models of the hub (owner/name); ${show(source)} is none`, 'INVALID_ARGUMENT', { option: 'revision' });
  }
  if (isBlob(source)) return { blobs: [source] };
  if (Array.isArray(source) && source.length > 0 && source.every(isBlob)) return { blobs: source };
  if (typeof source !== 'string' || source === '') {
    throw new ModelError(`Option source is an address, a model id, "demo", a File or an array of Files; ${show(source)} was given`, 'INVALID_ARGUMENT', { option: 'source' });
  }
  if (source === 'demo') return { url: DEMO };
  if (isOnHub) return { url: `${HUB}/${source}/resolve/${encodeURIComponent(revision ?? 'main')}/` };
  return { url: new URL(source, document.baseURI).href };
}

const nameOf = (source) => (typeof source === 'string' ? source.split('/').filter(Boolean).pop()?.replace(/\.gguf$/i, '') : source.name) ?? 'model';

/** A model whose engine is asked by message: what the addon answers at once comes as a promise. */
class BrowserModel extends BitNetModel {
  #native;

  constructor(native, about, onUnload) {
    super(native, about, onUnload);
    this.#native = native;
  }

  get #engine() {
    this.info(); // throws once it is unloaded
    return this.#native;
  }

  async tokenize(text, options) {
    const { addSpecial } = readFlags(options, { addSpecial: true }, 'tokenize()');
    return awaitNative(() => this.#engine.tokenize(checkText(text, 'text'), addSpecial));
  }

  async detokenize(ids, options) {
    const { skipSpecial } = readFlags(options, { skipSpecial: true }, 'detokenize()');
    return awaitNative(() => this.#engine.detokenize(checkIds(ids), skipSpecial));
  }

  async applyChatTemplate(messages, { addGenerationPrompt: wanted, ...kwargs } = {}) {
    const { addGenerationPrompt } = readFlags({ addGenerationPrompt: wanted }, { addGenerationPrompt: true }, 'applyChatTemplate()');
    const [chat, variables] = [toJson(checkChat(messages), 'messages'), toJson(kwargs, 'kwargs')];
    return awaitNative(() => this.#engine.applyChatTemplate(chat, addGenerationPrompt, variables));
  }
}

export class BitNetLoader extends BaseLoader {
  supportedFormats = ['.gguf', 'bitnet', 'gguf'];
  #loads = 0;

  constructor(options) {
    super(refuseWhatIsNotHere(readOptions(options, 'loader')));
  }

  async load(source, options, { maxBytes } = {}) {
    const startedAt = performance.now();
    const spec = isBlob(source) || Array.isArray(source) ? { ...options, source } : loadSpec(source, options);
    const given = readOptions({ ...spec, source: 'checked below' }, 'load');
    refuseWhatIsNotHere(given);
    if (given.threads > 1) throw new ModelError('Option threads: in a browser a model computes on one thread', 'INVALID_ARGUMENT', { option: 'threads' });
    const asked = isBlob(spec.source) || Array.isArray(spec.source) ? spec.source : resolveFormat(spec).source;
    const engine = await this.#open(place(asked, given.revision), given, maxBytes);
    try {
      if (given.selfTest !== false) await awaitNative(() => engine.selfTest(given.selfTest === true));
    } catch (error) {
      await engine.close();
      throw error;
    }
    this.model = this.#modelOf(engine, given, asked, startedAt);
    this.loaded = true;
    return this.model;
  }

  async #open(from, given, maxBytes) {
    const engineOptions = { ...pick(given, ['contextSize', 'isa', 'head', 'speculation']), maxBytes: Math.min(maxBytes ?? MODULE_BYTES, MODULE_BYTES) };
    try {
      return await awaitNative(() => openEngine(from, engineOptions, { ...pick(given, ['onProgress', 'signal']), offline: given.offline ?? this.config.offline }));
    } catch (error) {
      if (given.signal?.aborted) throw new AbortError(given.signal.reason);
      throw error;
    }
  }

  #modelOf(engine, given, source, startedAt) {
    const info = callNative(() => engine.info());
    warnOfLimits(given, info);
    this.#loads += 1;
    const name = given.name ?? nameOf(source);
    const id = given.id ?? `${name}-${crypto.randomUUID().slice(0, 8)}`;
    const config = { path: info.path, threads: info.threads, contextSize: info.contextSize, gpuLayers: 0, ...pick(given, SAMPLING_OPTIONS) };
    const about = { key: `${id}#${this.#loads}`, id, name, source: info.path, path: info.path, conversation: given.conversation ?? false, toolStyle: engine.toolStyle, config, loadTime: performance.now() - startedAt };
    return new BrowserModel(engine, about, () => engine.close());
  }

  async generate(prompt, options) {
    const model = this.requireModel();
    const result = await model.generate(prompt, options);
    return { ...result, raw: result.text, config: model.config };
  }

  getCapabilities() {
    return { ...super.getCapabilities(), streaming: true, quantization: true };
  }
}

export default BitNetLoader;
