// The guide's second entry point: loads models with the native engine.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { convert } from '../lib/convert.js';
import { Engines } from '../lib/engines.js';
import { AbortError, awaitNative, callNative, ModelError } from '../lib/errors.js';
import { cancellable, downloadModel, hubSettings, isOffline } from '../lib/hub.js';
import { KNOWN_MODELS } from '../lib/known-models.js';
import { BitNetModel, pick, SAMPLING_OPTIONS } from '../lib/model.js';
import { isNativeAvailable, native } from '../lib/native.js';
import { QUANT_TYPES, readOptions, warnOfLimits } from '../lib/options.js';
import { bitnetDirs, convertedModels, DEMO_MODEL, huggingFaceCache, PACKAGE_ROOT } from '../lib/paths.js';
import { loadSpec, resolveFormat } from '../lib/source.js';
import { withKernel } from '../lib/tuned.js';
import { BaseLoader } from './BaseLoader.js';

/** The last segment of a path or id, without the extension of a file. */
const nameOf = (source) => source.split(/[\\/]/).filter(Boolean).pop()?.replace(/\.(gguf|safetensors)$/i, '') ?? 'model';

/** Loading errors begin with the words that callers of the guide know; refused options speak for themselves. */
function loadingError(error) {
  if (!(error instanceof ModelError) || error instanceof AbortError || error.code.startsWith('INVALID_')) return error;
  return new ModelError(`Failed to load BitNet model: ${error.message}`, error.code, error.details, { cause: error.cause ?? error });
}

/** Loads ternary and ordinary models, each independent of the others; generate() and stream() use the one loaded last. */
export class BitNetLoader extends BaseLoader {
  #router;
  #engines = new Engines((key, request, onProgress) => this.#open(key, request, onProgress), (key) => this.#router.unload(key));
  supportedFormats = ['.gguf', 'bitnet', 'gguf'];
  supportedQuantTypes = [...QUANT_TYPES];
  process = null;
  isReady = false;

  /** @param {{ bitnetPath?: string, cacheDir?: string, autoBuild?: boolean, offline?: boolean }} [options] */
  constructor(options = {}) {
    const config = readOptions(options, 'loader');
    super(config);
    this.bitnetPath = config.bitnetPath ?? bitnetDirs().find((dir) => existsSync(dir)) ?? path.join(PACKAGE_ROOT, 'temp', 'bitnet-repo');
    this.buildDir = path.join(this.bitnetPath, 'build');
    this.modelDir = path.join(this.bitnetPath, 'models');
  }

  /** The ids that the guide names; fresh arrays. */
  static async listAvailableModels() {
    const ids = (isOfficial) => KNOWN_MODELS.filter((model) => model.isOfficial === isOfficial).map(({ id }) => id);
    return { official: ids(true), community: ids(false) };
  }

  /**
   * Loads a model from a file, a folder or an id.
   * @param {string | object} source also as `source` of one options object
   * @param {object} [options]
   * @param {{ maxBytes?: number }} [limits] of a router that minds its memory
   * @returns {Promise<BitNetModel>}
   */
  async load(source, options, limits = {}) {
    try {
      return await this.#load(loadSpec(source, options), limits);
    } catch (error) {
      throw loadingError(error);
    }
  }

  #load(spec, limits) {
    return withKernel(spec.isa, (isa) => this.#loadWith({ ...spec, isa }, limits));
  }

