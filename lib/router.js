// Which model answers a call that names none. The other strategies will stand beside `balanced` in STRATEGIES.
import { ModelError } from './errors.js';

/** name -> choice among loaded models (at least one, in the order of loading). */
const STRATEGIES = {
  // Local models all cost nothing, so the first loaded one is as good as any and the choice is stable.
  balanced: (candidates) => candidates[0],
};

export class Router {
  #registry;

  /**
   * @param {import('./registry.js').ModelRegistry} registry
   * @param {{ strategy?: string }} [config]
   */
  constructor(registry, { strategy = 'balanced' } = {}) {
    this.#registry = registry;
    this.config = { strategy };
  }

  get strategy() {
    return this.config.strategy;
  }

  /** The model of this id, or the one that the strategy chooses. */
  selectModel(modelId) {
    const available = this.#registry.getAvailable();
    if (modelId !== undefined) {
      const model = this.#registry.get(modelId);
      if (model && model.loaded !== false) return model;
      const loaded = available.map(({ id }) => id);
      throw new ModelError(
        `Model not found: ${modelId}. ${loaded.length > 0 ? `Loaded are: ${loaded.join(', ')}` : 'No model is loaded'}`,
        'MODEL_NOT_FOUND',
        { option: 'modelId', given: modelId, allowed: loaded },
      );
    }
    if (available.length === 0) throw new ModelError('No models available: load one first with router.load()', 'MODEL_NOT_LOADED');
    return STRATEGIES[this.config.strategy](available);
  }
}

export default Router;
