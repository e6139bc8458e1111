// Decoding of text that repeats itself, token by token and with speculation, on the same prompt and seed.
import { say } from '../support.js';
import { loadModel, warmUp } from './measure.js';
import { sample } from './processes.js';
import { summarize } from './statistics.js';

/** What the prompt says over and over: models go on with it, or end up repeating something of their own. */
const SENTENCE = 'BitNet is a model. ';
const PROMPT_TOKENS = 128;

/** Calls of each kind in a sample, taken in turn. */
const TURNS = 2;

function repeatingPrompt(model) {
  let text = SENTENCE;
  while (model.tokenize(text + SENTENCE).length <= PROMPT_TOKENS) text += SENTENCE;
  return text;
}

/** Tokens a second from the first token on. Tokens are chosen as the model recommends. */
async function decode(model, prompt, options) {
  const startedAt = performance.now();
  const { timings, usage, tokenIds } = await model.generate(prompt, { raw: true, ignoreEos: true, ...options });
  const seconds = (performance.now() - startedAt - timings.ttftMs) / 1000;
  return { tps: (usage.completionTokens - 1) / seconds, tokens: usage.completionTokens - 1, usage, ids: tokenIds.join() };
}

/** What a process of its own measures; the best of each kind, which others on the machine have disturbed least. */
export async function measureSpeculation(job) {
  const { model } = await loadModel(job.model, job);
  await warmUp(model);
  const prompt = repeatingPrompt(model);
  const runs = { off: [], auto: [] };
  for (let turn = 0; turn < TURNS; turn += 1) {
    for (const speculation of turn % 2 === 0 ? ['off', 'auto'] : ['auto', 'off']) {
      runs[speculation].push(await decode(model, prompt, { maxTokens: job.decode + 1, seed: job.seed, speculation }));
    }
  }
  const [plain, speculative] = [runs.off, runs.auto].map((list) => list.reduce((a, b) => (b.tps > a.tps ? b : a)));
  if (new Set([...runs.off, ...runs.auto].map(({ ids }) => ids)).size > 1) throw new Error('speculation changed the text');
  const { draftedTokens, acceptedTokens } = speculative.usage;
  return {
    kernel: model.info().isa, decodeTokens: plain.tokens, plainTps: plain.tps, speculativeTps: speculative.tps,
    speedup: speculative.tps / plain.tps, draftedTokens, acceptedTokens,
  };
}

/** One summary for each thread count. */
export async function runSpeculation({ threads, decode: tokens, repeat, isa }, source) {
  const { name } = await sample({ kind: 'info', model: source, threads: Math.max(...threads), isa });
  const samples = new Map(threads.map((count) => [count, []]));
  for (let round = 0; round < repeat; round += 1) {
    for (const count of threads) {
      say(`Round ${round + 1} of ${repeat}, threads ${count}: ${tokens} tokens of a text that repeats itself`);
      const taken = await sample({ kind: 'speculation', model: source, threads: count, isa, decode: tokens, seed: 100 + round });
      samples.get(count).push({ model: name, threads: count, ...taken });
    }
  }
  return { measurements: [...samples.values()].map(summarize), samples: [...samples.values()].flat() };
}
