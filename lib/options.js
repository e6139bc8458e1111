// The one table of options. It drives validation, the hints in error messages and the test that every option acts.
import { ModelError } from './errors.js';
import { show } from './show.js';

/**
 * @typedef {object} Option
 * @property {string} name
 * @property {string[]} in     where it is taken: a key of CALLS below; what a model takes, the router takes as well
 * @property {'string'|'text'|'number'|'integer'|'boolean'|'function'|'strings'|'messages'|'signal'|'object'|'strategy'|'fallbacks'|'price'|'format'|'bias'|'tools'|'choice'} type
 * @property {number} [min]
 * @property {number} [max]
 * @property {boolean} [above]  the minimum itself is not allowed
 * @property {string[]} [values]
 * @property {string[]} [aliases]  other spellings; the first name given in an options object wins over them
 * @property {string} [retired]  accepted for old callers, has no effect, warns once with this reason
 * @property {string} about
 */

/** Packings of ternary weights: what files are asked for by, and converted to. */
export const QUANT_TYPES = ['i2_s', 'tl1', 'tl2', 'tq1_0', 'tq2_0', 'iq1_bn', 'iq2_bn', 'tiles'];

/** Instruction sets that have kernels; which of them a machine has, `doctor` and `info()` tell. */
export const ISAS = ['scalar', 'avx2', 'avxvnni', 'avx512vnni', 'avx512vbmi', 'neon', 'neondotprod', 'neoni8mm', 'simd128', 'relaxedsimd'];

