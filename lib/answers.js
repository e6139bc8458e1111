// Sources of events around others: the prompt said again before an answer, and several answers to one prompt.

/** Says `text` first. */
export class Echo {
  #text;
  #source;

  constructor(text, source) {
    this.#text = text;
    this.#source = source;
  }

  async next() {
    const text = this.#text;
    this.#text = '';
    return text === '' ? this.#source.next() : { text };
  }

  cancel() {
    this.#source.cancel();
  }
}

/**
 * Several answers made side by side. The first is read as it is made; the end has all of them: `choices`, each `{ text, done }`.
 */
export class Choices {
  #sources;
  #text = '';
  #others;

  /** @param {{ next(): Promise<object>, cancel(): void }[]} sources at least one */
  constructor(sources) {
    this.#sources = sources;
    this.#others = Promise.all(sources.slice(1).map(readToEnd));
    this.#others.catch(() => this.cancel()); // seen at the end
  }

  async next() {
    const event = await this.#sources[0].next();
    if (event?.text !== undefined) this.#text += event.text;
    if (!event?.done) return event;
    return { done: { ...event.done, choices: [{ text: this.#text, done: event.done }, ...(await this.#others)] } };
  }

  cancel() {
    for (const source of this.#sources) source.cancel();
  }
}

async function readToEnd(source) {
  let text = '';
  for (;;) {
    const event = await source.next();
    if (!event || event.done) return { text, done: event?.done };
    text += event.text;
  }
}
