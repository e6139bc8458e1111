// Measurements of one loaded model, through the calls that every program makes. Times are those of the caller's clock.
import { readFileSync } from 'node:fs';
import { LLMRouter } from '../../index.js';
import { randomNumbers } from './statistics.js';

/** Positions in a block of keys and values: memory for them is taken a block at a time. */
const KV_BLOCK = 64;

/** What is the same in every call: the text as it stands, the likeliest token, on past the model's end token, a token a step. */
const CALL = { raw: true, temperature: 0, ignoreEos: true, speculation: 'off' };

/** Loads a model alone in a router. */
export async function loadModel(source, { threads, isa }) {
  const startedAt = performance.now();
  const model = await new LLMRouter().load(source, { threads, isa });
  return { model, loadMs: performance.now() - startedAt };
}

/**
 * A text of nonsense that the model's tokenizer makes into `tokens` tokens, or as near to it as it comes; at least a letter.
 * Another seed gives another text from its first letter on, so that no earlier call's keys and values serve.
 */
export function promptOf(model, tokens, seed) {
  const random = randomNumbers(seed);
  const words = [];
  const text = () => words.join(' ');
  const count = () => model.tokenize(text()).length;
  const grow = (by) => {
    for (let i = 0; i < by; i += 1) words.push(String.fromCharCode(97 + (random() % 26)));
  };
  grow(1);
  const one = count();
  grow(16);
  const perWord = Math.max(1, (count() - one) / 16);
  words.length = 1;
  grow(Math.max(0, Math.floor((tokens - one) / perWord)));
  for (let tries = 0; tries < 32 && count() > tokens && words.length > 1; tries += 1) words.pop();
  // A letter that stands for itself in every vocabulary fills what is less than a word.
  for (let tries = 0; tries < 32 && count() < tokens; tries += 1) words[words.length - 1] += '7';
  return text();
}

/** One call: its result, when it began and ended, and when its first token was there. */
async function call(model, prompt, maxTokens) {
  const startedAt = performance.now();
  const result = await model.generate(prompt, { ...CALL, maxTokens });
  return { ...result, firstAt: startedAt + result.timings.ttftMs, startedAt, endedAt: performance.now() };
}

/** The first token that a fresh process makes. */
export const firstToken = (model) => call(model, 'a', 1);

/** Bytes of keys and values of a token, once one block of them is in use. */
export const kvBytesPerToken = (model) => model.info().memory.kvBytes / KV_BLOCK;

/** Fills caches and buffers, so that the first measurement is like the others. */
export const warmUp = (model, tokens = 16) => call(model, promptOf(model, tokens, 1), 4);

/** Prompt tokens a second: from the call to its first token. */
export async function prefill(model, tokens, seed) {
  const { usage, startedAt, endedAt } = await call(model, promptOf(model, tokens, seed), 1);
  return { tokens: usage.promptTokens, tps: ((usage.promptTokens - usage.cachedTokens) * 1000) / (endedAt - startedAt) };
}

/** Tokens a second after `context` tokens, the first token not counted: it ends the prompt. */
export async function decode(model, { tokens, context, batch = 1, seed }) {
  const prompts = Array.from({ length: batch }, (_, index) => promptOf(model, context, seed + index * 7919));
  // Prompts are read in turn, so calls start to decode one after the other: those before the last get tokens to spare, and
  // while the last one decodes, all do.
  const spare = (index) => (batch - 1 - index) * 4;
  const calls = await Promise.all(prompts.map((prompt, index) => call(model, prompt, tokens + 1 + spare(index))));
  const decoded = ({ usage }) => usage.completionTokens - 1;
  const made = Math.min(...calls.map(decoded));
  const last = calls.reduce((a, b) => (b.firstAt > a.firstAt ? b : a));
  const together = calls.every(({ endedAt }) => endedAt >= last.endedAt - 1);
  const contextTokens = context === 0 ? 0 : last.usage.promptTokens;
  if (together) return { contextTokens, tokens: made, tps: (batch * decoded(last) * 1000) / (last.endedAt - last.firstAt) };
  // More calls than run at a time, or overtaken ones: everything over the whole time, which is never too high.
  const time = Math.max(...calls.map(({ endedAt }) => endedAt)) - Math.min(...calls.map(({ firstAt }) => firstAt));
  const total = calls.reduce((sum, one) => sum + decoded(one), 0);
  return { contextTokens, tokens: made, tps: (total * 1000) / time };
}

/** The most memory that this process has had, mapped files included. */
export function peakRssBytes() {
  try {
    // Not what getrusage() says: that begins with the size of the parent process.
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024;
  } catch {
    return process.resourceUsage().maxRSS * 1024;
  }
}