/** @type {Option[]} */
export const OPTIONS = [
  // Where models come from
  { name: 'source', in: ['load', 'remote'], type: 'string', about: 'file, folder, model id, `demo` or `bitnet:<id>`' },
  { name: 'type', in: ['load', 'remote'], type: 'string', aliases: ['format'], about: 'loader: bitnet, gguf, mock or a registered one; read from the file when absent' },
  { name: 'quantType', in: ['load'], type: 'string', about: `which file of several, or what to convert to where there is none: ${QUANT_TYPES.join(', ')}; converted to tl1 on ARM64, to tl2 on x86_64 only` },
  { name: 'id', in: ['load', 'remote'], type: 'string', about: 'id of the model in the router; unique and made up when absent' },
  { name: 'name', in: ['load', 'remote'], type: 'string', about: 'name shown in results' },
  { name: 'bitnetPath', in: ['router', 'loader'], type: 'string', about: 'folder with models/<name>/, looked in first' },
  { name: 'autoBuild', in: ['loader', 'load'], type: 'boolean', about: 'build the native engine when it is missing (in a checkout)' },
  { name: 'cacheDir', in: ['load', 'router', 'loader'], type: 'string', about: 'folder for models that are converted to a quantType; llm-runner-router/converted in the cache folder of the user when absent' },
  { name: 'revision', in: ['load', 'download'], type: 'string', about: 'branch, tag or commit of a Hugging Face id' },
  { name: 'offline', in: ['load', 'router', 'loader'], type: 'boolean', about: 'fetch nothing: what is not on the disk is not found' },
  { name: 'onProgress', in: ['load', 'download', 'convert', 'quantize', 'verify'], type: 'function', about: 'called with { phase, loadedBytes, totalBytes, file } while the model is fetched, read or converted' },

  // Conversion
  { name: 'type', in: ['convert', 'quantize'], type: 'string', values: [...QUANT_TYPES, 'hf'], about: 'what the ternary weights become; i2_s in a .gguf, else a Hugging Face folder' },
  { name: 'text', in: ['verify', 'quantize'], type: 'string', about: 'text that the models are tried on; a few sentences when absent' },
  { name: 'force', in: ['quantize'], type: 'boolean', about: 'true: round a model that was not trained for it' },
  { name: 'logits', in: ['verify'], type: 'boolean', about: 'false: compare the weights only' },
  { name: 'embeddingType', in: ['convert', 'quantize'], type: 'string', values: ['f32', 'f16', 'bf16', 'q8_0', 'q6_k'], about: 'type of embedding and head; what they are when absent' },

  // Models behind an endpoint
  { name: 'baseURL', in: ['endpoint', 'remote'], type: 'string', about: 'address of an OpenAI-compatible API, up to and with /v1' },
  { name: 'apiKeyEnv', in: ['endpoint', 'remote'], type: 'string', about: 'environment variable that holds the key' },
  { name: 'extraBody', in: ['remote'], type: 'object', about: 'parameters of one server, sent with every request' },
  { name: 'idleTimeout', in: ['remote'], type: 'integer', min: 1, max: 2_147_483_647, about: 'ms without a byte after which a connection is given up' },
  { name: 'capabilities', in: ['remote'], type: 'object', about: '{ name: true }: what the model can do besides chat and streaming' },

  // The engine
  { name: 'threads', in: ['load', 'convert', 'quantize'], type: 'integer', min: 1, max: 256, aliases: ['num_thread'], about: 'CPU threads; physical cores when absent' },
  { name: 'contextSize', in: ['load', 'remote', 'inspect'], type: 'integer', min: 1, max: 16_777_216, aliases: ['num_ctx', 'contextLength'], about: 'most tokens of prompt and answer; the limit of the model when absent' },
  { name: 'isa', in: ['load'], type: 'string', values: ISAS, about: 'kernel to use; the best one when absent' },
  { name: 'head', in: ['load'], type: 'string', values: ['auto', 'full'], about: 'full: read the whole output head for every token, with no rounded copy to search the largest logits; the same text' },
  { name: 'i2sLayout', in: ['load', 'convert', 'quantize'], type: 'string', values: ['x86', 'arm', 'detect'], about: 'block order of I2_S tensors; what a file of ours says, else x86 when absent' },
  { name: 'outputI2sLayout', in: ['convert', 'quantize'], type: 'string', values: ['x86', 'arm'], about: 'block order of I2_S tensors that are written; x86 when absent' },
  { name: 'firstI2sLayout', in: ['verify'], type: 'string', values: ['x86', 'arm'], about: 'i2sLayout of the first model' },
  { name: 'secondI2sLayout', in: ['verify'], type: 'string', values: ['x86', 'arm'], about: 'i2sLayout of the second model' },
  { name: 'kernelConfig', in: ['load', 'convert', 'quantize', 'verify'], type: 'string', about: 'kernel_config.ini with the tile sizes of TL1 and TL2 tensors; the one beside the model when absent' },
  { name: 'gpuLayers', in: ['load'], type: 'integer', min: 0, max: 1_000_000, about: 'there is no GPU back-end: above 0 warns once and runs on the CPU' },
  { name: 'selfTest', in: ['load'], type: 'boolean', about: 'true: let the model write a few tokens to see that it is sound; false: no test at all' },
  { name: 'conversation', in: ['load'], type: 'boolean', about: 'keep the turns of the chat' },

  // Sampling: at load the default of the model, at generate for one call
  { name: 'temperature', in: ['load', 'remote', 'generate'], type: 'number', min: 0, max: 100, about: '0 is greedy' },
  { name: 'topK', in: ['load', 'generate'], type: 'integer', min: 0, max: 16_777_216, aliases: ['top_k', 'topKSampling'], about: 'keep the k most likely tokens; 0 is off' },
  { name: 'topP', in: ['load', 'remote', 'generate'], type: 'number', min: 0, max: 1, above: true, aliases: ['top_p', 'topPSampling'], about: 'keep the likeliest tokens up to this probability; 1 is off' },
  { name: 'minP', in: ['load', 'generate'], type: 'number', min: 0, max: 1, aliases: ['min_p', 'minPSampling'], about: 'drop tokens below this share of the best one; 0 is off' },
  { name: 'repetitionPenalty', in: ['load', 'generate'], type: 'number', min: 0.01, max: 10, aliases: ['repeatPenalty', 'repeat_penalty', 'repetition_penalty'], about: 'above 1 discourages repetition' },
  { name: 'frequencyPenalty', in: ['load', 'remote', 'generate'], type: 'number', min: -2, max: 2, aliases: ['frequency_penalty'], about: 'taken off a logit for each occurrence' },
  { name: 'presencePenalty', in: ['load', 'remote', 'generate'], type: 'number', min: -2, max: 2, aliases: ['presence_penalty'], about: 'taken off a logit that occurred' },
  { name: 'seed', in: ['load', 'remote', 'generate'], type: 'integer', min: 0, max: Number.MAX_SAFE_INTEGER, about: 'same seed, same tokens; random when absent' },
  { name: 'maxTokens', in: ['generate'], type: 'integer', min: 1, max: 16_777_216, aliases: ['max_tokens', 'maxOutputTokens', 'max_completion_tokens', 'num_predict'], about: 'most tokens of the answer' },
  { name: 'speculation', in: ['load', 'generate'], type: 'string', values: ['auto', 'off'], about: 'guess ahead where the text repeats itself: the same text, sooner' },

  // One call
  { name: 'modelId', in: ['route'], type: 'string', aliases: ['model'], about: 'which model answers; the strategy chooses when absent' },
  { name: 'stop', in: ['generate'], type: 'strings', aliases: ['stopStrings', 'stopSequences', 'customStopTriggers'], about: 'text that ends the answer; not part of it' },
  { name: 'ignoreEos', in: ['generate'], type: 'boolean', about: 'go on after the end-of-text token' },
  { name: 'raw', in: ['generate'], type: 'boolean', about: 'complete the text as it stands, without the chat template' },
  { name: 'messages', in: ['generate'], type: 'messages', about: 'the whole chat, in place of a prompt' },
  { name: 'systemPrompt', in: ['generate'], type: 'text', aliases: ['system'], about: 'system message before the prompt' },
  { name: 'template', in: ['generate'], type: 'text', about: 'text around the prompt, which stands for {prompt}' },
  { name: 'responseFormat', in: ['generate'], type: 'format', aliases: ['response_format', 'format'], about: 'form that the answer has: a JSON schema, any JSON object, a regular expression or a grammar' },
  { name: 'tools', in: ['generate'], type: 'tools', about: 'functions that the model may call: toolCalls of the result' },
  { name: 'toolChoice', in: ['generate'], type: 'choice', aliases: ['tool_choice'], about: 'auto, none, required, or the tool that must be called' },
  { name: 'logprobs', in: ['generate'], type: 'boolean', about: 'how probable the model held each token, in the result' },
  { name: 'topLogprobs', in: ['generate'], type: 'integer', min: 0, max: 20, aliases: ['top_logprobs'], about: 'the same of so many of the likeliest tokens besides' },
  { name: 'logitBias', in: ['generate'], type: 'bias', aliases: ['logit_bias'], about: '{ tokenId: bias }: added to logits, -100 to 100' },
  { name: 'n', in: ['generate'], type: 'integer', min: 1, max: 64, about: 'answers made side by side; choices of the result' },
  { name: 'echo', in: ['generate'], type: 'boolean', about: 'say the prompt again before the answer' },
  { name: 'contextOverflow', in: ['generate'], type: 'string', values: ['error', 'shift', 'truncate'], about: 'what to do when the context is full' },
  { name: 'cache', in: ['router', 'route'], type: 'boolean', about: 'answer a repeated call from the response cache' },
  { name: 'signal', in: ['generate', 'load', 'download', 'convert', 'quantize', 'inspect', 'verify', 'embed'], type: 'signal', aliases: ['abortSignal'], about: 'stops the call' },
  { name: 'energy', in: ['generate'], type: 'boolean', about: 'measure the energy of the call: usage.joules' },
  { name: 'onToken', in: ['generate'], type: 'function', aliases: ['onTextChunk'], about: 'called with each piece of text' },

  // The router
  { name: 'strategy', in: ['router', 'route'], type: 'strategy', aliases: ['routingStrategy'], about: 'how a model is chosen when a call names none: a name or a function' },
  { name: 'fallbacks', in: ['router', 'route'], type: 'fallbacks', about: 'models asked in turn when the chosen one fails before its first text' },
  { name: 'requirements', in: ['route'], type: 'object', about: '{ capabilities, maxSize, minContext, maxPrice, format, remote } that a model must meet' },
  { name: 'retries', in: ['router', 'route'], type: 'integer', min: 0, max: 10, aliases: ['maxRetries'], about: 'tries of one model after the first; 2 for models of other loaders, 0 for local ones' },
  { name: 'timeout', in: ['router', 'route'], type: 'integer', min: 1, max: 2_147_483_647, about: 'the call fails when it is not done after so many ms' },
  { name: 'priority', in: ['route'], type: 'integer', min: -1000, max: 1000, about: 'a waiting call of higher priority goes first' },
  { name: 'maxConcurrent', in: ['router'], type: 'integer', min: 1, max: 1_000_000, about: 'calls that one model answers at a time' },
  { name: 'maxQueue', in: ['router'], type: 'integer', min: 0, max: 1_000_000, about: 'calls that may wait for one model' },
  { name: 'breakerFailures', in: ['router'], type: 'integer', min: 0, max: 1_000_000, about: 'failures in a row after which a model is left alone; 0: never' },
  { name: 'breakerCooldown', in: ['router'], type: 'integer', min: 1, max: 2_147_483_647, about: 'ms for which it is left alone the first time' },
  { name: 'quality', in: ['register'], type: 'number', min: 0, max: 1, about: 'how good the answers are, for quality-first and balanced' },
  { name: 'price', in: ['register'], type: 'price', about: '{ input, output } per million tokens' },
  { name: 'maxModels', in: ['router'], type: 'integer', min: 1, max: 1_000_000, about: 'most models held; the least recently used one is unloaded' },
  { name: 'maxMemory', in: ['router'], type: 'integer', min: 1, max: Number.MAX_SAFE_INTEGER, about: 'bytes that all models together may take; four fifths of the machine when absent' },
  { name: 'registryPath', in: ['router'], type: 'string', about: 'file that keeps the list of models; they are loaded when they are asked for' },
  { name: 'method', in: ['ensemble'], type: 'string', values: ['weighted-vote', 'consensus', 'best-logprob'], about: 'how one answer is made of several' },
  { name: 'minAgreement', in: ['ensemble'], type: 'number', min: 0, max: 1, about: 'below this agreement there is no answer' },
  { name: 'cacheTTL', in: ['router'], type: 'integer', min: 0, max: Number.MAX_SAFE_INTEGER, about: 'lifetime of cached responses, ms' },
  { name: 'autoInit', in: ['router'], type: 'boolean', about: 'false: load() does not initialize by itself' },
  { name: 'logLevel', in: ['router'], type: 'string', retired: 'the package does not log', about: '' },
  { name: 'errorHandler', in: ['router'], type: 'object', retired: 'errors are thrown', about: '' },
  { name: 'database', in: ['router'], type: 'object', retired: 'there is no database', about: '' },
];

