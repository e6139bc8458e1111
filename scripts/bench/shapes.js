// Shapes of the synthetic models: those of public BitNet models, and one for tests.

/**
 * `hidden`, `ffn`: widths; `heads` of `headDim` for queries, `kvHeads` for keys and values; `vocab`: tokens; `context`: most
 * positions; `theta`: base of the rotary frequencies. `family` bitnet: sub-norms, squared ReLU, tied head; llama: SiLU and a
 * head of its own. `echo`: the last token is likely to come again, so the text repeats itself. `dense`: plain F16 weights, and nothing is ternary.
 */
export const SHAPES = {
  // microsoft/bitnet-b1.58-2B-4T
  '2b4t': { family: 'bitnet', hidden: 2560, layers: 30, heads: 20, kvHeads: 5, headDim: 128, ffn: 6912, vocab: 128256, theta: 5e5, context: 4096 },
  // The same, for text that repeats itself
  '2b4t-echo': { family: 'bitnet', echo: true, hidden: 2560, layers: 30, heads: 20, kvHeads: 5, headDim: 128, ffn: 6912, vocab: 128256, theta: 5e5, context: 4096 },
  // An ordinary model of the same size in half precision, to compare with. Its head is tied, as that of 2b4t is
  '2b4t-f16': { family: 'llama', dense: true, tied: true, hidden: 2560, layers: 30, heads: 20, kvHeads: 5, headDim: 128, ffn: 6912, vocab: 128256, theta: 5e5, context: 4096 },
  // 1bitLLM/bitnet_b1_58-large, 0.7 B
  large: { family: 'bitnet', hidden: 1536, layers: 24, heads: 16, kvHeads: 16, headDim: 96, ffn: 4096, vocab: 32002, theta: 1e4, context: 2048 },
  // 1bitLLM/bitnet_b1_58-3B
  '3b': { family: 'bitnet', hidden: 3200, layers: 26, heads: 32, kvHeads: 32, headDim: 100, ffn: 8640, vocab: 32002, theta: 1e4, context: 2048 },
  // HF1BitLLM/Llama3-8B-1.58-100B-tokens
  '8b': { family: 'llama', hidden: 4096, layers: 32, heads: 32, kvHeads: 8, headDim: 128, ffn: 14336, vocab: 128256, theta: 5e5, context: 8192 },
  // 100 B parameters, 25 GB: no public model, only the size
  '100b': { family: 'llama', hidden: 12288, layers: 72, heads: 96, kvHeads: 8, headDim: 128, ffn: 28672, vocab: 32000, theta: 5e5, context: 4096 },
  // For tests; its vocabulary is large enough for the head to be searched.
  tiny: { family: 'bitnet', hidden: 128, layers: 2, heads: 4, kvHeads: 2, headDim: 32, ffn: 256, vocab: 8448, theta: 1e4, context: 1024 },
};

/**
 * Every tensor but the embedding and the head: name, and either `norm` (its length) or `rows` and `cols` of a ternary matrix.
 * @param {typeof SHAPES['2b4t']} shape
 */
export function* layerTensors({ family, hidden, layers, heads, kvHeads, headDim, ffn }) {
  const [queries, keys, bitnet] = [heads * headDim, kvHeads * headDim, family === 'bitnet'];
  for (let layer = 0; layer < layers; layer += 1) {
    const at = (name) => `model.layers.${layer}.${name}`;
    yield { name: at('input_layernorm'), norm: hidden };
    yield { name: at('self_attn.q_proj'), rows: queries, cols: hidden };
    yield { name: at('self_attn.k_proj'), rows: keys, cols: hidden };
    yield { name: at('self_attn.v_proj'), rows: keys, cols: hidden };
    if (bitnet) yield { name: at('self_attn.attn_sub_norm'), norm: queries };
    yield { name: at('self_attn.o_proj'), rows: hidden, cols: queries };
    yield { name: at('post_attention_layernorm'), norm: hidden };
    yield { name: at('mlp.gate_proj'), rows: ffn, cols: hidden };
    yield { name: at('mlp.up_proj'), rows: ffn, cols: hidden };
    if (bitnet) yield { name: at('mlp.ffn_sub_norm'), norm: ffn };
    yield { name: at('mlp.down_proj'), rows: hidden, cols: ffn };
  }
  yield { name: 'model.norm', norm: hidden };
}
