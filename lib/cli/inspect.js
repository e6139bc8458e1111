// llm-router inspect: what a model file holds.
import { inspect } from '../convert.js';
import { toNumber } from './arguments.js';
import { withInterrupt } from './interrupt.js';
import { bytes } from './terminal.js';

export const usage = 'MODEL|URL';
export const about = 'Tells what a model file or folder holds, without loading it: architecture, tensors, memory, tokenizer, and whether it can be loaded. Of a model that is not on this machine only the headers are fetched.';
export const operands = { least: 1, most: 1 };
export const options = {
  context: { type: 'string', short: 'c', value: 'TOKENS', about: 'context for which memory is counted (default: the limit of the model)' },
  tensors: { type: 'boolean', about: 'every tensor with its type and shape' },
  json: { type: 'boolean', about: 'one line of JSON with all of it' },
};
export const examples = ['llm-router inspect model.gguf', 'llm-router inspect ./BitNet-b1.58-2B-4T --context 2048', 'llm-router inspect microsoft/bitnet-b1.58-2B-4T'];

const number = (n) => n.toLocaleString('en-US');

/** Rows of `name  value`, aligned. */
function table(rows) {
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n');
}

function summary(found) {
  const { types, parameters, ternaryParameters: ternary, memory, tokenizer } = found;
  const share = ternary > 0 ? `, ${number(ternary)} of them ternary in ${found.ternaryBitsPerWeight.toFixed(2)} bits` : '';
  const rows = [
    ['model', found.path],
    ['architecture', `${found.architecture || 'not named'} (${found.format})`],
    ['weights', `${number(parameters)}${share}; ${found.bitsPerWeight.toFixed(2)} bits each, ${bytes(found.bytes)}`],
    ['tensors', Object.entries(types).map(([name, count]) => `${count} ${name}`).join(', ')],
  ];
  if (found.layers !== undefined) {
    rows.push(
      ['shape', `${found.layers} layers, width ${found.embeddingSize}, ${found.heads} heads over ${found.kvHeads}, vocabulary ${number(found.vocabSize)}`],
      ['context', `${number(found.contextLength)} tokens; keys and values of ${number(found.contextSize)} take ${bytes(memory.kvBytes)}`],
    );
  }
  rows.push(
    ['memory', `${bytes(memory.weightsBytes + memory.kvBytes)} at most, and ${bytes(memory.mappedBytes)} of the file`],
    ['tokenizer', tokenizer ? `${tokenizer.kind}${tokenizer.preTokenizer ? ` (${tokenizer.preTokenizer})` : ''}, ${number(tokenizer.tokens)} tokens` : 'none'],
    ['chat template', found.hasChatTemplate ? 'yes' : 'no'],
    ['kernel here', `${found.isa}, ${found.kernel}`],
    ['can be loaded', found.problem ? `no: ${found.problem}` : 'yes'],
  );
  return table(rows);
}

export async function run({ values, positionals: [path], out }) {
  const contextSize = toNumber('context', values.context);
  const found = await withInterrupt((signal) => inspect(path, { contextSize, signal }));
  if (values.json) {
    out.json(found);
    return;
  }
  out.print(summary(found));
  if (values.tensors) out.print(`\n${table(found.tensors.map(({ name, dtype, shape }) => [name, `${dtype.padEnd(6)} [${shape.join(', ')}]`]))}`);
}
