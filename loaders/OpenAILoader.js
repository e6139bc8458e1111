// Models behind OpenAI-compatible endpoints. Nothing is asked of the endpoint until a model is.
import { randomBytes } from 'node:crypto';
import { ModelError } from '../lib/errors.js';
import { readOptions } from '../lib/options.js';
import { environmentVariable } from '../lib/paths.js';
import { RemoteModel } from '../lib/remote/model.js';
import { loadSpec } from '../lib/source.js';
import { BaseLoader } from './BaseLoader.js';

const OPENAI = 'https://api.openai.com/v1';

/** Milliseconds without a byte after which a connection is given up: reading a long prompt on a CPU takes minutes. */
const IDLE_TIMEOUT = 300_000;

function checkURL(baseURL) {
  const url = URL.canParse(baseURL) ? new URL(baseURL) : undefined;
  if (url && /^https?:$/.test(url.protocol) && url.username === '' && url.password === '') return baseURL;
  throw new ModelError(`Invalid option baseURL: an http or https address without user and password is allowed, such as ${OPENAI}`, 'INVALID_ARGUMENT', {
    option: 'baseURL', allowed: 'an http or https address',
  });
}

export class OpenAILoader extends BaseLoader {
  name = 'OpenAILoader';
  format = 'openai';
  supportedFormats = ['openai', 'ollama'];

  /** @param {{ baseURL?: string, apiKeyEnv?: string }} [options] for loads that name none */
  constructor(options = {}) {
    super(readOptions(options, 'endpoint'));
  }

  /**
   * @param {string | object} source the model's name at the endpoint; also as `source` of one options object
   * @param {object} [options]
   * @returns {Promise<RemoteModel>}
   */
  async load(source, options) {
    const { type: _, ...given } = readOptions(loadSpec(source, options), 'remote');
    if (given.source === undefined) throw new ModelError('Option source is missing: name a model of the endpoint', 'INVALID_ARGUMENT', { option: 'source' });
    const id = given.id ?? `${given.source}-${randomBytes(4).toString('hex')}`;
    this.model = new RemoteModel({ idleTimeout: IDLE_TIMEOUT, ...given, ...this.#endpointOf(given), id });
    this.loaded = true;
    return this.model;
  }

  /** The key of OpenAI goes to OpenAI, or where OPENAI_BASE_URL says; any other endpoint gets the key that is named for it, or none. */
  #endpointOf(given) {
    const named = given.baseURL ?? this.config.baseURL;
    const baseURL = checkURL(named ?? environmentVariable('OPENAI_BASE_URL') ?? OPENAI);
    const apiKeyEnv = given.apiKeyEnv ?? (given.baseURL === undefined ? this.config.apiKeyEnv : undefined);
    return { baseURL, apiKeyEnv: apiKeyEnv ?? (named === undefined ? 'OPENAI_API_KEY' : undefined) };
  }

  getCapabilities() {
    return { ...super.getCapabilities(), streaming: true };
  }
}

export default OpenAILoader;