const CALLS = {
  router: 'new LLMRouter()',
  loader: 'new BitNetLoader()',
  load: 'load()',
  endpoint: 'new OpenAILoader()',
  remote: 'load() of a model behind an endpoint',
  download: 'downloadModel()',
  convert: 'convert()',
  inspect: 'inspect()',
  quantize: 'quantize()',
  verify: 'verify()',
  register: 'load() of a router',
  ensemble: 'ensemble()',
  generate: 'generate() and stream() of a model',
  embed: 'embed() of a model',
  route: 'generate() and stream() of a router',
};

/** name and aliases -> row, one map per place. */
const byPlace = Object.fromEntries(Object.keys(CALLS).map((place) => [place, new Map()]));
for (const row of OPTIONS) {
  const places = row.in.includes('generate') ? [...row.in, 'route'] : row.in;
  for (const place of places) for (const key of [row.name, ...(row.aliases ?? [])]) byPlace[place].set(key, row);
}

/** All names, aliases too, that `place` takes. */
export const optionNames = (place) => new Set(byPlace[place].keys());

const warned = new Set();

/** process.emitWarning, once per code in a process. */
export function warnOnce(message, code) {
  if (warned.has(code)) return;
  warned.add(code);
  process.emitWarning(message, { type: 'LLMRouterWarning', code });
}

