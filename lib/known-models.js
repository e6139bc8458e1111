// The models that the guide names, with what decides their speed.

/**
 * `ternary`: weights of the ternary projections; `head`: weights of the output head (vocabulary × width). From the models' configurations.
 * @type {{ id: string, isOfficial: boolean, ternary: number, head: number, about: string }[]}
 */
export const KNOWN_MODELS = [
  { id: 'microsoft/BitNet-b1.58-2B-4T', isOfficial: true, ternary: 2.084e9, head: 328e6, about: 'chat, the official model' },
  { id: '1bitLLM/bitnet_b1_58-large', isOfficial: false, ternary: 0.68e9, head: 49e6, about: 'completes text' },
  { id: '1bitLLM/bitnet_b1_58-3B', isOfficial: false, ternary: 3.222e9, head: 102e6, about: 'completes text' },
  { id: 'HF1BitLLM/Llama3-8B-1.58-100B-tokens', isOfficial: false, ternary: 6.979e9, head: 525e6, about: 'chat' },
  { id: 'tiiuae/Falcon3-7B-Instruct-1.58bit', isOfficial: false, ternary: 6.649e9, head: 403e6, about: 'chat' },
  { id: 'tiiuae/Falcon3-10B-Instruct-1.58bit', isOfficial: false, ternary: 9.5e9, head: 403e6, about: 'chat' },
  { id: 'tiiuae/Falcon3-3B-Instruct-1.58bit', isOfficial: false, ternary: 2.422e9, head: 403e6, about: 'chat' },
  { id: 'tiiuae/Falcon3-1B-Instruct-1.58bit', isOfficial: false, ternary: 1.133e9, head: 268e6, about: 'chat, small' },
];

/** What is fetched when nobody says otherwise. */
export const DEFAULT_MODEL = KNOWN_MODELS[0].id;

/** Bytes that a decoded token reads: two bits a ternary weight, 1.6 where the kernel unpacks those, and six bits a weight of the head. */
export const bytesPerToken = ({ ternary, head }, isa) => ternary / (isa === 'avx512vbmi' ? 5 : 4) + head * 0.75;

/** Bytes of memory that a model wants: its weights as they are packed, and a fifth more for keys, values and what is mapped. */
export const memoryOf = ({ ternary, head }) => (ternary / 4 + head) * 1.2;
