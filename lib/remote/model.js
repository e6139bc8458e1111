// A model behind an OpenAI-compatible endpoint: OpenAI itself, Ollama, llama.cpp's server, vLLM, LM Studio, and many more.
import { ModelError } from '../errors.js';
import { readOptions } from '../options.js';
import { environmentVariable } from '../paths.js';
import { Echo } from '../answers.js';
import { checkPrompt, echoOf, fillTemplate } from '../prompt.js';
import { parsedAnswer, readResponseFormat, wireFormat } from '../response-format.js';
import { TextStream } from '../stream.js';
import { readTools } from '../tools.js';
import { callsFromWire, choiceToWire, messagesToWire } from './tool-wire.js';
import { broken, messageOf, refusal } from './failures.js';
import { readEvents } from './sse.js';

/** Our option -> the name on the wire. */
const WIRE = {
  temperature: 'temperature', topP: 'top_p', stop: 'stop', seed: 'seed', frequencyPenalty: 'frequency_penalty', presencePenalty: 'presence_penalty',
  logitBias: 'logit_bias', logprobs: 'logprobs', topLogprobs: 'top_logprobs',
};

/** Options that the endpoint has no word for. Servers that know more take it through `extraBody`. */
const UNKNOWN_TO_WIRE = ['topK', 'minP', 'repetitionPenalty', 'raw', 'ignoreEos', 'contextOverflow', 'energy'];

const FINISH_REASONS = ['stop', 'length', 'content_filter', 'tool_calls'];

/** The events of one streamed answer. */
class RemoteAnswer {
  #payloads;
  #about;
  #startedAt;
  #ttftMs;
  #finish;
  #usage;
  #pieces = 0;
  #logprobs = [];
  #calls = [];

  constructor(payloads, about, startedAt) {
    this.#payloads = payloads;
    this.#about = about;
    this.#startedAt = startedAt;
  }

  async next() {
    for (;;) {
      const { done, value } = await this.#read();
      if (done || value === '[DONE]') return { done: this.#end(!done) };
      const event = this.#parse(value);
      if (event.error) throw this.#failure(`failed while it answered: ${messageOf(value).message}`);
      const choice = event.choices?.[0];
      this.#usage = event.usage ?? this.#usage;
      this.#finish = choice?.finish_reason ?? this.#finish;
      this.#collectCalls(choice?.delta?.tool_calls ?? choice?.message?.tool_calls ?? []);
      this.#logprobs.push(...(choice?.logprobs?.content ?? []));
      const text = choice?.delta?.content ?? choice?.message?.content ?? '';
      if (text === '') continue;
      this.#ttftMs ??= performance.now() - this.#startedAt;
      this.#pieces += 1;
      return { text };
    }
  }

  /** Calls come in parts: the name first, then the arguments piece by piece. */
  #collectCalls(parts) {
    parts.forEach(({ index, id, function: part }, position) => {
      const call = (this.#calls[index ?? position] ??= { name: '', given: '' });
      call.id ??= id;
      call.name += part?.name ?? '';
      call.given += typeof part?.arguments === 'object' ? JSON.stringify(part.arguments) : (part?.arguments ?? '');
    });
  }

  cancel() {
    this.#payloads.return?.().catch(() => {});
  }

  async #read() {
    try {
      return await this.#payloads.next();
    } catch (error) {
      throw broken(error, this.#about);
    }
  }

  #parse(payload) {
    try {
      return JSON.parse(payload) ?? {};
    } catch {
      throw this.#failure('sent what is no JSON');
    }
  }

