// The command line of the benchmark.
import os from 'node:os';
import { parseArgs } from 'node:util';
import { SHAPES } from './shapes.js';

export const HELP = `npm run bench -- [options]                speed of a model on this machine, and the machine's limits
npm run bench -- --make SHAPE [--out DIR]  writes a synthetic model: ${Object.keys(SHAPES).join(', ')}

  --model M            path, id, demo, or a shape, which is made when it is not there (default: demo)
  --threads N[,M]      CPU threads (default: 1, 2, 4 ... up to all)
  --prefill P[,..]     prompt lengths; 0: none (default: 128,512,2048)
  --context C[,..]     tokens in the context before decoding (default: 0,2048,4096)
  --decode D           tokens decoded; 0: none (default: 128)
  --batch B[,..]       calls at a time (default: 1)
  --repeat R           rounds; figures are medians (default: 5)
  --isa NAME           scalar, avx2, avxvnni, avx512vnni, avx512vbmi, neon, neondotprod or neoni8mm (default: the best there is)
  --speculation        only: text that repeats itself, decoded token by token and with speculation
  --no-cold            do not measure the start with the model out of the page cache
  --json               one line of JSON for each measurement, nothing else on stdout
  --out FILE           all figures of all rounds as JSON
  --plot FILE          a chart: .svg or .html

  --compare            runs a rival in turn with ours, on the same weights, and prints ratios
  --rival-model PATH   the weights as the rival reads them (GGUF, TQ2_0 or TQ1_0)
  --node-llama DIR     the rival node-llama-cpp, out of DIR/node_modules (default: where the command runs)
  --llama-bench PATH   the rival is a program with the command line of llama-bench

  --peers MODEL THREADS TESTS   measures pp128,tg128,tg32@2048,... in this process; {"test","tok_s"} a line`;

/** The command line is at fault: exit code 2. */
export class UsageError extends Error {}

function wholeNumber(text, name, least) {
  const value = Number(text);
  if (text.trim() === '' || !Number.isInteger(value) || value < least || value > 2 ** 31) {
    throw new UsageError(`--${name} takes whole numbers from ${least}; "${text}" was given`);
  }
  return value;
}

const wholeNumbers = (text, name, least) => text.split(',').map((part) => wholeNumber(part, name, least));

/** 1, 2, 4 ... and the CPUs that this process may use. */
function threadCounts() {
  const all = os.availableParallelism();
  const counts = [];
  for (let n = 1; n < all; n *= 2) counts.push(n);
  return [...counts, all];
}

/**
 * The arguments as settings, checked.
 * @param {string[]} args
 */
export function readArguments(args) {
  const text = (fallback) => ({ type: 'string', default: fallback });
  const flag = { type: 'boolean', default: false };
  const options = {
    model: text('demo'), threads: { type: 'string' }, prefill: text('128,512,2048'), context: text('0,2048,4096'),
    decode: text('128'), batch: text('1'), repeat: text('5'), isa: { type: 'string' },
    speculation: flag, 'no-cold': flag, json: flag, out: { type: 'string' }, plot: { type: 'string' }, make: { type: 'string' },
    compare: flag, 'rival-model': { type: 'string' }, 'node-llama': { type: 'string' }, 'llama-bench': { type: 'string' },
    peers: flag, help: flag,
  };
  let parsed;
  try {
    parsed = parseArgs({ args, options, allowPositionals: true });
  } catch (error) {
    throw new UsageError(error.message);
  }
  const { values, positionals } = parsed;
  if (positionals.length !== (values.peers ? 3 : 0)) {
    throw new UsageError(values.peers ? '--peers takes MODEL THREADS TESTS' : `What is "${positionals[0]}"? --help tells the options`);
  }
  if (values.make !== undefined && !(values.make in SHAPES)) {
    throw new UsageError(`There is no shape "${values.make}"; there are: ${Object.keys(SHAPES).join(', ')}`);
  }
  if (values.compare && values['rival-model'] === undefined) throw new UsageError('--compare needs --rival-model PATH');
  if (values.speculation && (values.compare || values.plot !== undefined || Number(values.decode) < 1)) {
    throw new UsageError('--speculation is for decoding alone: no --compare, no --plot, and --decode above 0');
  }
  return {
    ...values,
    positionals,
    threads: values.threads === undefined ? threadCounts() : wholeNumbers(values.threads, 'threads', 1),
    prefill: wholeNumbers(values.prefill, 'prefill', 0).filter((tokens) => tokens > 0),
    context: wholeNumbers(values.context, 'context', 0),
    decode: wholeNumber(values.decode, 'decode', 0),
    batch: wholeNumbers(values.batch, 'batch', 1),
    repeat: wholeNumber(values.repeat, 'repeat', 1),
  };
}
