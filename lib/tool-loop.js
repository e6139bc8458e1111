// A turn in which the model may call tools: its calls are run and their results given back to it, until it answers in words.
import { ModelError } from './errors.js';

/** What a tool gives back, as the content of a message. */
const contentOf = (value) => (typeof value === 'string' ? value : (JSON.stringify(value) ?? 'null'));

/** A source of events that asks as often as it takes. The text of all rounds is read as it is made. */
export class ToolLoop {
  #tools;
  #roundsLeft;
  #maxRounds;
  #ask;
  #attempt;
  #cancelled = false;
  /** Calls and their results, between the question and the last answer. */
  messages = [];

  /**
   * @param {{ name: string, execute: (args: object, call: object) => unknown }[]} tools
   * @param {number} maxRounds times that the model may call
   */
  constructor(tools, maxRounds) {
    this.#tools = new Map(tools.map((tool) => [tool.name, tool]));
    this.#roundsLeft = maxRounds;
    this.#maxRounds = maxRounds;
  }

  /** @param {(more: object[], choice: object) => object} ask starts an answer to the turns so far and those messages */
  start(ask) {
    this.#ask = ask;
    this.#attempt = ask([], {});
    return this;
  }

  async next() {
    for (;;) {
      const event = await this.#attempt.next();
      if (!event.done?.toolCalls) return event;
      await this.#run(event.done);
      if (this.#cancelled) throw new ModelError('The call was given up', 'ABORTED');
      // A call that had to be made has been made.
      this.#attempt = this.#ask(this.messages, { toolChoice: 'auto' });
    }
  }

  cancel() {
    this.#cancelled = true;
    this.#attempt?.cancel();
  }

  async #run({ text, toolCalls }) {
    if (this.#roundsLeft === 0) {
      throw new ModelError(`The model still called tools after ${this.#maxRounds} rounds (maxToolRounds)`, 'TOOL_ROUNDS_EXCEEDED', { toolCalls });
    }
    this.#roundsLeft -= 1;
    this.messages.push({ role: 'assistant', content: text, tool_calls: toolCalls });
    const results = await Promise.all(toolCalls.map((call) => this.#result(call)));
    this.messages.push(...results);
  }

  /** What a tool throws is told to the model, which may mend its call. */
  async #result(call) {
    const { id, function: { name, arguments: given } } = call;
    const message = (content) => ({ role: 'tool', tool_call_id: id, name, content });
    try {
      return message(contentOf(await this.#tools.get(name)?.execute(given, call)));
    } catch (error) {
      return message(`Error: ${error?.message ?? error}`);
    }
  }
}
