// What `load()` was given: a source, and the loader that it belongs to.
import { ModelError } from './errors.js';
import { show } from './show.js';

/** Prefix of a source -> loader; the prefix is not part of the source. `C:\x` is a path, so one letter is no prefix. */
const PREFIXES = { bitnet: 'bitnet', local: 'bitnet', file: 'bitnet', hf: 'bitnet', huggingface: 'bitnet', mock: 'mock', openai: 'openai', ollama: 'ollama' };

/** Types that name a file format which the native engine reads by itself. */
const NATIVE_TYPES = new Set(['bitnet', 'gguf', 'safetensors', 'huggingface', 'hf', 'local', 'auto', 'auto-detect']);

/** Extensions of formats that no loader of this package reads: without a loader of that name they are refused by name. */
const FOREIGN = { onnx: 'onnx', pt: 'pytorch', pth: 'pytorch', pb: 'tensorflow', ggml: 'ggml' };

/** Splits `bitnet:org/name` into its loader and its source. */
function splitPrefix(source) {
  const match = /^([a-z]{2,}):(\/\/)?(.+)$/i.exec(source);
  const loader = match && PREFIXES[match[1].toLowerCase()];
  if (!loader) return { source };
  const path = match[2] && match[1].toLowerCase() === 'file' ? match[3].replace(/^localhost(?=\/)/, '') : match[3];
  return { loader, source: path };
}

/** One options object out of the two call shapes `load(source, options)` and `load({ source, ... })`. */
export function loadSpec(source, options) {
  if (typeof source === 'string') {
    if (options?.source !== undefined && options.source !== source) {
      throw new ModelError(`load() was given two sources: ${show(source)} and, as an option, ${show(options.source)}`, 'INVALID_ARGUMENT', { option: 'source' });
    }
    return { ...options, source };
  }
  // A file that the user of a page has chosen; elsewhere it is refused as a source.
  if (source instanceof Blob) return { ...options, source };
  if (source !== null && typeof source === 'object' && !Array.isArray(source)) return { ...source, ...options };
  throw new ModelError(`load() takes a source or an options object; ${show(source)} was given`, 'INVALID_ARGUMENT', { option: 'source' });
}

/**
 * Chooses the loader of a spec: its format or type, then the prefix, then the extension; else the native engine, which reads
 * from the file what it is.
 * @returns {{ format: string, source: unknown }}
 */
export function resolveFormat(spec) {
  const { loader, source } = typeof spec.source === 'string' ? splitPrefix(spec.source) : { source: spec.source };
  const named = [spec.format, spec.type].find((value) => typeof value === 'string' && !value.startsWith('auto'));
  if (named !== undefined) return { format: NATIVE_TYPES.has(named) ? 'bitnet' : named, source };
  const extension = typeof source === 'string' ? source.slice(source.lastIndexOf('.') + 1).toLowerCase() : '';
  return { format: loader ?? FOREIGN[extension] ?? 'bitnet', source };
}
