// Synthetic models: folders in the layout of the official BitNet models, with random weights. What they say is nonsense; what
// they cost to run is what a model of that shape costs.
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { cacheFolder as ownCache } from '../../lib/paths.js';
import { layerTensors, SHAPES } from './shapes.js';
import { randomNumbers } from './statistics.js';
import { specialTokens, tokenizerFiles } from './synthetic-tokenizer.js';

const SEED = 1;
const CHUNK_BYTES = 8 << 20;

/**
 * Of a shape that echoes: how small the layers' contributions are, and the deviation of its embedding, so that the tied head finds
 * the last token again. At `temperature` it gets another one now and then.
 */
const ECHO = { layers: 1 / 64, deviation: 0.05, sampling: { do_sample: true, temperature: 7.5, top_k: 40 } };

/** Changes with what is written, so that an old model is not taken for a new one. */
const VERSION = 1;

/** Where synthetic models are kept. */
const cacheFolder = () => path.join(ownCache(), 'bench');

/** The upper half of the bits of an f32, rounded to even: a bf16. */
function bf16(value) {
  const [bits] = new Uint32Array(new Float32Array([value]).buffer);
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** An f16 of a number of moderate size; what is too small for a normal f16 becomes zero. */
function f16(value) {
  const [bits] = new Uint32Array(new Float32Array([value]).buffer);
  const [sign, rebiased] = [(bits >>> 16) & 0x8000, (bits & 0x7fffffff) - (112 << 23)];
  return rebiased < 1 << 23 ? sign : sign | ((rebiased + 0xfff + ((rebiased >>> 13) & 1)) >>> 13);
}

/** 65536 values to draw from, as bytes or 16-bit floats. */
const drawTable = (Type, value) => Type.from({ length: 65536 }, value);

/** Bytes of four codes 0, 1 or 2 each, all equally likely; 3 is no code. */
function packedCodes() {
  const bytes = [];
  for (let byte = 0; byte < 256; byte += 1) {
    if ([0, 2, 4, 6].every((shift) => ((byte >> shift) & 3) !== 3)) bytes.push(byte);
  }
  return drawTable(Uint8Array, (_, index) => bytes[index % bytes.length]);
}

/** 16-bit floats of a normal distribution of this deviation (Box-Muller). */
function normalNumbers(deviation, encode = bf16) {
  const random = randomNumbers(SEED + 1);
  const uniform = () => (random() + 1) / (2 ** 32 + 1);
  return drawTable(Uint16Array, () => encode(deviation * Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform())));
}

const isTied = ({ family, tied = family === 'bitnet' }) => tied;

/** The tensors of the file in order: name, dtype, shape, and what fills them: a table to draw from, or one bf16 value. */
function plan(shape) {
  const { hidden, vocab, family, dense, echo } = shape;
  const [codes, normal, one] = [packedCodes(), normalNumbers(shape.echo ? ECHO.deviation : 1 / 32), bf16(1)];
  const halves = dense && normalNumbers(1 / 64, f16);
  const matrix = (name) => ({ name, dtype: dense ? 'F16' : 'BF16', shape: [vocab, hidden], fill: halves || normal });
  const tensors = [matrix('model.embed_tokens.weight')];
  if (!isTied(shape)) tensors.push(matrix('lm_head.weight'));
  for (const { name, norm, rows, cols } of layerTensors(shape)) {
    if (norm) {
      tensors.push({ name: `${name}.weight`, dtype: 'BF16', shape: [norm], fill: one });
      continue;
    }
    if (dense) {
      tensors.push({ name: `${name}.weight`, dtype: 'F16', shape: [rows, cols], fill: halves });
      continue;
    }
    // Keeps the activations' size: two thirds of the weights are not zero. The llama layout divides by the scale.
    const scale = (echo && /o_proj|down_proj/.test(name) ? ECHO.layers : 1) / Math.sqrt((cols * 2) / 3);
    tensors.push({ name: `${name}.weight`, dtype: 'U8', shape: [rows / 4, cols], fill: codes });
    tensors.push({ name: `${name}.weight_scale`, dtype: 'BF16', shape: [1], fill: bf16(family === 'llama' ? 1 / scale : scale) });
  }
  let offset = 0;
  for (const tensor of tensors) {
    tensor.bytes = tensor.shape.reduce((product, size) => product * size, tensor.dtype === 'U8' ? 1 : 2);
    tensor.offsets = [offset, (offset += tensor.bytes)];
  }
  return tensors;
}

