// llm-router verify: whether two model files are the same model.
import { readFileSync } from 'node:fs';
import { verify } from '../convert.js';
import { withInterrupt } from './interrupt.js';

export const usage = 'A B';
export const about = `Compares two models, files or folders in whatever types: their weights one by one, then their logits over a text. Exit code 0 where both are
the same, 1 where not.`;
export const operands = { least: 2, most: 2 };
export const options = {
  file: { type: 'string', short: 'f', value: 'FILE', about: 'text for the logits (default: a few sentences)' },
  'first-i2s-layout': { type: 'string', value: 'ORDER', about: 'block order of I2_S tensors in A: x86 or arm (default: what A says, else x86)' },
  'second-i2s-layout': { type: 'string', value: 'ORDER', about: 'the same of B' },
  'kernel-config': { type: 'string', value: 'FILE', about: 'kernel_config.ini with the tile sizes of tl1 and tl2' },
  'weights-only': { type: 'boolean', about: 'no logits: neither model is loaded' },
  json: { type: 'boolean', about: 'one line of JSON: same, compared, differences, logits' },
};
export const examples = ['llm-router verify ./BitNet-b1.58-2B-4T model.gguf', 'llm-router verify a.gguf b.gguf --file text.txt'];

/** Lines that are shown of a long list. */
const MOST = 10;

export async function run({ values, positionals: [first, second], out }) {
  const text = values.file === undefined ? undefined : readFileSync(values.file, 'utf8');
  const onProgress = ({ loadedBytes, totalBytes, file }) => out.status(`${loadedBytes} of ${totalBytes} tensors  ${file.name}`);
  const { 'first-i2s-layout': firstI2sLayout, 'second-i2s-layout': secondI2sLayout, 'kernel-config': kernelConfig } = values;
  const reading = { firstI2sLayout, secondI2sLayout, kernelConfig };
  const found = await withInterrupt((signal) => verify(first, second, { text, logits: !values['weights-only'], ...reading, signal, onProgress }));
  out.endProgress();
  if (values.json) out.json(found);
  else {
    const { compared, differences, logits, same } = found;
    for (const { name, what, largest } of differences.slice(0, MOST)) out.print(`${name}: ${what}${largest === undefined ? '' : `, ${largest.toPrecision(3)} apart at most`}`);
    if (differences.length > MOST) out.print(`and ${differences.length - MOST} more`);
    out.print(`${compared} tensors compared, ${differences.length} differ`);
    if (logits) out.print(`logits over ${logits.tokens} tokens: ${logits.largest === 0 ? 'equal' : `${logits.largest.toPrecision(3)} apart at most, the likeliest token is the same at ${logits.sameTop} places`}`);
    out.print(same ? 'the same model' : 'not the same');
  }
  return found.same ? 0 : 1;
}