/** Warns of what a model was loaded with and cannot have, but works without. */
export function warnOfLimits({ gpuLayers, contextSize }, info) {
  if (gpuLayers > 0) {
    warnOnce(`gpuLayers ${gpuLayers} was asked for, but there is no GPU back-end: the model runs on the CPU`, 'LLM_ROUTER_NO_GPU');
  }
  if (contextSize > info.contextSize) {
    warnOnce(`contextSize ${contextSize} was asked for, but the model was made for ${info.contextLength} tokens: that is used`, 'LLM_ROUTER_CONTEXT_SIZE');
  }
}

/** Edit distance, for "did you mean". */
function distance(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length];
}

/** The known name nearest to `given`, if it is near at all. */
export function nearest(given, names) {
  const lower = given.toLowerCase();
  const ranked = [...names].map((name) => [distance(lower, name.toLowerCase()), name]).sort((x, y) => x[0] - y[0]);
  const limit = Math.max(2, Math.floor(given.length / 3));
  return ranked.length > 0 && ranked[0][0] <= limit ? ranked[0][1] : undefined;
}

/** What the row accepts, in words. */
export function allowed(row) {
  if (row.values) return `one of ${row.values.map((value) => JSON.stringify(value)).join(', ')}`;
  const kinds = {
    string: 'a non-empty string',
    text: 'a string',
    boolean: 'true or false',
    function: 'a function',
    strings: 'a string or an array of non-empty strings',
    messages: 'a non-empty array of { role, content }',
    signal: 'an AbortSignal',
    object: 'an object',
    strategy: 'a name or a function',
    fallbacks: 'an array of model ids, or true',
    price: '{ input, output } with numbers from 0',
    format: '{ type, ... }, or "json"',
    tools: 'an array of { type: "function", function: { name, description, parameters } }',
    choice: 'auto, none, required, or the name of a tool',
    bias: '{ tokenId: number from -100 to 100 }',
  };
  if (row.type in kinds) return kinds[row.type];
  const kind = row.type === 'integer' ? 'a whole number' : 'a number';
  return row.above ? `${kind} above ${row.min} and up to ${row.max}` : `${kind} from ${row.min} to ${row.max}`;
}

