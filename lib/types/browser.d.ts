// Public types of llm-runner-router/browser: what is otherwise than in index.d.ts.
import { BaseLoader } from '../../index.js';
import type { BitNetModel, ChatMessage, LLMRouter as NodeRouter, LoadOptions, RegisterOptions, RouterOptions } from '../../index.js';

export { AbortError, BaseLoader, Chat, LlmError, MockLoader, ModelError, OpenAILoader, TextStream } from '../../index.js';
export type * from '../../index.js';

/** Options of `load()` in a browser: those that name files, folders or threads are refused there. */
export type BrowserLoadOptions = Omit<LoadOptions, 'threads' | 'autoBuild' | 'quantType' | 'cacheDir' | 'i2sLayout' | 'kernelConfig'>;

/**
 * Where a model comes from: the address of a GGUF file, or of a folder in the layout of Hugging Face; a model id (`owner/name`); `demo`; a
 * file that the user has chosen.
 */
export type BrowserSource = string | Blob;

/** A model in a web worker of its own: what the addon answers at once comes as a promise. */
export interface BrowserModel extends Omit<BitNetModel, 'tokenize' | 'detokenize' | 'applyChatTemplate'> {
  /** `addSpecial`: also the tokens that the tokenizer puts around every text. @default true */
  tokenize(text: string, options?: { addSpecial?: boolean }): Promise<number[]>;
  /** `skipSpecial`: leave special tokens out. @default true */
  detokenize(ids: Iterable<number>, options?: { skipSpecial?: boolean }): Promise<string>;
  /** Further keys reach the template: `tools`, `documents`, ... */
  applyChatTemplate(messages: ChatMessage[], options?: { addGenerationPrompt?: boolean; [key: string]: unknown }): Promise<string>;
}

/** Loads models; generate() and stream() use the one loaded last. */
export class BitNetLoader extends BaseLoader {
  /** `offline`: fetch nothing. @default false */
  constructor(options?: { offline?: boolean });
  /** Fetches a model, or takes it from the cache of the browser, and loads it into a web worker. */
  load(source: BrowserSource, options?: BrowserLoadOptions): Promise<BrowserModel>;
  /** The same as one object; several files make a folder. */
  load(spec: BrowserLoadOptions & { source: BrowserSource | readonly Blob[] }): Promise<BrowserModel>;
}

/** Loads models and sends each call to one of them. */
export interface LLMRouter extends Omit<NodeRouter, 'load'> {
  /** Fetches a model, or takes it from the cache of the browser, and loads it into a web worker. */
  load(source: BrowserSource, options?: BrowserLoadOptions & RegisterOptions): Promise<BrowserModel>;
  /** The same as one object; several files make a folder. */
  load(spec: BrowserLoadOptions & RegisterOptions & { source: BrowserSource | readonly Blob[] }): Promise<BrowserModel>;
}

/** Loads models and sends each call to one of them. */
export const LLMRouter: new (options?: Omit<RouterOptions, 'bitnetPath' | 'registryPath'>) => LLMRouter;
export default LLMRouter;

/** Forgets every model that this site has fetched; true when there were any. */
export function clearModelCache(): Promise<boolean>;
