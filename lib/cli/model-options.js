// Flags of commands that load a model: which one, how it runs, how tokens are chosen.
import { ISAS, QUANT_TYPES } from '../options.js';
import { toNumber } from './arguments.js';

/** flag -> option of the API and what it holds; one table for parsing, help and the call. */
const TABLE = {
  'quant-type': { short: 't', option: 'quantType', for: 'load', value: 'TYPE', about: `which file of several, or what to convert to: ${QUANT_TYPES.join(', ')}; converted to tl1 on ARM64, to tl2 on x86-64 only` },
  revision: { option: 'revision', for: 'load', value: 'NAME', about: 'branch, tag or commit of a Hugging Face id' },
  offline: { option: 'offline', for: 'load', about: 'fetch nothing' },
  threads: { option: 'threads', for: 'load', value: 'N', isNumber: true, about: 'processor threads (default: the physical cores)' },
  'context-size': { short: 'c', option: 'contextSize', for: 'load', value: 'N', isNumber: true, about: 'most tokens of prompt and answer (default: what the model was made for)' },
  isa: { option: 'isa', for: 'load', value: 'NAME', about: `kernel: ${ISAS.join(', ')} (default: the best)` },
  'max-tokens': { short: 'n', option: 'maxTokens', for: 'call', value: 'N', isNumber: true, about: 'most tokens of an answer' },
  temperature: { option: 'temperature', for: 'call', value: 'X', isNumber: true, about: '0 always takes the likeliest token' },
  'top-k': { option: 'topK', for: 'call', value: 'N', isNumber: true, about: 'choose among the N likeliest tokens; 0: all' },
  'top-p': { option: 'topP', for: 'call', value: 'X', isNumber: true, about: 'choose among the likeliest tokens up to this probability' },
  'min-p': { option: 'minP', for: 'call', value: 'X', isNumber: true, about: 'leave out tokens below this share of the likeliest' },
  'repetition-penalty': { option: 'repetitionPenalty', for: 'call', value: 'X', isNumber: true, about: 'above 1 discourages repetition' },
  seed: { option: 'seed', for: 'call', value: 'N', isNumber: true, about: 'the same seed gives the same answer' },
};

const rows = Object.entries(TABLE);
const flags = (of) => Object.fromEntries(of.map(([flag, { short, value, about }]) => [flag, { type: value ? 'string' : 'boolean', short, value, about }]));

/** For parseArgs and the help. */
export const MODEL_FLAGS = flags(rows);

/** Those of loading alone. */
export const LOAD_FLAGS = flags(rows.filter(([, row]) => row.for === 'load'));

/** What was given of one kind, by the names of the API, which checks the values. */
export function optionsFor(kind, values) {
  const given = rows.filter(([flag, row]) => row.for === kind && values[flag] !== undefined);
  return Object.fromEntries(given.map(([flag, { option, isNumber }]) => [option, isNumber ? toNumber(flag, values[flag]) : values[flag]]));
}

/** Loads the model of a command, with a bar while files arrive and weights are packed. */
export async function loadModel(source, values, out, more = {}) {
  const { LLMRouter } = await import('../../index.js');
  const router = new LLMRouter();
  const model = await router.load(source, { ...optionsFor('load', values), ...more, onProgress: out.progress });
  out.endProgress();
  return { router, model };
}
