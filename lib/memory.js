// How much memory models may take, and room for one more.
import { totalmem } from 'node:os';
import { ModelError } from './errors.js';

/** Share of the machine that models get where nobody says: keys and values, the program and the system need the rest. */
const DEFAULT_SHARE = 0.8;

/** Bytes that this process can have: the memory of the machine, or what its control group allows. */
export function machineBytes({ total = totalmem(), constrained = process.constrainedMemory?.() } = {}) {
  return constrained > 0 ? Math.min(total, constrained) : total;
}

const megabytes = (bytes) => `${Math.ceil(bytes / 2 ** 20)} MB`;

/** The number in the engine's refusal: what the weights take at most. */
const neededBytes = (error) => Number(/take up to (\d+) bytes/.exec(error.message)?.[1] ?? Infinity);

/** Bytes of native models; what several share counts once. */
const bytesOf = (models) => [...new Map(models.map(({ usage }) => [usage.key, usage.bytes])).values()].reduce((sum, bytes) => sum + bytes, 0);

export class MemoryBudget {
  #registry;
  #available;

  /**
   * @param {number | undefined} maxMemory bytes for all models together
   * @param {import('./registry.js').ModelRegistry} registry
   */
  constructor(maxMemory, registry) {
    this.limit = maxMemory ?? Math.floor(machineBytes() * DEFAULT_SHARE);
    // Who names a limit knows the machine; where nobody does, what other programs hold is not to be had.
    this.#available = maxMemory === undefined ? () => process.availableMemory?.() ?? Infinity : () => Infinity;
    this.#registry = registry;
  }

  /** Bytes that one more model may take. */
  get left() {
    return Math.max(0, Math.min(this.limit - this.used, this.#available()));
  }

  /** Bytes that the loaded models take: weights, keys and values. */
  get used() {
    return bytesOf(this.#registry.getAvailable().filter((model) => model.usage));
  }

  /** What keys and values may take: what the weights leave. Grows and shrinks with the models that are loaded. */
  limitCaches(loaders) {
    const weights = new Map(this.#registry.getAvailable().filter((model) => model.usage).map((model) => [model.usage.key, model.info().memory.weightsBytes]));
    const left = this.limit - [...weights.values()].reduce((sum, bytes) => sum + bytes, 0);
    for (const loader of new Set(loaders)) loader.limitCaches?.(Math.max(0, left));
  }

  /**
   * Loads a model into what is left. When it does not fit, idle models are evicted, the least recently used first; when that cannot
   * help, it is refused with the numbers.
   * @template T
   * @param {(maxBytes: number) => Promise<T>} load
   * @returns {Promise<T>}
   */
  async fit(load) {
    for (;;) {
      try {
        return await load(this.left);
      } catch (error) {
        if (error?.code !== 'INSUFFICIENT_MEMORY') throw error;
        const needed = neededBytes(error);
        const idle = this.#idle();
        const evictable = bytesOf(idle);
        if (idle.length === 0 || needed > this.left + evictable) throw this.#refusal(needed, error);
        await this.#registry.evict(idle[0]);
      }
    }
  }

  /** Makes good what two loads at once, or keys and values, have taken too much: evicts idle models, or else the new one. */
  async settle(model) {
    while (model.usage && this.used > this.limit) {
      const [idle] = this.#idle().filter((other) => other !== model);
      if (idle) {
        await this.#registry.evict(idle);
        continue;
      }
      const needed = model.usage.bytes;
      await this.#registry.unregister(model.id);
      throw this.#refusal(needed);
    }
  }

  #idle() {
    return this.#registry.idle().filter((model) => model.usage);
  }

  #refusal(needed, cause) {
    const loaded = this.#registry.getAvailable().filter((model) => model.usage).map((model) => `${model.id} ${megabytes(model.usage.bytes)}`);
    const { limit, used, left } = this;
    return new ModelError(
      `Failed to load BitNet model: its weights take up to ${megabytes(needed)}, but of maxMemory ${megabytes(limit)} only ${megabytes(left)} are left` +
        `${loaded.length > 0 ? ` (loaded: ${loaded.join(', ')})` : ''}. Unload a model that is busy now, or raise maxMemory`,
      'INSUFFICIENT_MEMORY',
      { neededBytes: needed, usedBytes: used, maxMemory: limit },
      { cause },
    );
  }
}
