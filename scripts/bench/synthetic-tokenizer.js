// The tokenizer of the synthetic models: byte-level BPE without merges, so a byte of the prompt is a token of it. The other
// tokens are there for the head to choose among.

/** The last ids are special; these of them have a meaning. */
const SPECIAL = ['<|begin_of_text|>', '<|end_of_text|>', '<|eot_id|>'];

export const specialTokens = (vocab) => ({ bos: vocab - 3, eos: vocab - 2, eot: vocab - 1 });

/** The character that stands for each byte: itself where it is printable, else one from U+0100 on, in order. */
function byteCharacters() {
  let next = 256;
  const printable = (byte) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 255 && byte !== 173);
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : next++));
}

function vocabulary(vocab) {
  const fillers = Array.from({ length: vocab - 256 - SPECIAL.length }, (_, index) => `w${256 + index}`);
  return Object.fromEntries([...byteCharacters(), ...fillers].map((token, id) => [token, id]));
}

const CHAT_TEMPLATE =
  "{{ bos_token }}{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '<|eot_id|>' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}";

/** Contents of the tokenizer's files, and of the advice on sampling, by their names. */
export function tokenizerFiles({ vocab, context }, sampling = { do_sample: false }) {
  const { bos, eos, eot } = specialTokens(vocab);
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const [begin, end] = SPECIAL;
  return {
    'tokenizer.json': {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: SPECIAL.map((content, index) => ({ id: bos + index, content, ...flags })),
      normalizer: null,
      pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
      post_processor: {
        type: 'TemplateProcessing',
        single: [{ SpecialToken: { id: begin, type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
        pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
        special_tokens: { [begin]: { id: begin, ids: [bos], tokens: [begin] } },
      },
      decoder: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
      model: {
        type: 'BPE', dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null,
        fuse_unk: false, byte_fallback: false, ignore_merges: false, vocab: vocabulary(vocab), merges: [],
      },
    },
    'tokenizer_config.json': {
      tokenizer_class: 'PreTrainedTokenizerFast', bos_token: begin, eos_token: end, model_max_length: context,
      add_bos_token: true, chat_template: CHAT_TEMPLATE,
    },
    'generation_config.json': { bos_token_id: bos, eos_token_id: [eos, eot], ...sampling },
  };
}
