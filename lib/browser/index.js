// llm-runner-router/browser: the same router, with the engine as a WebAssembly module in a web worker.
//
//   const router = new LLMRouter();
//   await router.load('demo');
//   for await (const text of router.stream('What is BitNet?')) document.body.append(text);
import { CACHE } from './files.js';

export { Chat } from '../chat.js';
export { AbortError, ModelError, ModelError as LlmError } from '../errors.js';
export { LLMRouter, LLMRouter as default } from '../llm-router.js';
export { TextStream } from '../stream.js';
export { BaseLoader } from '../../loaders/BaseLoader.js';
export { BitNetLoader } from '../../loaders/BitNetLoader.js';
export { MockLoader } from '../../loaders/MockLoader.js';
export { OpenAILoader } from '../../loaders/OpenAILoader.js';

/** Forgets every model that this site has fetched; true when there were any. */
export const clearModelCache = async () => (await globalThis.caches?.delete(CACHE)) ?? false;