  #failure(what) {
    const { id, where, redact } = this.#about;
    return new ModelError(`${where} ${redact(what)}`, 'REMOTE_FAILED', { modelId: id });
  }

  /** An answer that just stops was cut off: it is never taken for a short one. */
  #end(saidSo) {
    if (!saidSo && this.#finish === undefined) throw this.#failure('broke off in the middle of its answer');
    const totalMs = performance.now() - this.#startedAt;
    return { finishReason: FINISH_REASONS.includes(this.#finish) ? this.#finish : 'stop', usage: this.#usage, logprobs: this.#logprobs, calls: this.#calls.filter(Boolean), pieces: this.#pieces, ttftMs: this.#ttftMs ?? totalMs, totalMs };
  }
}

/** A log-probability in our words; the wire tells no ids. */
const fromWire = ({ token, logprob, top_logprobs: top = [] }) => ({ token, logprob, top: top.map((one) => ({ token: one.token, logprob: one.logprob })) });

function messagesOf(prompt, { systemPrompt, template }) {
  const filled = fillTemplate(template, prompt);
  const turns = typeof filled === 'string' ? [{ role: 'user', content: filled }] : filled;
  return systemPrompt === undefined ? turns : [{ role: 'system', content: systemPrompt }, ...turns];
}

/** The one payload of a server that does not stream. */
async function* wholeBody(bytes) {
  const chunks = [];
  for await (const chunk of bytes) chunks.push(chunk);
  yield await new Blob(chunks).text();
  yield '[DONE]';
}

/** Milliseconds in which a process that was stopped reads what has come in the meantime, before it judges a silence. */
const GRACE_MS = 100;

/** Calls `late` after `ms`, unless the function returned is called first. */
function deadline(ms, late) {
  let timer = setTimeout(() => (timer = setTimeout(late, GRACE_MS)), ms);
  return () => clearTimeout(timer);
}

/** Passes bytes on; `giveUp` is called when the next ones do not come in time. A reader that takes its time is no silence. */
async function* watched(bytes, ms, giveUp) {
  const iterator = bytes[Symbol.asyncIterator]();
  try {
    for (;;) {
      const { done, value } = await iterator.next().finally(deadline(ms, giveUp));
      if (done) return;
      yield value;
    }
  } finally {
    await iterator.return?.();
  }
}

export class RemoteModel {
  #apiKeyEnv;
  #extraBody;
  #idleTimeout;
  #live = new Set();
  type = 'openai';
  format = 'openai';
  remote = true;
  /** stream() gives a TextStream. */
  streamsText = true;
  loaded = true;
  metrics = { inferenceCount: 0, totalTokens: 0, avgLatency: 0, lastUsed: null };

  /** @param {object} spec checked options of load(), with `id` and `baseURL` */
  constructor({ id, name, source, baseURL, apiKeyEnv, contextSize, capabilities, extraBody, idleTimeout, ...sampling }) {
    this.id = id;
    this.name = name ?? source;
    this.source = source;
    this.baseURL = baseURL;
    this.config = { ...sampling, ...(contextSize === undefined ? {} : { contextSize }) };
    this.capabilities = { streaming: true, completion: true, chat: true, ...capabilities };
    this.#apiKeyEnv = apiKeyEnv;
    this.#extraBody = extraBody;
    this.#idleTimeout = idleTimeout;
  }

  /** Names of the options that this model cannot honour. */
  unsupported(options) {
    const unknown = UNKNOWN_TO_WIRE.filter((name) => options[name] !== undefined && options[name] !== false);
    const format = readResponseFormat(options.responseFormat);
    if (format && !wireFormat(format)) unknown.push('responseFormat');
    if (options.n > 1) unknown.push('n');
    return unknown;
  }

  /** Streams the answer to a prompt. Returns at once; refused options and prompts throw at once. */
  stream(prompt, options) {
    const given = readOptions(options, 'generate');
    const [unknown] = this.unsupported(given);
    if (unknown) {
      throw new ModelError(`Option ${unknown} ${unknown === 'responseFormat' ? `of type ${given.responseFormat.type} ` : ''}has no place in the OpenAI API, so model ${this.id} cannot honour it; parameters of one server go into extraBody of load()`, 'INVALID_OPTION', {
        option: unknown,
      });
    }
    if (!this.loaded) throw new ModelError('Model not loaded. Call load() first.', 'MODEL_NOT_LOADED', { modelId: this.id });
    const asked = checkPrompt(given.messages ?? prompt);
    const echo = echoOf(asked, given);
    const body = this.#bodyOf(messagesOf(asked, given), given);
    const controller = new AbortController();
    const stream = new TextStream({
      start: async () => {
        const answer = await this.#ask(body, controller);
        return echo === '' ? answer : new Echo(echo, answer);
      },
      complete: (done, text) => this.#resultOf(done, text, given, echo),
      signal: given.signal,
      onToken: given.onToken,
      toError: (error) => error,
      onSettled: () => {
        controller.abort();
        this.#live.delete(stream);
      },
    });
    if (!stream.settled) this.#live.add(stream);
    return stream;
  }

  async generate(prompt, options) {
    return this.stream(prompt, options).readToEnd();
  }

  #bodyOf(messages, given) {
    const settings = { ...this.config, ...given, ...(given.topLogprobs === undefined ? {} : { logprobs: true }) };
    const tools = readTools(given);
    const format = wireFormat(readResponseFormat(given.responseFormat));
    const wire = Object.entries(WIRE).filter(([ours]) => settings[ours] !== undefined).map(([ours, theirs]) => [theirs, settings[ours]]);
    // OpenAI has renamed this one; the others have not.
    const limit = new URL(this.baseURL).hostname === 'api.openai.com' ? 'max_completion_tokens' : 'max_tokens';
    return {
      model: this.source,
      messages: messagesToWire(messages),
      stream: true,
      stream_options: { include_usage: true },
      ...(given.maxTokens === undefined ? {} : { [limit]: given.maxTokens }),
      ...Object.fromEntries(wire),
      ...(format && { response_format: format }),
      ...(tools && { tools: tools.list.map(({ wire }) => wire), ...(given.toolChoice !== undefined && { tool_choice: choiceToWire(given.toolChoice, tools) }) }),
      ...this.#extraBody,
    };
  }

  async #ask(body, controller) {
    const startedAt = performance.now();
    const key = this.#apiKeyEnv && environmentVariable(this.#apiKeyEnv);
    const where = `Model ${this.id} (${new URL(this.baseURL).host})`;
    const redact = (text) => (key ? text.replaceAll(key, '***') : text);
    const keyHint = this.#apiKeyEnv ? `the environment variable ${this.#apiKeyEnv} is ${key ? 'not accepted' : 'not set'}` : 'no key was sent: apiKeyEnv of load() names the variable that holds one';
    const about = { id: this.id, where, redact, keyHint };
    const giveUp = () => controller.abort(new ModelError(`${where} sent nothing for ${this.#idleTimeout} ms`, 'REMOTE_FAILED', { modelId: this.id }));
    const answered = deadline(this.#idleTimeout, giveUp);
    let response;
    try {
      response = await fetch(`${this.baseURL.replace(/\/+$/, '')}/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', accept: 'text/event-stream', ...(key ? { authorization: `Bearer ${key}` } : {}) },
        body: JSON.stringify(body),
        signal: controller.signal,
        redirect: 'error', // an endpoint that moves is named anew; the key goes nowhere else
      });
    } catch (error) {
      throw broken(error, about);
    } finally {
      answered();
    }
    if (!response.ok) throw await refusal(response, about);
    const isStream = response.headers.get('content-type')?.startsWith('text/event-stream');
    const bytes = watched(response.body, this.#idleTimeout, giveUp);
    return new RemoteAnswer(isStream ? readEvents(bytes) : wholeBody(bytes), about, startedAt);
  }

  #resultOf({ finishReason, usage, logprobs, calls, pieces, ttftMs, totalMs }, text, given, echo) {
    // Servers that count nothing send about one token a piece.
    const [promptTokens, completionTokens] = [usage?.prompt_tokens ?? 0, usage?.completion_tokens ?? pieces];
    const decodeMs = totalMs - ttftMs;
    const parsed = parsedAnswer(readResponseFormat(given.responseFormat), text.slice(echo.length));
    const { metrics } = this;
    metrics.avgLatency = (metrics.avgLatency * metrics.inferenceCount + totalMs) / (metrics.inferenceCount + 1);
    metrics.inferenceCount += 1;
    metrics.totalTokens += completionTokens;
    metrics.lastUsed = new Date();
    return {
      text,
      tokens: completionTokens,
      latency: totalMs,
      model: this.name,
      modelId: this.id,
      cached: false,
      finishReason: calls.length > 0 ? 'tool_calls' : finishReason,
      usage: { promptTokens, cachedTokens: usage?.prompt_tokens_details?.cached_tokens ?? 0, completionTokens, totalTokens: promptTokens + completionTokens },
      timings: { queueMs: 0, prefillMs: ttftMs, decodeMs, ttftMs },
      performance: { tokensPerSecond: completionTokens > 1 && decodeMs > 0 ? ((completionTokens - 1) * 1000) / decodeMs : 0 },
      ...(given.seed === undefined ? {} : { seed: given.seed }),
      ...(parsed === undefined ? {} : { parsed }),
      ...(calls.length > 0 && { toolCalls: callsFromWire(calls) }),
      ...(logprobs.length > 0 && { logprobs: logprobs.map(fromWire) }),
    };
  }

  get busy() {
    return this.#live.size > 0;
  }

  supports(capability) {
    return this.capabilities[capability] === true;
  }

  /** Ends what is under way. */
  async unload() {
    this.loaded = false;
    for (const stream of [...this.#live]) {
      stream.end((partialText) => new ModelError('Model not loaded: it was unloaded while it answered', 'MODEL_NOT_LOADED', { modelId: this.id, partialText }));
    }
  }

  async [Symbol.asyncDispose]() {
    await this.unload();
  }

  toJSON() {
    const { id, name, format, source, baseURL, loaded } = this;
    return { id, name, format, source, baseURL, loaded };
  }
}
