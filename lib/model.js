// One loaded model: the native engine behind it, its defaults and the turns of its conversation.
import { startEnergyMeter } from './energy.js';
import { AbortError, awaitNative, callNative, ModelError } from './errors.js';
import { readFlags, readOptions } from './options.js';
import { checkChat, checkIds, checkPrompt, checkText, checkTexts, echoOf, enginePrompt, fillTemplate, toJson } from './prompt.js';
import { Choices, Echo } from './answers.js';
import { parsedAnswer, readResponseFormat } from './response-format.js';
import { TextStream } from './stream.js';
import { callGrammar, PLAIN_STYLE, readCalls, readTools, templateStyle } from './tools.js';

/** How tokens are chosen: options of a call, and of load() for the calls that do not say. */
export const SAMPLING_OPTIONS = [
  'temperature', 'topK', 'topP', 'minP', 'repetitionPenalty', 'frequencyPenalty', 'presencePenalty', 'seed',
];

/** Options of a call that the engine takes as they are. */
const CALL_OPTIONS = ['maxTokens', 'ignoreEos', 'contextOverflow', 'speculation'];

/** The members of `options` that `names` lists and that were given. */
export function pick(options, names) {
  return Object.fromEntries(names.filter((name) => options[name] !== undefined).map((name) => [name, options[name]]));
}

/** Tokens a second of the decode phase; the first token belongs to the prefill. */
function tokensPerSecond(tokens, { prefillMs, decodeMs }) {
  const [count, ms] = tokens > 1 ? [tokens - 1, decodeMs] : [tokens, prefillMs + decodeMs];
  return ms > 0 ? (count * 1000) / ms : 0;
}

/** The form of an answer: that of the call, or of a call to a tool that must be made. */
function formatOf({ responseFormat }, tools) {
  const format = readResponseFormat(responseFormat);
  if (!tools?.forced.length) return format;
  if (format) throw new ModelError('Option responseFormat forms the answer: it cannot be used with a toolChoice that forces a call', 'INVALID_ARGUMENT', { option: 'responseFormat' });
  return { type: 'grammar', grammar: callGrammar(tools.forced, tools.style ?? PLAIN_STYLE) };
}

/** What of a result is one answer's own. */
function answerOf({ logprobs, finishReason }, answer, { format, echo, tools }) {
  const parsed = parsedAnswer(format, answer);
  const { text, toolCalls } = tools ? readCalls(answer, tools.list) : { text: answer, toolCalls: [] };
  const called = toolCalls.length > 0 && { toolCalls };
  return { text: echo + text, finishReason: called ? 'tool_calls' : finishReason, ...called, ...(parsed === undefined ? {} : { parsed }), ...(logprobs && { logprobs }) };
}

/** The answers of a call that asked for several. */
function choicesOf({ choices }, about) {
  if (!choices) return {};
  return { choices: choices.map(({ text, done }, index) => ({ index, seed: done.seed, tokenIds: done.tokenIds, ...answerOf(done, text, about) })) };
}

/** A model that `BitNetLoader` has loaded. */
export class BitNetModel {
  #native;
  #turns;
  #lastTurn = Promise.resolve();
  #lastStream;
  #onUnload;
  #hasChatTemplate;
  #key;
  /** How the chat template shows tools: looked up once, null where it does not. */
  #toolStyle;
  #live = new Set();

  type = 'bitnet';
  format = 'bitnet';
  loaded = true;
  /** stream() gives a TextStream. */
  streamsText = true;
  capabilities = { streaming: true, completion: true, chat: true, quantization: true, batching: true, embedding: false, gpu: false };
  metrics = { loadTime: 0, inferenceCount: 0, totalTokens: 0, avgLatency: 0, lastUsed: null };