const isPrice = (value) => value !== null && typeof value === 'object' && Object.entries(value).every(([key, price]) => ['input', 'output'].includes(key) && typeof price === 'number' && price >= 0);

const isBias = (value) => typeof value === 'object' && Object.entries(value).every(([id, bias]) => /^\d+$/.test(id) && Number(id) < 2 ** 32 && typeof bias === 'number' && Math.abs(bias) <= 100);

const isText = (value) => typeof value === 'string' && value.length > 0;

function isNumber(row, value) {
  if (typeof value !== 'number' || !Number.isFinite(value)) return false;
  if (row.type === 'integer' && !Number.isInteger(value)) return false;
  return (row.above ? value > row.min : value >= row.min) && value <= row.max;
}

function accepts(row, value) {
  if (row.values) return row.values.includes(value);
  switch (row.type) {
    case 'string': return isText(value);
    case 'text': return typeof value === 'string';
    case 'boolean': return typeof value === 'boolean';
    case 'function': return typeof value === 'function';
    case 'strings': return isText(value) || (Array.isArray(value) && value.every(isText));
    case 'messages': return isMessages(value);
    case 'signal': return value instanceof AbortSignal;
    case 'object': return typeof value === 'object';
    case 'strategy': return isText(value) || typeof value === 'function';
    case 'fallbacks': return value === true || (Array.isArray(value) && value.every(isText));
    case 'price': return isPrice(value);
    case 'format': return typeof value === 'object' || typeof value === 'string';
    case 'choice': return isText(value) || typeof value === 'object';
    case 'tools': return Array.isArray(value);
    case 'bias': return isBias(value);
    default: return isNumber(row, value);
  }
}