function header(tensors) {
  const entries = tensors.map(({ name, dtype, shape, offsets }) => [name, { dtype, shape, data_offsets: offsets }]);
  const json = JSON.stringify({ __metadata__: { format: 'pt' }, ...Object.fromEntries(entries) });
  const text = Buffer.from(json.padEnd(Math.ceil(json.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text]);
}

/** Fills `out` (bytes or 16-bit numbers) with draws from `table`, two of each random number. */
function draw(out, table, random) {
  for (let i = 0; i < out.length; i += 2) {
    const number = random();
    out[i] = table[number & 0xffff];
    out[i + 1] = table[number >>> 16];
  }
}

function writeTensor(file, { dtype, bytes, fill }, buffer, random) {
  const Type = dtype === 'U8' ? Uint8Array : Uint16Array;
  for (let left = bytes; left > 0; left -= CHUNK_BYTES) {
    const size = Math.min(left, CHUNK_BYTES);
    const out = new Type(buffer, 0, size / Type.BYTES_PER_ELEMENT);
    if (typeof fill === 'number') out.fill(fill);
    else draw(out, fill, random);
    writeFileSync(file, new Uint8Array(buffer, 0, size));
  }
}

function writeWeights(place, tensors, onProgress) {
  const [random, buffer, total] = [randomNumbers(SEED), new ArrayBuffer(CHUNK_BYTES), tensors.at(-1).offsets[1]];
  const file = openSync(place, 'w');
  try {
    writeFileSync(file, header(tensors));
    for (const tensor of tensors) {
      writeTensor(file, tensor, buffer, random);
      onProgress(tensor.offsets[1], total);
    }
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function config(shape) {
  const { bos, eos } = specialTokens(shape.vocab);
  const bitnet = shape.family === 'bitnet';
  return {
    architectures: [bitnet ? 'BitNetForCausalLM' : 'LlamaForCausalLM'],
    model_type: bitnet ? 'bitnet' : 'llama',
    hidden_act: bitnet ? 'relu2' : 'silu',
    attention_bias: false,
    bos_token_id: bos,
    eos_token_id: eos,
    hidden_size: shape.hidden,
    head_dim: shape.headDim,
    intermediate_size: shape.ffn,
    max_position_embeddings: shape.context,
    num_attention_heads: shape.heads,
    num_hidden_layers: shape.layers,
    num_key_value_heads: shape.kvHeads,
    rms_norm_eps: 1e-5,
    rope_theta: shape.theta,
    tie_word_embeddings: isTied(shape),
    torch_dtype: shape.dense ? 'float16' : 'bfloat16',
    vocab_size: shape.vocab,
    quantization_config: shape.dense ? undefined : { quant_method: 'bitnet', ...(bitnet && { linear_class: 'autobitlinear', quantization_mode: 'offline' }) },
  };
}

/**
 * Writes the model of a shape into `folder`, which must not exist. It appears there whole or not at all.
 * @param {string} name one of SHAPES
 * @param {string} folder
 * @param {(written: number, total: number) => void} [onProgress] bytes of weights
 */
export function makeModel(name, folder, onProgress = () => {}) {
  const shape = SHAPES[name];
  const tensors = plan(shape);
  if (existsSync(folder)) throw new Error(`${folder} exists already`);
  mkdirSync(path.dirname(folder), { recursive: true });
  const { bavail, bsize } = statfsSync(path.dirname(folder));
  const needed = tensors.at(-1).offsets[1];
  if (bavail * bsize < needed * 1.02) throw new Error(`${name} takes ${(needed / 1e9).toFixed(1)} GB, and ${path.dirname(folder)} has ${((bavail * bsize) / 1e9).toFixed(1)} GB left`);
  const unfinished = `${folder}.${process.pid}.part`;
  mkdirSync(unfinished);
  try {
    for (const [file, content] of Object.entries({ 'config.json': config(shape), ...tokenizerFiles(shape, shape.echo ? ECHO.sampling : undefined) })) {
      writeFileSync(path.join(unfinished, file), JSON.stringify(content), { flush: true });
    }
    writeWeights(path.join(unfinished, 'model.safetensors'), tensors, onProgress);
    renameSync(unfinished, folder);
  } finally {
    rmSync(unfinished, { recursive: true, force: true });
  }
}

/** Folder of the model of a shape in the cache; it is made when it is not there. */
export function cachedModel(name, onProgress) {
  const folder = path.join(cacheFolder(), `v${VERSION}`, name);
  if (!existsSync(folder)) makeModel(name, folder, onProgress);
  return folder;
}
