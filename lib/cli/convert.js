// llm-router convert: a model file becomes another one.
import { convert } from '../convert.js';
import { toNumber } from './arguments.js';
import { withInterrupt } from './interrupt.js';
import { bytes } from './terminal.js';

export const usage = 'IN OUT';
export const about = `Converts a model, a GGUF file or a Hugging Face folder, to a GGUF file or a folder. OUT must not exist; it is written whole or not at
all. The model gives the same answers, bit for bit, before and after; what OUT has no place for is told.

Types: i2_s, tl1, tl2 (bitnet.cpp), tq1_0, tq2_0 (llama.cpp), iq1_bn, iq2_bn (ik_llama.cpp), tiles (our own: any shape, no packing
while loading), hf (a folder of packed uint8).`;
export const operands = { least: 2, most: 2 };
export const options = {
  type: { type: 'string', short: 't', value: 'TYPE', about: 'what ternary weights become (default: i2_s where OUT ends in .gguf, else hf)' },
  'embedding-type': { type: 'string', value: 'TYPE', about: 'f32, f16, bf16, q8_0 or q6_k, for embedding and head (default: what they are)' },
  threads: { type: 'string', value: 'N', about: 'CPU threads (default: one per processor)' },
  'i2s-layout': { type: 'string', value: 'ORDER', about: 'block order of I2_S tensors in IN: x86 or arm (default: what IN says, else x86)' },
  'output-i2s-layout': { type: 'string', value: 'ORDER', about: 'block order of I2_S tensors in OUT: x86 or arm, which bitnet.cpp reads on ARM64 (default: x86)' },
  'kernel-config': { type: 'string', value: 'FILE', about: 'kernel_config.ini with the tile sizes of tl1 and tl2' },
  json: { type: 'boolean', about: 'one line of JSON: path, bytes, tensors, type, architecture, losses, seconds' },
};
export const examples = [
  'llm-router convert ./BitNet-b1.58-2B-4T model.gguf',
  'llm-router convert model.gguf smaller.gguf --type tq1_0 --embedding-type q6_k',
  'llm-router convert model.gguf ./folder --type hf',
];

export async function run({ values, positionals: [input, output], out }) {
  const { type, threads, 'embedding-type': embeddingType, 'i2s-layout': i2sLayout, 'output-i2s-layout': outputI2sLayout, 'kernel-config': kernelConfig } = values;
  const options = { type, embeddingType, i2sLayout, outputI2sLayout, kernelConfig, threads: toNumber('threads', threads), onProgress: out.progress };
  const converted = await withInterrupt((signal) => convert(input, output, { ...options, signal }));
  out.endProgress();
  if (values.json) {
    out.json(converted);
    return;
  }
  for (const loss of converted.losses) out.say(`${out.paintTalk('yellow', 'Note:')} ${loss}`);
  const { architecture, tensors, type: stored, seconds } = converted;
  out.say(`${architecture}, ${tensors} tensors${stored ? `, ternary weights as ${stored}` : ''}, ${bytes(converted.bytes)} in ${seconds.toFixed(1)} s`);
  out.print(converted.path);
}
