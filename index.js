// llm-runner-router: runs ternary (BitNet b1.58) language models on CPUs.
//
//   const router = new LLMRouter();
//   const model = await router.load('demo');
//   const { text } = await router.generate('What is BitNet?', { modelId: model.id });
//
// The classes behind it are in lib/, the loaders in loaders/, the engine in src/ and crates/.
import { Chat } from './lib/chat.js';
import { Config } from './lib/config.js';
import { convert, inspect, quantize, verify } from './lib/convert.js';
import { detectEnvironment } from './lib/environment.js';
import { AbortError, ModelError } from './lib/errors.js';
import { LLMRouter } from './lib/llm-router.js';
import { measurePerplexity } from './lib/perplexity.js';
import { Pipeline } from './lib/pipeline.js';
import { ModelRegistry } from './lib/registry.js';
import { Router } from './lib/router/router.js';
import { TextStream } from './lib/stream.js';
import { BaseLoader } from './loaders/BaseLoader.js';
import { BitNetLoader } from './loaders/BitNetLoader.js';
import { MockLoader } from './loaders/MockLoader.js';
import { OpenAILoader } from './loaders/OpenAILoader.js';

let shared;
/** The router behind the functions below, made when one of them is first called. */
const sharedRouter = () => (shared ??= new LLMRouter());

export const initialize = () => sharedRouter().initialize();
export const load = (source, options) => sharedRouter().load(source, options);
export const generate = (...call) => sharedRouter().generate(...call);
export const stream = (...call) => sharedRouter().stream(...call);
export const quick = (prompt, options) => sharedRouter().quick(prompt, options);
export const advanced = (call) => sharedRouter().advanced(call);
export const ensemble = (models, prompt, options) => sharedRouter().ensemble(models, prompt, options);
export const chat = (options, more) => sharedRouter().chat(options, more);
export const unload = (modelId) => sharedRouter().unload(modelId);
export const getStatus = () => sharedRouter().getStatus();
export const cleanup = () => sharedRouter().cleanup();

// require('llm-runner-router') gives the class itself, so the other exports hang on it.
Object.assign(LLMRouter, {
  default: LLMRouter, LLMRouter, BitNetLoader, MockLoader, OpenAILoader, BaseLoader, ModelRegistry, Router, Pipeline, Config, Chat, TextStream,
  ModelError, LlmError: ModelError, AbortError, detectEnvironment, initialize, load, unload, generate, stream, quick, advanced, ensemble, chat,
  getStatus, cleanup, convert, inspect, quantize, verify, measurePerplexity,
});

export {
  AbortError, BaseLoader, BitNetLoader, Chat, Config, convert, detectEnvironment, inspect, LLMRouter, MockLoader, ModelError, ModelError as LlmError, measurePerplexity, ModelRegistry,
  OpenAILoader, Pipeline, quantize, Router, TextStream, verify,
};
export { LLMRouter as default, LLMRouter as 'module.exports' };
