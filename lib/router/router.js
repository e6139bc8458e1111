// Which model answers a call, and which ones if that fails.
import { EventEmitter } from 'node:events';
import { ModelError } from '../errors.js';
import { nearest } from '../options.js';
import { show } from '../show.js';
import { Ledger } from './ledger.js';
import { lengthOf, readRequirements, unfit } from './requirements.js';
import { STRATEGIES } from './strategies.js';

/** For estimates only: tokens of a prompt that has not been tokenised, and of an answer with no limit of its own. */
const CHARACTERS_PER_TOKEN = 4;
const TYPICAL_ANSWER_TOKENS = 128;

const isThenable = (value) => typeof value?.then === 'function';

/** What a strategy gets to see of a call. */
function requestOf(prompt, { requirements, maxTokens = TYPICAL_ANSWER_TOKENS, messages }, streaming) {
  const asked = messages ?? prompt;
  const characters = lengthOf(asked);
  const checked = readRequirements(requirements);
  const implied = [...(Array.isArray(asked) ? ['chat'] : []), ...(streaming ? ['streaming'] : [])];
  return {
    prompt: asked,
    characters,
    promptTokens: Math.ceil(characters / CHARACTERS_PER_TOKEN),
    maxTokens,
    requirements: checked,
    capabilities: [...new Set([...checked.capabilities, ...implied])],
  };
}

/** The scores of what a strategy of one's own returned: an id, a candidate, or scores with or without a reason. */
function readChoice(choice, candidates, name) {
  const id = typeof choice === 'string' ? choice : choice?.id;
  if (candidates.some((candidate) => candidate.id === id)) {
    return { scores: candidates.map((candidate) => (candidate.id === id ? 1 : 0)), reason: choice.reason ?? `chosen by ${name}` };
  }
  const scores = Array.isArray(choice) ? choice : choice?.scores;
  if (Array.isArray(scores) && scores.length === candidates.length && scores.every((score) => typeof score === 'number' && !Number.isNaN(score))) {
    return { scores, reason: choice.reason ?? `highest score of ${name}` };
  }
  throw new ModelError(
    `Strategy ${name} must return the id of a candidate, a candidate, or { scores, reason } with a number for each; ${show(choice)} was returned`,
    'INVALID_ARGUMENT',
    { option: 'strategy', given: choice, allowed: candidates.map((candidate) => candidate.id) },
  );
}

export class Router extends EventEmitter {
  #registry;
  #ledger;
  #strategies = new Map(Object.entries(STRATEGIES));

  /**
   * @param {{ getAvailable(): object[], get?(id: string): object | undefined }} registry
   * @param {{ strategy?: string | Function, fallbacks?: true | string[] }} [config]
   * @param {Ledger} [ledger]
   */
  constructor(registry, { strategy = 'balanced', fallbacks } = {}, ledger = new Ledger()) {
    super();
    this.#registry = registry;
    this.#ledger = ledger;
    this.#strategyOf(strategy);
    this.config = { strategy, fallbacks };
  }

  get strategy() {
    return this.config.strategy;
  }

