// node:events, as far as the package uses it.

export class EventEmitter {
  /** name -> listeners in their order, with what they were added as */
  #listeners = new Map();

  on(name, listener) {
    return this.#add(name, { listener, call: listener });
  }

  once(name, listener) {
    const call = (...values) => {
      this.off(name, listener);
      listener.apply(this, values);
    };
    return this.#add(name, { listener, call });
  }

  #add(name, entry) {
    this.#listeners.set(name, [...(this.#listeners.get(name) ?? []), entry]);
    return this;
  }

  off(name, listener) {
    const entries = this.#listeners.get(name) ?? [];
    const at = entries.findLastIndex((entry) => entry.listener === listener);
    if (at >= 0) this.#listeners.set(name, entries.toSpliced(at, 1));
    return this;
  }

  emit(name, ...values) {
    const entries = this.#listeners.get(name) ?? [];
    if (entries.length === 0 && name === 'error') throw values[0];
    for (const { call } of entries) call.apply(this, values);
    return entries.length > 0;
  }

  listenerCount(name) {
    return this.#listeners.get(name)?.length ?? 0;
  }

  removeAllListeners(name) {
    if (name === undefined) this.#listeners.clear();
    else this.#listeners.delete(name);
    return this;
  }

  addListener(name, listener) {
    return this.on(name, listener);
  }

  removeListener(name, listener) {
    return this.off(name, listener);
  }
}

export default EventEmitter;
