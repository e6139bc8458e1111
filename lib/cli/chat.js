// llm-router chat: a conversation in a terminal, or with whatever writes lines to standard input.
import { readFile, writeFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { loadModel, MODEL_FLAGS, optionsFor } from './model-options.js';
import { statistics } from './run.js';

export const usage = 'MODEL';
export const about = `Talks with a model. It remembers the conversation. A line that ends with \\ goes on in the next one; """ begins and ends a text of several lines.
Ctrl-C stops an answer and not the program; on an empty line it ends it, as Ctrl-D does. /help lists the commands.`;
export const operands = { least: 1, most: 1 };
export const options = {
  system: { type: 'string', short: 's', value: 'TEXT', about: 'system message before the conversation' },
  ...MODEL_FLAGS,
  stats: { type: 'boolean', about: 'tell tokens and speed after each answer' },
};
export const examples = ['llm-router chat demo', 'llm-router chat microsoft/BitNet-b1.58-2B-4T --system "Answer in one sentence."'];

const HELP = `/help            this text
/system [TEXT]   show or change the system message; the conversation starts anew
/history         show the conversation
/clear           forget the conversation
/undo            forget the last question and its answer
/retry           answer the last question once more
/save FILE       write the conversation to a file
/load FILE       go on with a conversation from a file
/stats           show or hide tokens and speed
/exit            leave`;

/** The conversation and what may be done with it. */
class Chat {
  messages = [];
  #abort = null;

  constructor(router, model, call, { system, stats }, out) {
    Object.assign(this, { router, model, call, system, stats, out });
  }

  get isAnswering() {
    return this.#abort !== null;
  }

  stop() {
    this.#abort?.abort(new Error('stopped'));
  }

  /** Streams the answer to a question; what was said until a stop stays part of the conversation. */
  async ask(question) {
    const { out } = this;
    const system = this.system ? [{ role: 'system', content: this.system }] : [];
    const asked = [...this.messages, { role: 'user', content: question }];
    this.#abort = new AbortController();
    let text = '';
    try {
      const stream = this.router.stream([...system, ...asked], { ...this.call, modelId: this.model.id, signal: this.#abort.signal });
      for await (const piece of stream) {
        text += piece;
        out.write(piece);
      }
      out.print('');
      if (this.stats) out.say(out.paintTalk('dim', statistics(await stream.result)));
    } catch (error) {
      if (text !== '') out.print('');
      if (error.code !== 'ABORTED') throw error;
      out.say(out.paintTalk('dim', '[stopped]'));
    } finally {
      this.#abort = null;
    }
    // A question that was stopped before its first word is as if it had not been asked.
    if (text !== '') this.messages = [...asked, { role: 'assistant', content: text }];
  }

  /** The last question, which is forgotten with its answer. */
  takeBack() {
    const [question] = this.messages.splice(-2);
    return question?.content;
  }
}

const COMMANDS = {
  help: (chat) => chat.out.say(HELP),
  system(chat, text) {
    if (text === '') return chat.out.say(chat.system || '(there is no system message)');
    chat.system = text;
    chat.messages = [];
    return chat.out.say('The conversation starts anew.');
  },
  history(chat) {
    for (const { role, content } of chat.messages) chat.out.say(`${chat.out.paintTalk('bold', `${role}:`)} ${content}`);
    if (chat.messages.length === 0) chat.out.say('(nothing has been said)');
  },
  clear(chat) {
    chat.messages = [];
    chat.out.say('The conversation starts anew.');
  },
  undo(chat) {
    chat.out.say(chat.takeBack() === undefined ? '(nothing has been said)' : 'The last question is forgotten.');
  },
  async retry(chat) {
    const question = chat.takeBack();
    if (question === undefined) chat.out.say('(nothing has been said)');
    else await chat.ask(question);
  },
  async save(chat, file) {
    const { model, system, messages } = chat;
    await writeFile(file, `${JSON.stringify({ model: model.source, system, messages }, null, 2)}\n`);
    chat.out.say(`Saved ${messages.length} messages to ${file}`);
  },
  async load(chat, file) {
    const { system, messages } = JSON.parse(await readFile(file, 'utf8'));
    if (!Array.isArray(messages)) throw new Error(`${file} holds no conversation`);
    Object.assign(chat, { system, messages });
    chat.out.say(`${messages.length} messages are back`);
  },
  stats(chat) {
    chat.stats = !chat.stats;
    chat.out.say(`Tokens and speed are ${chat.stats ? 'shown' : 'hidden'}.`);
  },
};

/** Runs one thing that was typed; false when it ends the chat. */
async function obey(chat, input) {
  const [, name, rest] = /^\/(\S+)\s*([^]*)$/.exec(input) ?? [];
  if (name === 'exit' || name === 'quit' || name === 'bye') return false;
  try {
    if (name === undefined) await chat.ask(input);
    else if (Object.hasOwn(COMMANDS, name)) await COMMANDS[name](chat, rest.trim());
    else chat.out.say(`There is no /${name}; /help lists the commands.`);
  } catch (error) {
    chat.out.fail(error);
    if (error.code === 'CONTEXT_OVERFLOW') chat.out.say('/clear starts anew, /undo forgets the last question.');
  }
  return true;
}

/** Puts lines together: `\` at the end goes on, `"""` holds several. Gives each whole input to `take`. */
export function assembler(take) {
  let parts = null;
  let isBlock = false;
  return async (line) => {
    if (parts === null && line.trimStart().startsWith('"""')) {
      const first = line.trimStart().slice(3);
      if (first.endsWith('"""') && first.length >= 3) return take(first.slice(0, -3));
      [parts, isBlock] = [[first], true];
      return undefined;
    }
    const mark = isBlock ? '"""' : '\\';
    const hasMark = (isBlock ? line.trimEnd() : line).endsWith(mark);
    const isLast = isBlock === hasMark;
    const text = hasMark ? line.slice(0, line.lastIndexOf(mark)) : line;
    if (!isLast) {
      parts = [...(parts ?? []), text];
      return undefined;
    }
    const whole = [...(parts ?? []), text].join('\n').trim();
    [parts, isBlock] = [null, false];
    return whole === '' ? undefined : take(whole);
  };
}

export async function run({ values, positionals: [source], out }) {
  const { router, model } = await loadModel(source, values, out);
  const { parameters, isa, threads } = model.info();
  out.say(`${model.name}: ${(parameters / 1e6).toFixed(0)} M parameters, kernel ${isa}, ${threads} threads. /help lists the commands, Ctrl-D ends the chat.`);
  const chat = new Chat(router, model, optionsFor('call', values), values, out);
  const reader = createInterface({ input: process.stdin, output: out.isInteractive ? process.stderr : undefined, terminal: out.isInteractive, prompt: out.paintTalk('cyan', '> ') });
  let isOpen = true;
  reader.once('close', () => (isOpen = false));
  reader.on('SIGINT', () => {
    if (chat.isAnswering) chat.stop();
    else if (reader.line !== '') reader.write(null, { ctrl: true, name: 'u' });
    else reader.close();
  });
  // Without a terminal there is no readline to hear it.
  const onInterrupt = () => (chat.isAnswering ? chat.stop() : reader.close());
  process.on('SIGINT', onInterrupt);
  let goesOn = true;
  const add = assembler(async (input) => {
    goesOn = await obey(chat, input);
  });
  const prompt = () => isOpen && out.isInteractive && reader.prompt();
  prompt();
  for await (const line of reader) {
    await add(line);
    if (!goesOn) break;
    prompt();
  }
  reader.close();
  process.off('SIGINT', onInterrupt);
  await router.cleanup();
}
