// Model files into other model files, and what is in them.
import { awaitNative, callNative, ModelError } from './errors.js';
import { cancellable } from './hub.js';
import { native } from './native.js';
import { readOptions, show } from './options.js';

function checkPath(value, name) {
  if (typeof value === 'string' && value !== '') return value;
  throw new ModelError(`Invalid ${name}: ${show(value)} was given, a path is allowed`, 'INVALID_ARGUMENT', { option: name, given: value });
}

/**
 * Converts the model at `input` to a file or folder at `output`, where nothing may lie yet.
 * @param {string} input file or folder
 * @param {string} output
 * @param {import('../index.js').ConvertOptions} [options]
 * @returns {Promise<import('../index.js').ConvertedModel>}
 */
export async function convert(input, output, options) {
  const { type: outputType, signal, onProgress, ...rest } = readOptions(options, 'convert');
  const call = { input: checkPath(input, 'input'), output: checkPath(output, 'output'), outputType, ...rest };
  const startedAt = performance.now();
  const { outputType: type, ...converted } = await cancellable({ signal, onProgress }, (cancel, report) => native().convertModel(call, cancel, report));
  return { ...converted, type, seconds: (performance.now() - startedAt) / 1000 };
}

/**
 * Tells what a model file holds, without loading it.
 * @param {string} path file or folder
 * @param {{ contextSize?: number }} [options]
 * @returns {Promise<import('../index.js').Inspection>}
 */
export async function inspect(path, options) {
  const { contextSize } = readOptions(options, 'inspect');
  const engine = callNative(native);
  return JSON.parse(await awaitNative(() => engine.inspectModel(checkPath(path, 'path'), contextSize)));
}
