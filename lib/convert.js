// Model files into other model files, and what is in them.
import { existsSync } from 'node:fs';
import { listModels } from './cache.js';
import { awaitNative, callNative, ModelError } from './errors.js';
import { cancellable } from './hub.js';
import { native } from './native.js';
import { readOptions } from './options.js';
import { DEMO_MODEL } from './paths.js';
import { measurePerplexity } from './perplexity.js';
import { isUrl, pageOf, withHeaders } from './remote-header.js';
import { show } from './show.js';
import { withKernel } from './tuned.js';

function checkPath(value, name) {
  if (typeof value === 'string' && value !== '') return value;
  throw new ModelError(`Invalid ${name}: ${show(value)} was given, a path is allowed`, 'INVALID_ARGUMENT', { option: name, given: value });
}

const looksLikeId = (place) => /^[\w.-]+\/[\w.-]+$/.test(place);

/** Where the model lies that `value` names: its path, or as for load() the demo model or the id of one that is on this machine. */
async function placeOf(value, name) {
  const place = checkPath(value, name);
  if (place === 'demo') return DEMO_MODEL;
  if (isUrl(place) || existsSync(place)) return place;
  const held = (await listModels()).find(({ id, complete }) => id === place && complete);
  return held?.path ?? place;
}

/** The same of a model that is to be read whole. */
async function modelAt(value, name) {
  const place = await placeOf(value, name);
  if (!looksLikeId(place) || existsSync(place)) return place;
  throw new ModelError(`\`${place}\` is neither a file or folder nor a model on this machine. If it is an id, fetch it first: llm-router pull ${place}`, 'MODEL_NOT_FOUND', { path: place });
}

/**
 * Converts the model at `input` to a file or folder at `output`, where nothing may lie yet.
 * @param {string} input file, folder, `demo` or the id of a model on this machine
 * @param {string} output
 * @param {import('../index.js').ConvertOptions} [options]
 * @returns {Promise<import('../index.js').ConvertedModel>}
 */
export async function convert(input, output, options) {
  const { type: outputType, signal, onProgress, ...rest } = readOptions(options, 'convert');
  const call = { input: await modelAt(input, 'input'), output: checkPath(output, 'output'), outputType, ...rest };
  const startedAt = performance.now();
  const { outputType: type, ...converted } = await cancellable({ signal, onProgress }, (cancel, report) => native().convertModel(call, cancel, report));
  return { ...converted, type, seconds: (performance.now() - startedAt) / 1000 };
}

/**
 * Tells what a model file holds, without loading it; of one on a server, without fetching its weights.
 * @param {string} path file, folder, URL, `demo` or an id
 * @param {{ contextSize?: number, signal?: AbortSignal }} [options]
 * @returns {Promise<import('../index.js').Inspection>}
 */
export async function inspect(path, options) {
  const { contextSize, signal } = readOptions(options, 'inspect');
  const engine = callNative(native);
  const look = async (place) => JSON.parse(await withKernel(undefined, (isa) => awaitNative(() => engine.inspectModel(place, contextSize, isa))));
  const place = await placeOf(path, 'path');
  const from = async (url) => ({ ...(await withHeaders(url, look, signal)), path: place });
  if (isUrl(place)) return from(place);
  if (!looksLikeId(place) || existsSync(place)) return look(place);
  try {
    return await from(pageOf(place));
  } catch (error) {
    if (!['DOWNLOAD_FAILED', 'MODEL_NOT_FOUND'].includes(error.code)) throw error;
    throw new ModelError(`\`${place}\` is neither a file or folder nor a model on this machine, and as an id: ${error.message}`, error.code, { path: place }, { cause: error });
  }
}

/** Sentences of the kinds that models see, for logits that are to be compared. */
const SAMPLE = `The sun rises in the east and sets in the west. Water boils at one hundred degrees Celsius, or 212 °F.
def add(a, b): return a + b  # the sum
"¿Qué hora es?" – "Es la una." There are seven days in a week, and 31 of them in five.`;

