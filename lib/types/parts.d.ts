// What a router is made of: the registry, the choice of a model, the way of a call.
import { EventEmitter } from 'node:events';
import type { Loader, LoadSpec, Prompt, TextStream } from '../../index.js';
import type { AnyModel, PipelineStage, Requirements, RoutedResult, RouteOptions, Strategy, StrategyName } from './routing.js';

/** One row of `registry.list()`. */
export interface ModelRow {
  id: string;
  name: string;
  format?: string;
  source?: string;
  /** False for a model that only the file of the registry lists. */
  loaded: boolean;
}

/** The models of a router. */
export class ModelRegistry extends EventEmitter<{ registered: [model: AnyModel]; unregistered: [model: AnyModel] }> {
  /** `isBusy`: models that must not be evicted now. */
  constructor(config?: { maxModels?: number; registryPath?: string; isBusy?: (model: AnyModel) => boolean });
  readonly models: Map<string, AnyModel>;
  readonly loaders: Map<string, Loader>;
  /** id -> what load() was given, for models that the file lists and that are not loaded. */
  readonly saved: Map<string, LoadSpec>;
  /** Reads the file. */
  initialize(): Promise<void>;
  /** `spec`: what load() was given; a model with one is written to the file. */
  register(model: AnyModel, spec?: LoadSpec): Promise<AnyModel>;
  /** Frees a model and takes it off the list. */
  unregister(id: string): Promise<boolean>;
  /** Frees a model that the file keeps on its list. */
  evict(model: AnyModel): Promise<void>;
  /** Evicts idle models until one more may be registered. */
  makeRoom(): Promise<void>;
  /** Models that answer nothing now, the least recently used first. */
  idle(): AnyModel[];
  /** The model of an id. */
  get(id: string): AnyModel | undefined;
  /** All models. */
  getAll(): AnyModel[];
  /** Plain data on all models, those that only the file of `registryPath` lists among them. */
  list(): ModelRow[];
  /** The models that are loaded. */
  getAvailable(): AnyModel[];
  /** Those of a format. */
  getByFormat(format: string): AnyModel[];
  /** Those that have a capability. */
  getByCapability(capability: string): AnyModel[];
  /** Models that meet every part; `name` is a regular expression that the name or the id contains, in whatever case. */
  search(query?: { name?: string | RegExp; format?: string; capability?: string; remote?: boolean }): AnyModel[];
  /** How many models there are. */
  getModelCount(): number;
  /** Adds a loader for a format. */
  registerLoader(format: string, loader: Loader): void;
  /** The loader of a format. */
  getLoader(format: string): Loader | undefined;
  /** Frees all models; the file keeps its list. */
  cleanup(): Promise<void>;
}

/** Chooses the model of a call. */
export class Router extends EventEmitter<{ 'strategy-changed': [name: string]; 'model-selected': [choice: { model: string; strategy: string; latency: number }] }> {
  constructor(registry: Pick<ModelRegistry, 'get' | 'getAvailable'>, config?: { strategy?: StrategyName | Strategy; fallbacks?: string[] | true });
  readonly strategy: string | Strategy;
  readonly config: { strategy: string | Strategy; fallbacks?: string[] | true };
  /** Names of the strategies. */
  getStrategies(): string[];
  /** Changes how models are chosen from now on. */
  setStrategy(strategy: StrategyName | (string & {}) | Strategy): void;
  /** Gives a strategy of your own a name. */
  addStrategy(name: string, strategy: Strategy): void;
  /** The model that the strategy chooses; `capabilities`, `maxSize` and `format` may stand beside `requirements`. */
  selectModel(prompt: Prompt, options?: RouteOptions & Requirements): Promise<AnyModel>;
}

/** Runs one call on one model, with the stages before and after it, and keeps the response cache. */
export class Pipeline {
  constructor(config?: { cache?: boolean; cacheTTL?: number });
  readonly config: { cache: boolean; cacheTTL: number };
  readonly stages: PipelineStage[];
  /** Adds a stage before and after every call. */
  use(stage: PipelineStage): this;
  /** The whole answer of one model. */
  process(model: AnyModel, prompt: Prompt, options?: RouteOptions): Promise<RoutedResult>;
  /** The answer of one model as it is made. */
  stream(model: AnyModel, prompt: Prompt, options?: RouteOptions): TextStream<RoutedResult>;
  /** Forgets the cached answers. */
  cleanup(): Promise<void>;
}
