// What is known of a model when one has to be chosen: what it says of itself, what was declared, what was measured.

/** Weight of the newest measurement in a running mean: about the last five calls count. */
const NEWEST = 0.3;

const mean = (old, value) => (old === undefined ? value : old + NEWEST * (value - old));

/** Measurements of one model. Times in ms; undefined until there is one. */
export class Measured {
  requests = 0;
  failures = 0;
  /** Calls that the model is answering. */
  running = 0;
  /** Number of the choice that it last won; 0 = never. */
  lastPicked = 0;
  tokensPerSecond;
  ttftMs;
  latencyMs;

  /** @param {object} result of a call that went well */
  succeeded(result) {
    this.requests += 1;
    this.latencyMs = mean(this.latencyMs, result.latency ?? 0);
    const { timings, performance } = result;
    if (timings?.ttftMs > 0) this.ttftMs = mean(this.ttftMs, timings.ttftMs);
    if (performance?.tokensPerSecond > 0) this.tokensPerSecond = mean(this.tokensPerSecond, performance.tokensPerSecond);
  }

  failed() {
    this.requests += 1;
    this.failures += 1;
  }
}

/** Bytes of the weights in memory, from a model that tells. */
function memoryOf(model) {
  try {
    return typeof model.info === 'function' ? model.info().memory?.weightsBytes : undefined;
  } catch {
    return undefined; // unloaded in the meantime
  }
}

/**
 * One model as strategies see it. Plain data, but for `model` itself.
 * @param {object} model
 * @param {{ measured: Measured, waiting: number, declared: { quality?: number, price?: object } }} record
 */
export function candidateOf(model, { measured, waiting, declared }) {
  const { requests, failures, running, lastPicked, tokensPerSecond, ttftMs, latencyMs } = measured;
  return {
    id: model.id,
    name: model.name ?? model.id,
    format: model.format,
    remote: model.remote === true,
    parameters: model.parameters?.size,
    contextSize: model.config?.contextSize,
    capabilities: model.capabilities ?? {},
    quality: declared.quality,
    price: { input: 0, output: 0, ...declared.price },
    requests, failures, running, waiting, lastPicked, tokensPerSecond, ttftMs, latencyMs,
    get memoryBytes() {
      return memoryOf(model);
    },
    model,
  };
}
