// Loading and fetching models.
import type { Isa, QuantType, SamplingOptions, Speculation } from './call.js';
import type { LoadAliases } from './aliases.js';
import type { Price } from './routing.js';

/** How far a load is. */
export interface LoadProgress {
  phase: 'convert' | 'verify' | 'download' | 'open' | 'weights' | 'tokenizer' | 'ready';
  /** Bytes of this phase; of a download, those of all files. */
  loadedBytes: number;
  totalBytes: number;
  /** Of a download: the file that is being fetched. `waiting`: another process is fetching it. */
  file?: { name: string; loadedBytes: number; totalBytes: number; waiting: boolean };
}

/** Options of `downloadModel()`. */
export interface DownloadOptions {
  /** Branch, tag or commit. @default main */
  revision?: string;
  /** Stops the download with an AbortError; what has arrived is kept. */
  signal?: AbortSignal;
  /** Alias of `signal`. */
  abortSignal?: AbortSignal;
  /** Called about ten times a second. */
  onProgress?: (progress: LoadProgress) => void;
}

/** Options of `load()`. */
export interface LoadOptions extends SamplingOptions, LoadAliases {
  /** Which loader: `bitnet`, `gguf`, `mock` or one of your own. @default read from the file or folder */
  type?: string;
  /**
   * The packing of the ternary weights: which file of several, and where there is none, what to convert to. A converted model is kept in
   * `cacheDir` and found there again until the original changes; packed Hugging Face weights are good enough for `i2_s`. Files of every
   * type are read everywhere; models are converted to `tl1` on ARM64 only, to `tl2` on x86_64 only. @default i2_s, else what is there, as it is
   */
  quantType?: QuantType;
  /** Folder for converted models. @default as the loader or router, else `llm-runner-router/converted` in the user's cache folder */
  cacheDir?: string;
  /** Id of the model in the router; a model of the same id is replaced. @default made up, unique */
  id?: string;
  /** Name shown in results. @default the last part of the source */
  name?: string;
  /** CPU threads, 1 to 256. @default the physical cores that the process may use */
  threads?: number;
  /** Tokens of prompt and answer together, at least 1; above the limit of the model that limit is used, with a warning. @default the limit of the model */
  contextSize?: number;
  /** Kernel to compute with; one that the machine lacks is refused. Wins over LLM_RUNNER_ISA. @default the one that `setup` has measured to be the fastest, else the best there is */
  isa?: Isa;
  /**
   * How logits are computed; they are the same either way. 'auto': where only the largest ones count, they are found through a rounded copy of
   * a large output head, which takes 8 bits a weight in memory. 'full': the whole head for every token, slower, without that copy. @default 'auto'
   */
  head?: 'auto' | 'full';
  /**
   * Block order of I2_S tensors, which no file of others tells. 'arm': files that bitnet.cpp quantised on ARM64 since November 2025; 'detect': the
   * order in which the model predicts a text better, at the price of a second load. @default what a file of this package says, else 'x86', as all published files
   */
  i2sLayout?: 'x86' | 'arm' | 'detect';
  /** The `kernel_config.ini` with the tile sizes of TL1 and TL2 tensors. @default the one beside the model, if there is one */
  kernelConfig?: string;
  /** There is no GPU back-end: above 0 warns once (LLM_ROUTER_NO_GPU) and runs on the CPU. @default 0 */
  gpuLayers?: number;
  /** Speculation of calls that do not say. @default 'auto' */
  speculation?: Speculation;
  /**
   * A matrix that is all zero fails the load with `MODEL_SELFTEST_FAILED`, for it is a sign of a damaged file. true: the model also writes
   * a few tokens, which must be numbers and not one and the same; false: no test. @default that of the matrices only
   */
  selfTest?: boolean;
  /** Keep the turns: the next prompt sees the answers before it. @default false */
  conversation?: boolean;
  /** true: build the native engine if it is missing (in a checkout). @default as the loader */
  autoBuild?: boolean;
  /** Branch, tag or commit of a Hugging Face id. @default what is in the cache, else main */
  revision?: string;
  /** Fetch nothing: a model that is not on the disk is not found. Wins over HF_HUB_OFFLINE. @default as the loader or router, else HF_HUB_OFFLINE */
  offline?: boolean;
  /** Stops the load with an AbortError; what was downloaded is kept. */
  signal?: AbortSignal;
  /** Alias of `signal`. */
  abortSignal?: AbortSignal;
  /** Called while files are fetched and weights are read. */
  onProgress?: (progress: LoadProgress) => void;
}

/** Options of `load()` that only a router reads. */
export interface RegisterOptions {
  /** How good the answers are, 0 to 1, for `quality-first` and `balanced`. @default assumed from the number of parameters */
  quality?: number;
  /** What the model costs, for `cost-optimized`, `balanced` and `maxPrice`. @default nothing */
  price?: Price;
}

/** A load as one object. */
export interface LoadSpec extends LoadOptions {
  /** A file, a folder, a model id (`owner/name`, or `owner/name/file.gguf`), `demo`, or any of these behind `bitnet:`. */
  source: string;
}