/** True for an array of chat messages: objects with a role, and a content or calls of tools. */
export function isMessages(value) {
  const isMessage = (message) =>
    message !== null && typeof message === 'object' && isText(message.role) && ('content' in message || 'tool_calls' in message);
  return Array.isArray(value) && value.length > 0 && value.every(isMessage);
}

function unknownOption(key, place) {
  const elsewhere = Object.keys(CALLS).find((other) => byPlace[other].has(key));
  const hint = elsewhere ? `it is an option of ${CALLS[elsewhere]}` : undefined;
  const near = nearest(key, byPlace[place].keys());
  const names = [...new Set([...byPlace[place].values()].filter((row) => !row.retired).map((row) => row.name))];
  return new ModelError(
    `Unknown option "${key}" of ${CALLS[place]}${hint ? `: ${hint}` : near ? `: did you mean "${near}"?` : ''}` +
      ` Known options: ${names.join(', ')}`,
    'INVALID_OPTION',
    { option: key, nearest: near, known: names },
  );
}

function invalidValue(row, key, value) {
  const what = allowed(row);
  return new ModelError(`Invalid option ${key}: ${show(value)} was given, ${what} is allowed`, 'INVALID_ARGUMENT', {
    option: key,
    given: value,
    allowed: what,
  });
}

/**
 * Checks `given` against the table and returns a copy with canonical names. undefined and null mean "not given".
 * @param {unknown} given
 * @param {'router'|'loader'|'load'|'download'|'generate'|'route'} place
 */
export function readOptions(given, place) {
  if (given === undefined || given === null) return {};
  if (typeof given !== 'object' || Array.isArray(given)) {
    throw new ModelError(`The options of ${CALLS[place]} must be an object; ${show(given)} was given`, 'INVALID_ARGUMENT');
  }
  const options = {};
  for (const [key, value] of Object.entries(given)) {
    const row = byPlace[place].get(key);
    if (!row) throw unknownOption(key, place);
    if (value === undefined || value === null) continue;
    if (!accepts(row, value)) throw invalidValue(row, key, value);
    if (row.retired) {
      warnOnce(`Option "${key}" of ${CALLS[place]} has no effect: ${row.retired}`, `LLM_ROUTER_UNUSED_${key.toUpperCase()}`);
      continue;
    }
    if (row.name in options && key !== row.name) continue;
    options[row.name] = value;
  }
  return options;
}

/**
 * Parts the options of a call: those that only `place` takes, checked, and the rest as it stands.
 * @param {object | null | undefined} given
 * @param {'route' | 'ensemble'} place
 */
export function splitOptions(given, place) {
  const own = ([key]) => byPlace[place].get(key)?.in.includes(place) === true;
  const entries = Object.entries(given ?? {});
  return { route: readOptions(Object.fromEntries(entries.filter(own)), place), rest: Object.fromEntries(entries.filter((entry) => !own(entry))) };
}

/**
 * Options of a small method that are all true or false: a copy over the defaults.
 * @template {Record<string, boolean>} T
 * @param {unknown} given
 * @param {T} defaults
 * @param {string} call as the caller writes it
 * @returns {T}
 */
export function readFlags(given, defaults, call) {
  const flags = { ...defaults };
  for (const [key, value] of Object.entries(given ?? {})) {
    if (!(key in defaults)) {
      const names = Object.keys(defaults).join(', ');
      throw new ModelError(`Unknown option "${key}" of ${call}. Known options: ${names}`, 'INVALID_OPTION', { option: key, known: Object.keys(defaults) });
    }
    if (value === undefined || value === null) continue;
    if (typeof value !== 'boolean') throw invalidValue({ type: 'boolean' }, key, value);
    flags[key] = value;
  }
  return flags;
}