/** The largest difference of the logits of two models over the tokens of a text, and where their likeliest tokens are the same. */
async function compareLogits(sources, text, signal) {
  const { LLMRouter } = await import('./llm-router.js');
  const router = new LLMRouter();
  try {
    const rows = [];
    let tokens;
    for (const source of sources) {
      const model = await router.load({ ...source, signal });
      const ids = model.tokenize(text).slice(0, 256);
      if (tokens !== undefined && tokens.join() !== ids.join()) return { tokens: ids.length, largest: Infinity, sameTop: 0, sameTokens: false };
      tokens = ids;
      rows.push(await model.forward(ids, { all: true }));
      await router.unload(model.id);
    }
    const [a, b] = rows;
    const width = a.length / tokens.length;
    if (a.length !== b.length) return { tokens: tokens.length, largest: Infinity, sameTop: 0, sameTokens: true };
    let largest = 0;
    let sameTop = 0;
    for (let row = 0; row < tokens.length; row += 1) {
      let [topA, topB] = [row * width, row * width];
      for (let at = row * width; at < (row + 1) * width; at += 1) {
        largest = Math.max(largest, Math.abs(a[at] - b[at]));
        if (a[at] > a[topA]) topA = at;
        if (b[at] > b[topB]) topB = at;
      }
      if (topA === topB) sameTop += 1;
    }
    return { tokens: tokens.length, largest, sameTop, sameTokens: true };
  } finally {
    await router.cleanup();
  }
}

/**
 * Tells whether two model files hold the same weights, and how far their logits over a text are apart.
 * @param {string} first file or folder
 * @param {string} second
 * @param {import('../index.js').VerifyOptions} [options]
 * @returns {Promise<import('../index.js').Verification>}
 */
export async function verify(first, second, options) {
  const { text = SAMPLE, logits: wanted = true, signal, onProgress, ...reading } = readOptions(options, 'verify');
  const call = { first: await modelAt(first, 'first'), second: await modelAt(second, 'second'), ...reading };
  const found = JSON.parse(await cancellable({ signal, onProgress }, (cancel, report) => native().compareModels(call, cancel, report)));
  const { kernelConfig, firstI2sLayout, secondI2sLayout } = reading;
  const sources = [{ source: call.first, i2sLayout: firstI2sLayout, kernelConfig }, { source: call.second, i2sLayout: secondI2sLayout, kernelConfig }];
  const logits = wanted ? await compareLogits(sources, text, signal) : undefined;
  return { same: found.differences.length === 0 && (logits?.largest ?? 0) === 0, ...found, ...(logits && { logits }) };
}

/**
 * Rounds full-precision weights to ternary ones and measures what that does. A model that was not trained for it is refused without `force`.
 * @param {string} input file or folder
 * @param {string} output
 * @param {import('../index.js').QuantizeOptions} [options]
 * @returns {Promise<import('../index.js').QuantizedModel>}
 */
export async function quantize(input, output, options) {
  const { force = false, text = SAMPLE, type: outputType, signal, onProgress, ...rest } = readOptions(options, 'quantize');
  const place = await modelAt(input, 'input');
  const isTrained = (await inspect(place)).ternaryParameters > 0;
  if (!isTrained && !force) {
    throw new ModelError(
      `${input} was not trained for ternary weights: rounding them would ruin it. \`force: true\` (--force) does so all the same and tells the damage`,
      'UNSUPPORTED_QUANT', { path: input },
    );
  }
  const before = await perplexityOf(place, text, signal);
  const call = { input: place, output: checkPath(output, 'output'), outputType, ternarize: true, ...rest };
  const { outputType: type, ...made } = await cancellable({ signal, onProgress }, (cancel, report) => native().convertModel(call, cancel, report));
  return { ...made, type, isTrained, before, after: await perplexityOf(output, text, signal) };
}

async function perplexityOf(source, text, signal) {
  const { LLMRouter } = await import('./llm-router.js');
  const router = new LLMRouter();
  try {
    return await measurePerplexity(await router.load(source, { signal }), text, { signal });
  } finally {
    await router.cleanup();
  }
}