  getStrategies() {
    return [...this.#strategies.keys()];
  }

  /** Changes how models are chosen from now on: a name, or a function of one's own. */
  setStrategy(strategy) {
    this.#strategyOf(strategy);
    this.config.strategy = strategy;
    this.emit('strategy-changed', typeof strategy === 'function' ? strategy.name || 'custom' : strategy);
  }

  /** Gives a strategy of one's own a name. */
  addStrategy(name, strategy) {
    if (typeof name !== 'string' || name === '' || typeof strategy !== 'function') {
      throw new ModelError(`addStrategy() takes a name and a function; (${show(name)}, ${show(strategy)}) was given`, 'INVALID_ARGUMENT');
    }
    this.#strategies.set(name, strategy);
  }

  /** The model for a prompt, as the original asked for it: `capabilities`, `maxSize` and `format` stand beside other options. */
  async selectModel(prompt, { capabilities, maxSize, format, ...options } = {}) {
    const requirements = { capabilities, maxSize, format, ...options.requirements };
    for (const name of Object.keys(requirements)) if (requirements[name] === undefined) delete requirements[name];
    const available = await this.#registry.getAvailable();
    const { models } = await this.#choose(available, prompt, { ...options, requirements }, false);
    return models[0];
  }

  /**
   * The models for a call, best first, and why. A promise only when the strategy returns one.
   * @param {string | object[]} prompt
   * @param {object} options of the call
   * @param {{ model?: object, streaming?: boolean }} [how] `model`: the one that the caller holds in hand
   * @returns {{ models: object[], routing: object } | Promise<{ models: object[], routing: object }>}
   */
  plan(prompt, options, { model, streaming = false } = {}) {
    const { modelId, fallbacks = this.config.fallbacks } = options;
    if (model || modelId !== undefined) {
      const first = model ?? this.find(modelId);
      this.#ledger.picked(first);
      const routing = { strategy: 'none', candidates: [first.id], scores: {}, reason: model ? 'the call holds the model' : `the call names ${modelId}` };
      return this.#withFallbacks([first], routing, fallbacks);
    }
    const plan = this.#choose(this.#registry.getAvailable(), prompt, options, streaming);
    const finish = ({ models, routing }) => this.#withFallbacks(models, routing, fallbacks);
    return isThenable(plan) ? plan.then(finish) : finish(plan);
  }

  /** The loaded model of this id. */
  find(id) {
    const model = this.#registry.get(id);
    if (model && model.loaded !== false) return model;
    const loaded = this.#registry.getAvailable().map((other) => other.id);
    throw new ModelError(`Model not found: ${id}. ${loaded.length > 0 ? `Loaded are: ${loaded.join(', ')}` : 'No model is loaded'}`, 'MODEL_NOT_FOUND', {
      option: 'modelId', given: id, allowed: loaded,
    });
  }

  #strategyOf(strategy) {
    if (typeof strategy === 'function') return { name: strategy.name || 'custom', choose: strategy, own: true };
    const choose = this.#strategies.get(strategy);
    if (choose) return { name: strategy, choose, own: choose !== STRATEGIES[strategy] };
    const allowed = this.getStrategies();
    const near = typeof strategy === 'string' ? nearest(strategy, allowed) : undefined;
    throw new ModelError(
      `Invalid strategy: ${show(strategy)} was given${near ? `, did you mean "${near}"?` : ''}, one of ${allowed.map(show).join(', ')} or a function is allowed`,
      'INVALID_ARGUMENT',
      { option: 'strategy', given: strategy, allowed },
    );
  }

  #choose(available, prompt, options, streaming) {
    const startedAt = performance.now();
    const request = requestOf(prompt, options, streaming);
    const candidates = this.#fitting(available, request, options);
    const { name, choose, own } = this.#strategyOf(options.strategy ?? this.config.strategy);
    const finish = (choice) => {
      const { scores, reason } = own ? readChoice(choice, candidates, name) : choice;
      // Sorting is stable: equal scores keep the order of loading.
      const order = candidates.map((candidate, i) => ({ candidate, score: scores[i] })).sort((a, b) => b.score - a.score);
      const models = order.map(({ candidate }) => candidate.model);
      this.#ledger.picked(models[0]);
      this.emit('model-selected', { model: models[0].id, strategy: name, latency: performance.now() - startedAt });
      const byId = Object.fromEntries(order.map(({ candidate, score }) => [candidate.id, score]));
      return { models, routing: { strategy: name, candidates: models.map(({ id }) => id), scores: byId, reason } };
    };
    const choice = choose(candidates, request);
    return isThenable(choice) ? choice.then(finish) : finish(choice);
  }

  /** The candidates that can answer; says why when there is none. */
  #fitting(available, request, options) {
    if (available.length === 0) throw new ModelError('No models available: load one first with router.load()', 'MODEL_NOT_LOADED');
    const reasons = {};
    const fitting = available.map((model) => this.#ledger.candidate(model)).filter((candidate) => {
      const cannot = candidate.model.unsupported?.(options)[0];
      const reason = cannot ? `has no option ${cannot}` : unfit(candidate, request);
      if (reason) reasons[candidate.id] = reason;
      return !reason;
    });
    const closed = fitting.filter(({ model }) => this.#ledger.of(model).breaker.state !== 'open');
    if (closed.length > 0) return closed;
    // All of them rest: the first one tells so when it is tried.
    if (fitting.length > 0) return fitting;
    const list = Object.entries(reasons).map(([id, reason]) => `${id} ${reason}`).join('; ');
    throw new ModelError(`No models match requirements: ${list}`, 'NO_MODEL_MATCHES', { reasons });
  }

  /** What is tried in turn: the best one, then the fallbacks; `true` stands for all other candidates in the order of their scores. */
  #withFallbacks(models, routing, fallbacks) {
    if (fallbacks === true) {
      const others = this.#registry.getAvailable().filter((model) => !models.includes(model));
      return { models: routing.strategy === 'none' ? [...models, ...others] : models, routing };
    }
    const named = (fallbacks ?? []).map((id) => this.find(id));
    return { models: [...new Set([models[0], ...named])], routing };
  }
}

export default Router;