  async #loadWith(spec, { maxBytes }) {
    const startedAt = performance.now();
    const given = readOptions({ ...spec, source: resolveFormat(spec).source }, 'load');
    if (given.source === undefined) throw new ModelError('Option source is missing: name a file, a folder or a model id', 'INVALID_ARGUMENT', { option: 'source' });
    await this.#ensureEngine(given.autoBuild ?? this.config.autoBuild);
    const name = given.name ?? nameOf(given.source);
    const id = given.id ?? `${name}-${randomBytes(4).toString('hex')}`;
    const mayDownload = !(given.offline ?? this.config.offline ?? isOffline());
    const hub = mayDownload ? hubSettings() : undefined;
    const held = await this.#engines.acquire(this.#requestOf(given), { maxBytes, hub, onProgress: given.onProgress, signal: given.signal });
    try {
      if (given.selfTest !== false) await awaitNative(() => held.engine.selfTest(given.selfTest === true));
      this.model = this.#modelOf(held, given, { id, name, startedAt });
    } catch (error) {
      await held.release();
      throw error;
    }
    this.loaded = true;
    return this.model;
  }

  #modelOf({ key, engine, release }, given, { id, name, startedAt }) {
    const info = callNative(() => engine.info());
    warnOfLimits(given, info);
    const config = { path: info.path, threads: info.threads, contextSize: info.contextSize, gpuLayers: 0, ...pick(given, SAMPLING_OPTIONS) };
    const { quantType, conversation = false } = given;
    const about = { key, id, name, source: given.source, path: info.path, quantType, conversation, config, loadTime: performance.now() - startedAt };
    return new BitNetModel(engine, about, release);
  }

  /** What the native half has to know, and what tells one model from another: sampling is not part of it, as every call brings its own. */
  #requestOf({ source, revision, quantType, threads, contextSize, isa, head, i2sLayout, kernelConfig, speculation, cacheDir = this.config.cacheDir }) {
    return {
      source, revision, quantType, threads, contextSize, isa, head, i2sLayout, kernelConfig, speculation,
      converted: convertedModels(cacheDir),
      search: { bitnetDirs: bitnetDirs(this.config.bitnetPath), hfCache: huggingFaceCache(), demo: DEMO_MODEL },
    };
  }

  async #open(key, request, { maxBytes, hub, ...call }) {
    this.#router ??= callNative(() => new (native().NativeRouter)());
    const discard = () => this.#router.unload(key).catch(() => {});
    const load = (cancel, report) => this.#router.load({ ...request, id: key, maxBytes, hub, sampling: {} }, cancel, report);
    return cancellable(call, load, discard);
  }

  /** Limits what keys and values of all its models take together, in bytes; a router that minds its memory says so. */
  limitCaches(bytes) {
    this.#router?.limitKv(bytes);
  }

  async generate(prompt, options) {
    const model = this.requireModel();
    const result = await model.generate(prompt, options);
    return { ...result, raw: result.text, config: model.config };
  }

  async unload() {
    if (!this.model) return;
    await super.unload();
    this.emit('unloaded');
  }

  async getModelInfo() {
    const { path: file, config, quantization } = this.requireModel('Model not loaded');
    return { type: 'bitnet', format: 'gguf', quantization, path: file, config };
  }

  getCapabilities() {
    return { ...super.getCapabilities(), streaming: true, quantization: true };
  }

  /** True when models can be run: the native engine takes the place of an installed BitNet.cpp. */
  async checkBitNetInstallation() {
    this.isReady = isNativeAvailable();
    return this.isReady;
  }

  /** Where BitNet.cpp keeps its program; the native engine does not need it. */
  getCliPath() {
    if (process.platform !== 'win32') return path.join(this.buildDir, 'bin', 'llama-cli');
    const release = path.join(this.buildDir, 'bin', 'Release', 'llama-cli.exe');
    return existsSync(release) ? release : path.join(this.buildDir, 'bin', 'llama-cli.exe');
  }

  /** Builds the native engine when it is missing and this is a checkout; resolves at once when it is there. */
  async buildBitNet() {
    if (await this.checkBitNetInstallation()) return;
    const script = path.join(PACKAGE_ROOT, 'scripts', 'build.js');
    if (!existsSync(path.join(PACKAGE_ROOT, 'Cargo.toml')) || !existsSync(script)) native();
    const code = await new Promise((resolve, reject) => {
      spawn(process.execPath, [script], { stdio: ['ignore', 2, 2] }).once('error', reject).once('exit', resolve);
    });
    if (code !== 0) throw new ModelError(`BitNet build failed with code ${code}`, 'NATIVE_BINDING_MISSING', { code });
    this.isReady = true;
  }

  async #ensureEngine(autoBuild) {
    if (await this.checkBitNetInstallation()) return;
    if (autoBuild === false) {
      throw new ModelError('BitNet.cpp not installed. Run build first or set autoBuild: true', 'NATIVE_BINDING_MISSING');
    }
    if (autoBuild === true) await this.buildBitNet();
    native();
  }

  /**
   * Path of a model: the file in a BitNet folder where it is there, else the model in the Hugging Face cache, which gets what it lacks.
   * @param {string} modelId `owner/name`, or `owner/name/file.gguf`
   * @param {string} [quantType]
   * @param {{ revision?: string, signal?: AbortSignal, onProgress?: (progress: object) => void }} [options]
   */
  async downloadModel(modelId, quantType = 'i2_s', options) {
    const given = readOptions(options, 'download');
    const file = path.join('models', nameOf(modelId), `ggml-model-${quantType}.gguf`);
    const places = bitnetDirs(this.config.bitnetPath).map((dir) => path.join(dir, file));
    const found = given.revision === undefined ? places.find((place) => existsSync(place)) : undefined;
    if (found) return found;
    try {
      if (this.config.offline ?? isOffline()) throw new ModelError(`${modelId} is not at ${places[0]}, and downloads are off`, 'DOWNLOAD_FAILED');
      const { path: place } = await downloadModel(modelId, { ...given, quantType });
      return place;
    } catch (error) {
      if (!(error instanceof ModelError) || error instanceof AbortError) throw error;
      throw new ModelError(`Failed to download model: ${error.message}`, error.code, { modelId, ...error.details }, { cause: error.cause ?? error });
    }
  }

  /** `convert()` by the name that it had. load() takes Hugging Face folders as they are, so that it is seldom needed. */
  async convertModel(modelPath, outputPath, quantType = 'i2_s') {
    try {
      return (await convert(modelPath, outputPath, { type: quantType })).path;
    } catch (error) {
      throw new ModelError(`Failed to convert model: ${error.message}`, error.code, { modelPath, outputPath, quantType }, { cause: error });
    }
  }
}

export default BitNetLoader;
