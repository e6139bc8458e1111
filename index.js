// llm-runner-router: runs ternary (BitNet b1.58) language models on CPUs.
//
//   const router = new LLMRouter();
//   const model = await router.load('demo');
//   const { text } = await router.generate('What is BitNet?', { modelId: model.id });
//
// The classes behind it are in lib/, the loaders in loaders/, the engine in src/ and crates/.
import { detectEnvironment } from './lib/environment.js';
import { AbortError, ModelError } from './lib/errors.js';
import { LLMRouter } from './lib/llm-router.js';
import { Pipeline } from './lib/pipeline.js';
import { ModelRegistry } from './lib/registry.js';
import { Router } from './lib/router/router.js';
import { TextStream } from './lib/stream.js';
import { BaseLoader } from './loaders/BaseLoader.js';
import { BitNetLoader } from './loaders/BitNetLoader.js';
import { MockLoader } from './loaders/MockLoader.js';

let shared;
/** The router behind the functions below, made when one of them is first called. */
const sharedRouter = () => (shared ??= new LLMRouter());

export const initialize = () => sharedRouter().initialize();
export const load = (source, options) => sharedRouter().load(source, options);
export const generate = (...call) => sharedRouter().generate(...call);
export const stream = (...call) => sharedRouter().stream(...call);
export const quick = (prompt, options) => sharedRouter().quick(prompt, options);

// require('llm-runner-router') gives the class itself, so the other exports hang on it.
Object.assign(LLMRouter, {
  default: LLMRouter, LLMRouter, BitNetLoader, MockLoader, BaseLoader, ModelRegistry, Router, Pipeline, TextStream,
  ModelError, LlmError: ModelError, AbortError, detectEnvironment, initialize, load, generate, stream, quick,
});

export {
  AbortError, BaseLoader, BitNetLoader, detectEnvironment, LLMRouter, MockLoader, ModelError, ModelError as LlmError, ModelRegistry, Pipeline, Router,
  TextStream,
};
export { LLMRouter as default, LLMRouter as 'module.exports' };
