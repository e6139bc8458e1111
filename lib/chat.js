// A conversation through a router: its turns are kept here and sent whole each time. What of them the engine has been through already it
// does not compute again (`usage.cachedTokens`), so this costs little more than a conversation kept inside the model.
import { readFile, rename, writeFile } from 'node:fs/promises';
import { readCallOptions } from './call.js';
import { ToolLoop } from './tool-loop.js';
import { ModelError } from './errors.js';
import { isMessages, readFlags } from './options.js';
import { StreamAttempt } from './router/attempt.js';
import { show } from './show.js';
import { TextStream } from './stream.js';
import { readTools } from './tools.js';

const VERSION = 1;

/** The file of what a model has computed of a chat. */
const contextOf = (file) => `${file}.context`;

/** What runs the tools of a turn; undefined where it has none. A chat runs them itself, so each needs a function. */
function toolLoopOf(asked, maxRounds = 8) {
  if (!Number.isInteger(maxRounds) || maxRounds < 1) {
    throw new ModelError(`Invalid option maxToolRounds: ${show(maxRounds)} was given, a whole number from 1 is allowed`, 'INVALID_ARGUMENT', { option: 'maxToolRounds', given: maxRounds });
  }
  const tools = readTools(asked);
  const mute = tools?.list.find(({ execute }) => execute === undefined);
  if (mute) throw new ModelError(`Tool ${mute.name} has no execute(): a chat runs its tools; generate() leaves that to the caller`, 'INVALID_ARGUMENT', { option: 'tools' });
  return tools && new ToolLoop(tools.list, maxRounds);
}

export class Chat {
  #ask;
  #modelOf;
  #system;
  #options;
  #messages = [];
  #modelId;
  #pinned;
  #last = Promise.resolve();
  #lastStream;

  /**
   * @param {{ ask: (messages: object[], options: object) => TextStream, modelOf: (id?: string) => object | undefined }} router
   * @param {{ system?: string, modelId?: string }} [options] further ones are those of every turn
   */
  constructor({ ask, modelOf }, { system, systemPrompt = system, modelId, model = modelId, ...options } = {}) {
    for (const [name, value] of Object.entries({ system: systemPrompt, modelId: model })) {
      if (value !== undefined && typeof value !== 'string') {
        throw new ModelError(`Invalid option ${name}: ${show(value)} was given, a string is allowed`, 'INVALID_ARGUMENT', { option: name, given: value });
      }
    }
    this.#ask = ask;
    this.#modelOf = modelOf;
    this.#system = systemPrompt;
    this.#modelId = model;
    this.#options = options;
  }

  /** The model that answers: the one named, else the one that answered last, while it is there: it has been through the turns already. */
  get modelId() {
    return this.#modelId ?? (this.#modelOf(this.#pinned) ? this.#pinned : undefined);
  }

  get system() {
    return this.#system;
  }

  /** The turns so far (a copy), without the system message. */
  get history() {
    return structuredClone(this.#messages);
  }

  /** The whole answer to the next turn. */
  async send(text, options) {
    return this.stream(text, options).readToEnd();
  }

  /**
   * The answer to the next turn as it is made. Turns follow each other: this one waits for the answers before it. A turn that fails or
   * is given up leaves no trace.
   */
  stream(text, options) {
    if (typeof text !== 'string') throw new ModelError(`A turn is a string; ${show(text)} was given`, 'INVALID_ARGUMENT', { option: 'text', given: text });
    const { maxToolRounds, ...given } = { ...this.#options, ...options };
    const { route, watch, asked } = readCallOptions(given);
    const loop = toolLoopOf(asked, maxToolRounds);
    const question = { role: 'user', content: text };
    const before = this.#last;
    let finish;
    this.#last = Promise.all([before, new Promise((resolve) => (finish = resolve))]);
    const start = async () => {
      await before;
      const sticky = this.modelId === undefined || route.strategy !== undefined ? {} : { modelId: this.modelId };
      const turns = [...this.#turns(), question];
      const ask = (more, choice) => new StreamAttempt(this.#ask([...turns, ...more], { ...asked, ...choice, ...sticky, ...route }));
      return loop ? loop.start(ask) : ask([]);
    };
    const complete = (result) => {
      this.#messages.push(question, ...(loop?.messages ?? []), { role: 'assistant', content: result.text });
      this.#pinned = result.modelId;
      return result;
    };
    const stream = new TextStream({ start, complete, ...watch, onSettled: finish, toError: (error) => error });
    // Asking for its result reads a stream that nobody reads: an answer left lying would block the conversation.
    void this.#lastStream?.result;
    this.#lastStream = stream;
    return stream;
  }

  /** The system message and the turns. */
  #turns() {
    return [...(this.#system === undefined ? [] : [{ role: 'system', content: this.#system }]), ...this.#messages];
  }

  /** Forgets the turns. */
  reset() {
    this.#messages = [];
  }

  toJSON() {
    return { version: VERSION, modelId: this.modelId, system: this.#system, messages: this.history };
  }

  /** Writes the conversation to a file: a reader sees the old one or the new one. */
  async save(file, options) {
    const { context } = readFlags(options, { context: false }, 'save()');
    await this.#last;
    const temporary = `${file}.${process.pid}`;
    await writeFile(temporary, `${JSON.stringify(this, null, 2)}\n`);
    await rename(temporary, file);
    if (context) await this.#modelOf(this.modelId)?.saveContext?.(this.#turns(), contextOf(file));
  }

  /** Goes on with the conversation of a file; the model stays the one of this chat if it has one. */
  async load(file) {
    await this.#last;
    const text = await readFile(file, 'utf8');
    let saved;
    try {
      saved = JSON.parse(text);
    } catch {
      // Told below.
    }
    const turns = saved?.messages;
    if (saved?.version !== VERSION || !(isMessages(turns) || (Array.isArray(turns) && turns.length === 0))) {
      throw new ModelError(`${file} is no chat that this version has saved`, 'INVALID_ARGUMENT', { option: 'path', given: file });
    }
    this.#messages = turns;
    this.#system = saved.system ?? this.#system;
    this.#pinned = saved.modelId;
    await this.#modelOf(this.modelId)?.loadContext?.(contextOf(file));
    return this;
  }
}
