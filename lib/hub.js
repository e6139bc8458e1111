// How models are fetched: the environment that Hugging Face tools read, and one call of the native half.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import tls from 'node:tls';
import { AbortError, awaitNative, callNative, ModelError } from './errors.js';
import { native } from './native.js';
import { environmentVariable, huggingFaceCache, huggingFaceHome } from './paths.js';

const isOn = (value) => /^(1|on|yes|true)$/i.test(value ?? '');

/** True when the environment forbids to fetch anything. */
export const isOffline = () => isOn(environmentVariable('HF_HUB_OFFLINE')) || isOn(environmentVariable('TRANSFORMERS_OFFLINE'));

/** The token of the environment, or of a login with the Hugging Face tools. */
function token() {
  if (isOn(environmentVariable('HF_HUB_DISABLE_IMPLICIT_TOKEN'))) return undefined;
  const given = environmentVariable('HF_TOKEN') ?? environmentVariable('HUGGING_FACE_HUB_TOKEN');
  if (given !== undefined) return given;
  try {
    return readFileSync(environmentVariable('HF_TOKEN_PATH') ?? path.join(huggingFaceHome(), 'token'), 'utf8').trim() || undefined;
  } catch {
    return undefined; // nobody has logged in
  }
}

/** As curl does: the lower case spelling first, and the variable of the scheme before the one for all. */
function proxy(endpoint) {
  const names = endpoint?.startsWith('http:') ? ['http_proxy', 'all_proxy'] : ['https_proxy', 'all_proxy'];
  return names.map((name) => environmentVariable(name) ?? environmentVariable(name.toUpperCase())).find(Boolean);
}

/**
 * The certificates that Node trusts, where they are others than those built in: a company's own, given by
 * NODE_EXTRA_CA_CERTS, or by SSL_CERT_FILE for OpenSSL's programs.
 */
function certificates() {
  const files = ['NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE', 'REQUESTS_CA_BUNDLE'].map(environmentVariable).filter(Boolean);
  if (files.length === 0) return undefined;
  const read = (file) => {
    try {
      return readFileSync(file, 'utf8');
    } catch (cause) {
      throw new ModelError(`The certificates of ${file} cannot be read: ${cause.message}`, 'IO_ERROR', { path: file }, { cause });
    }
  };
  return [...tls.rootCertificates, ...files.map(read)].join('\n');
}

/** Seconds, where the variable has some. */
const seconds = (name) => (Number(environmentVariable(name)) > 0 ? Number(environmentVariable(name)) : undefined);

/** What the native half has to know of the hub. */
export function hubSettings() {
  const endpoint = environmentVariable('HF_ENDPOINT');
  return {
    endpoint,
    token: token(),
    proxy: proxy(endpoint),
    noProxy: environmentVariable('no_proxy') ?? environmentVariable('NO_PROXY'),
    caCertificates: certificates(),
    connectSeconds: seconds('HF_HUB_ETAG_TIMEOUT'),
    stallSeconds: seconds('HF_HUB_DOWNLOAD_TIMEOUT'),
  };
}

/**
 * Runs `work(cancel, report)`, native work that can be stopped and that reports its progress.
 * An abort rejects at once; a callback that throws stops the work and fails with its error.
 * @template T
 * @param {{ signal?: AbortSignal, onProgress?: (progress: object) => void }} options
 * @param {(cancel: object, report?: (progress: object) => void) => Promise<T>} work
 * @param {(late: T) => void} [discard] takes what still comes after an abort
 * @returns {Promise<T>}
 */
export async function cancellable({ signal, onProgress }, work, discard = () => {}) {
  const stopped = () => new AbortError(signal.reason);
  if (signal?.aborted) throw stopped();
  const cancel = callNative(() => new (native().NativeCancel)());
  let thrown;
  const report = onProgress && ((progress) => {
    if (thrown || signal?.aborted) return;
    try {
      onProgress(progress);
    } catch (error) {
      thrown = { error };
      cancel.cancel();
    }
  });
  const running = awaitNative(() => work(cancel, report));
  const aborted = new Promise((_, reject) => {
    const onAbort = () => {
      cancel.cancel();
      running.then(discard, () => {});
      reject(stopped());
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    // `cancel` has to live as long as the work: its end would stop it.
    const forget = () => {
      signal?.removeEventListener('abort', onAbort);
      return cancel;
    };
    running.then(forget, forget);
  });
  const settled = running.then(
    (value) => {
      if (!thrown) return value;
      discard(value);
      throw thrown.error;
    },
    (error) => {
      throw thrown ? thrown.error : error;
    },
  );
  return Promise.race([settled, aborted]);
}

/**
 * Brings a model into the cache: what is missing of it, in its newest state.
 * @param {string} id
 * @param {{ revision?: string, quantType?: string, signal?: AbortSignal, onProgress?: (progress: object) => void }} [options]
 * @returns {Promise<{ path: string, commit: string, bytes: number, fetchedBytes: number }>}
 */
export async function downloadModel(id, { revision, quantType, ...options } = {}) {
  const call = { id, revision, quantType, hfCache: huggingFaceCache(), hub: hubSettings() };
  return cancellable(options, (cancel, report) => native().downloadModel(call, cancel, report));
}