  /**
   * @param {object} native the native model
   * @param {object} about key (of the native model, which several may share), id, name, source, path, quantType, config, loadTime, conversation, toolStyle
   * @param {() => Promise<void>} onUnload
   */
  constructor(native, about, onUnload) {
    this.#native = native;
    this.#onUnload = onUnload;
    this.#turns = about.conversation ? [] : null;
    this.#key = about.key;
    this.#toolStyle = about.toolStyle;
    this.id = about.id;
    this.name = about.name;
    this.source = about.source;
    this.path = about.path;
    this.quantType = about.quantType;
    this.config = about.config;
    this.metrics.loadTime = about.loadTime;
    const info = this.info();
    this.#hasChatTemplate = info.hasChatTemplate;
    this.capabilities.embedding = info.embeds;
    this.architecture = info.architecture;
    this.parameters = { size: info.parameters };
    this.quantization = info.ternaryParameters > 0 ? '1.58-bit' : info.weightTypes;
  }

  get #engine() {
    if (!this.loaded) throw new ModelError('Model not loaded. Call load() first.', 'MODEL_NOT_LOADED', { modelId: this.id });
    return this.#native;
  }

  /**
   * Streams the answer to a prompt. Returns at once; refused options and prompts throw at once.
   * @param {string | object[]} prompt text or messages
   */
  stream(prompt, options) {
    const given = readOptions(options, 'generate');
    const asked = checkPrompt(given.messages ?? prompt);
    const echo = echoOf(asked, given);
    const tools = this.#toolsOf(given);
    const format = formatOf(given, tools);
    const engine = this.#engine;
    const turns = typeof asked === 'string' && !given.raw ? this.#turns : null;
    const startedAt = performance.now();
    const joules = given.energy ? startEnergyMeter() : undefined;
    let finishTurn = () => {};
    const start = () => {
      const begin = () => this.#begin(engine, this.#request(asked, given, turns, format, tools), given, echo);
      if (turns === null) return awaitNative(begin);
      // Turns of one conversation follow each other: a question waits for the answers before it.
      const before = this.#lastTurn;
      this.#lastTurn = Promise.all([before, new Promise((resolve) => (finishTurn = resolve))]);
      return before.then(() => awaitNative(begin));
    };
    const complete = (done, whole) => {
      const text = whole.slice(echo.length);
      const about = { format, echo, tools };
      const own = answerOf(done, text, about);
      const message = { role: 'assistant', content: own.text.slice(echo.length), ...(own.toolCalls && { tool_calls: own.toolCalls }) };
      turns?.push({ role: 'user', content: fillTemplate(given.template, asked) }, message);
      const result = this.#resultOf(done, text, performance.now() - startedAt, joules && { joules: joules() });
      return { ...result, ...own, ...choicesOf(done, about) };
    };
    // A signal that is aborted already settles the stream before the constructor returns.
    let stream;
    const onSettled = () => {
      this.#live.delete(stream);
      finishTurn();
    };
    stream = new TextStream({ start, complete, signal: given.signal, onToken: given.onToken, onSettled });
    if (!stream.settled) this.#live.add(stream);
    if (turns !== null) {
      // Asking for its result reads a stream that nobody reads: an answer left lying would block the conversation.
      void this.#lastStream?.result;
      this.#lastStream = stream;
    }
    return stream;
  }

  /** The whole answer: the same stream, read to its end. */
  async generate(prompt, options) {
    return this.stream(prompt, options).readToEnd();
  }

  /** The tools of a call, and how the chat template shows them. */
  #toolsOf(given) {
    const tools = readTools(given);
    if (!tools) return undefined;
    const render = (messages, shown) => this.applyChatTemplate(messages, { tools: shown });
    if (this.#toolStyle === undefined) this.#toolStyle = (this.#hasChatTemplate && templateStyle(render)) || null;
    return { ...tools, style: this.#toolStyle ?? undefined };
  }

  /** Starts one answer, or several side by side: each with a seed of its own. */
  async #begin(engine, request, { n = 1 }, echo) {
    const { seed } = request.sampling;
    const seeds = Array.from({ length: n }, (_, i) => (seed === undefined ? {} : { seed: (seed + i) % Number.MAX_SAFE_INTEGER }));
    const starts = await Promise.allSettled(seeds.map((own) => engine.generate({ ...request, sampling: { ...request.sampling, ...own } })));
    const failed = starts.find(({ status }) => status === 'rejected');
    const sources = starts.flatMap(({ value }) => value ?? []);
    if (failed) {
      for (const source of sources) source.cancel();
      throw failed.reason;
    }
    const source = n === 1 ? sources[0] : new Choices(sources);
    return echo === '' ? source : new Echo(echo, source);
  }

  #request(asked, given, turns, format, tools) {
    const { stop, ...prompt } = enginePrompt(asked, given, turns, this.#hasChatTemplate, tools);
    const sampling = pick({ ...this.config, ...given }, SAMPLING_OPTIONS);
    const bias = Object.entries(given.logitBias ?? {}).map(([id, value]) => ({ id: Number(id), bias: value }));
    const top = given.topLogprobs ?? (given.logprobs ? 0 : undefined);
    return {
      ...prompt, sampling, ...pick(given, CALL_OPTIONS), stop: [given.stop ?? [], stop].flat(),
      ...(format && { responseFormat: toJson(format, 'responseFormat') }), ...(bias.length > 0 && { logitBias: bias }), ...(top !== undefined && { logprobs: top }),
    };
  }

  #resultOf(done, text, latency, energy) {
    const all = done.choices?.map((choice) => choice.done) ?? [done];
    const sum = (name) => all.reduce((total, one) => total + one[name], 0);
    const { finishReason, promptTokens, cachedTokens, timings, seed, tokenIds } = done;
    const [completionTokens, draftedTokens, acceptedTokens] = ['completionTokens', 'draftedTokens', 'acceptedTokens'].map(sum);
    this.updateMetrics(latency, completionTokens);
    return {
      text,
      tokens: completionTokens,
      latency,
      model: this.name,
      modelId: this.id,
      cached: false,
      finishReason,
      usage: { promptTokens, cachedTokens, completionTokens, totalTokens: promptTokens + completionTokens, draftedTokens, acceptedTokens, ...energy },
      timings,
      performance: { tokensPerSecond: tokensPerSecond(done.completionTokens, timings) },
      seed,
      tokenIds,
    };
  }

  updateMetrics(latency, tokens) {
    const { metrics } = this;
    metrics.avgLatency = (metrics.avgLatency * metrics.inferenceCount + latency) / (metrics.inferenceCount + 1);
    metrics.inferenceCount += 1;
    metrics.totalTokens += tokens;
    metrics.lastUsed = new Date();
  }

  /** The turns that a conversation has kept so far (a copy); empty for other models. */
  get turns() {
    return structuredClone(this.#turns ?? []);
  }

  /** Forgets the turns of a conversation. */
  resetConversation() {
    this.#turns?.splice(0);
  }

  get conversation() {
    return this.#turns !== null;
  }

  tokenize(text, options) {
    const { addSpecial } = readFlags(options, { addSpecial: true }, 'tokenize()');
    const engine = this.#engine;
    return callNative(() => engine.tokenize(checkText(text, 'text'), addSpecial));
  }

  detokenize(ids, options) {
    const { skipSpecial } = readFlags(options, { skipSpecial: true }, 'detokenize()');
    const engine = this.#engine;
    return callNative(() => engine.detokenize(checkIds(ids), skipSpecial));
  }

  /** Renders a chat with the template of the model; further keys reach the template (`tools`, ...). */
  applyChatTemplate(messages, { addGenerationPrompt: wanted, ...kwargs } = {}) {
    const { addGenerationPrompt } = readFlags({ addGenerationPrompt: wanted }, { addGenerationPrompt: true }, 'applyChatTemplate()');
    const engine = this.#engine;
    const [chat, variables] = [toJson(checkChat(messages), 'messages'), toJson(kwargs, 'kwargs')];
    return callNative(() => engine.applyChatTemplate(chat, addGenerationPrompt, variables));
  }

  /**
   * One vector a text, of length 1, in the order of the texts.
   * @param {string[]} texts
   * @param {{ signal?: AbortSignal }} [options]
   * @returns {Promise<Float32Array[]>}
   */
  async embed(texts, options) {
    const { signal } = readOptions(options, 'embed');
    const engine = this.#engine;
    if (signal?.aborted) throw new AbortError(signal.reason);
    const embedding = await awaitNative(() => engine.embed(checkTexts(texts)));
    const abort = () => embedding.cancel();
    if (signal?.aborted) abort();
    signal?.addEventListener('abort', abort, { once: true });
    try {
      return await awaitNative(() => embedding.result());
    } catch (error) {
      throw signal?.aborted ? new AbortError(signal.reason) : error;
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  /**
   * Writes the keys and values that are kept of a chat to a file.
   * @param {object[]} messages
   * @param {string} file
   * @returns {Promise<number>} tokens; 0, and no file, where nothing is kept or the model has no chat template
   */
  async saveContext(messages, file) {
    const engine = this.#engine;
    if (!this.#hasChatTemplate) return 0;
    return awaitNative(() => engine.saveContext(toJson(checkChat(messages), 'messages'), checkText(file, 'file')));
  }

  /**
   * Reads such a file, so that a chat of the same beginning goes on without computing it again.
   * @param {string} file
   * @returns {Promise<number>} tokens; 0 where the file is not there, damaged or of another model: then they are computed again
   */
  async loadContext(file) {
    const engine = this.#engine;
    return awaitNative(() => engine.loadContext(checkText(file, 'file')));
  }

  /** Logits `[vocab]` of the last position, or `[ids.length * vocab]` with `all`. */
  async forward(ids, options) {
    const { all } = readFlags(options, { all: false }, 'forward()');
    const engine = this.#engine;
    return awaitNative(() => engine.forward(checkIds(ids), all));
  }

  /** How well the model predicts a text, or token ids as they are. */
  async perplexity(text) {
    const engine = this.#engine;
    return awaitNative(() => (typeof text === 'object' && text !== null ? engine.perplexityOf(checkIds(text)) : engine.perplexity(checkText(text, 'text'))));
  }

  info() {
    const engine = this.#engine;
    return { id: this.id, name: this.name, ...callNative(() => engine.info()) };
  }

  /** Ends what runs on the model (MODEL_NOT_LOADED) and frees its memory. A second call does nothing. */
  async unload() {
    if (!this.loaded) return;
    this.loaded = false;
    this.#native = null;
    // Others may go on with the same weights: what runs here ends by itself.
    const unloaded = (partialText) =>
      new ModelError('Inference failed: the model was unloaded', 'MODEL_NOT_LOADED', { modelId: this.id, partialText });
    for (const stream of [...this.#live]) stream.end(unloaded);
    await awaitNative(() => this.#onUnload());
  }

  /** unload() under its other name. */
  async dispose() {
    await this.unload();
  }

  /** True while it answers. */
  get busy() {
    return this.#live.size > 0;
  }

  /** Bytes of weights, keys and values; models with the same key share them. Undefined once it is unloaded. */
  get usage() {
    if (!this.loaded) return undefined;
    const { weightsBytes, kvBytes } = this.info().memory;
    return { key: this.#key, bytes: weightsBytes + kvBytes };
  }

  async cleanup() {
    await this.unload();
  }

  async [Symbol.asyncDispose]() {
    await this.unload();
  }

  supports(capability) {
    return this.capabilities[capability] === true;
  }

  getInfo() {
    const { id, name, format, source, path, quantization, quantType, loaded, capabilities, metrics } = this;
    return { id, name, format, source, path, quantization, quantType, loaded, capabilities: { ...capabilities }, metrics: { ...metrics } };
  }

  toJSON() {
    const { id, name, format, source, path, quantType, loaded } = this;
    return { id, name, format, source, path, quantType, loaded };
  }
}
