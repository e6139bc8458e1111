// Compiled, never run: the types of the public API accept what works and refuse what does not.
import LLMRouter, { AbortError, BitNetLoader, Chat, Config, OpenAILoader, chat, generate, load, LlmError, ModelError, TextStream } from 'llm-runner-router';
import type { BitNetModel, Candidate, ChatMessage, EnsembleResult, GenerateResult, LoadOptions, ModelInfo, RemoteModel, RoutedResult, Strategy, Tool } from 'llm-runner-router';
import Loader from 'llm-runner-router/loaders/BitNetLoader';
import { ModelError as FromErrors } from 'llm-runner-router/errors';
import { MockLoader } from 'llm-runner-router/loaders';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const same = <A, B>(_: Equal<A, B>): void => {};

const router = new LLMRouter({ bitnetPath: './temp/bitnet-repo', cache: true });
const model = await router.load({ source: 'microsoft/BitNet-b1.58-2B-4T', type: 'bitnet', quantType: 'i2_s', threads: 4, contextSize: 2048 });
same<typeof model, BitNetModel>(true);

const response = await router.generate('Explain quantum computing', { modelId: model.id, maxTokens: 200, temperature: 0.7 });
same<typeof response, RoutedResult>(true);
same<typeof response.routing.scores, Record<string, number>>(true);
same<typeof response.finishReason, 'stop' | 'length' | 'content_filter' | 'tool_calls'>(true);

const messages: ChatMessage[] = [{ role: 'user', content: 'Hello' }];
await router.generate(messages);
await router.generate(model, 'Hello', { seed: 1 });
await router.generate(model.id, 'Hello');
await router.generate({ messages, modelId: model.id });
await generate('Hello');
await load('demo');

const stream: TextStream<RoutedResult> = await router.stream('Write a poem', { modelId: model.id });
for await (const token of stream) same<typeof token, string>(true);
const { usage }: GenerateResult = await stream.result;
same<typeof usage.cachedTokens, number>(true);
same<typeof usage.acceptedTokens, number>(true);

const ids: number[] = model.tokenize('text', { addSpecial: false });
const logits: Float32Array = await model.forward(ids, { all: true });
const info: ModelInfo = model.info();
model.applyChatTemplate(messages, { tools: [], addGenerationPrompt: false });
const vectors: Float32Array[] = await model.embed(['text'], { signal: AbortSignal.timeout(1000) });
void [logits, info, vectors];

const loader: BitNetLoader = new Loader({ autoBuild: true });
const { official } = await Loader.listAvailableModels();
same<typeof official, string[]>(true);
router.registerLoader('mock', new MockLoader());

const place: string = await loader.downloadModel('owner/name', 'i2_s', { revision: 'main', onProgress: ({ file }) => void file?.name });
await router.load({ source: place, revision: 'v1', offline: true, signal: AbortSignal.timeout(1000) });

const error: ModelError = new AbortError('reason', 'text');
same<typeof LlmError, typeof ModelError>(true);
same<typeof FromErrors, typeof ModelError>(true);
void [error, loader];

const options: LoadOptions = {
  // @ts-expect-error -- there is no such kernel
  isa: 'mmx',
};
void options;
// @ts-expect-error -- an option of load(), not of a call
await router.generate('Hello', { threads: 4 });
// @ts-expect-error -- options are not a number
await router.generate('Hello', 5);
// @ts-expect-error -- a load needs a source
await router.load({ threads: 4 });

const smallest: Strategy = (candidates) => candidates.reduce((a: Candidate, b: Candidate) => ((a.parameters ?? 0) < (b.parameters ?? 0) ? a : b));
const chosen = new LLMRouter({ strategy: smallest, fallbacks: true, registryPath: './models.json' });
chosen.on('fallback', ({ from, to, error: cause }) => void [from, to, cause.message]);
chosen.on('inference-complete', (result) => same<typeof result, RoutedResult>(true));
chosen.pipeline.use({ before: ({ prompt }) => ({ prompt }), after: (result) => ({ ...result, text: result.text.trim() }) });
await chosen.load('demo', { quality: 0.5, price: { input: 1 }, num_ctx: 64 });
await chosen.generate('Hello', { strategy: 'round-robin', requirements: { capabilities: ['chat'], remote: false }, timeout: 1000, max_tokens: 5 });
// @ts-expect-error -- no such requirement
await chosen.generate('Hello', { requirements: { size: 5 } });
// @ts-expect-error -- there is no such event
chosen.on('modelLoaded', () => {});

const big = await chosen.load({ source: 'gpt-x', type: 'openai', baseURL: 'http://127.0.0.1:8080/v1', apiKeyEnv: 'MY_KEY', price: { output: 3 } });
same<typeof big, RemoteModel>(true);
same<Awaited<ReturnType<OpenAILoader['load']>>, RemoteModel>(true);
same<RemoteModel, Awaited<ReturnType<typeof remoteByPrefix>>>(true);
const remoteByPrefix = () => chosen.load('ollama:llama3.2', { contextSize: 8192 });
const conversation: Chat = chosen.chat({ modelId: 'a', system: 'Be brief.', temperature: 0 });
same<Awaited<ReturnType<typeof conversation.send>>, RoutedResult>(true);
void [conversation.history, chat([{ role: 'user', content: 'Hi' }]).then(({ message }) => message.content)];
const voted: EnsembleResult = await chosen.ensemble(['a', { model: big, weight: 2 }], 'Hello', { method: 'consensus', minAgreement: 0.5 });
void voted.ensemble.votes.map(({ weight, text }) => [weight, text]);
const streamed = await chosen.advanced({ prompt: 'Hello', model: 'demo', stream: true });
for await (const piece of streamed) same<typeof piece, string>(true);
same<ReturnType<Config['validate']>, true>(true);
// @ts-expect-error -- a key is never given, only the variable that holds it
await chosen.load({ source: 'x', type: 'openai', apiKey: 'sk-x' });
// @ts-expect-error -- no such method
await chosen.ensemble(['a'], 'Hello', { method: 'best-of' });

// The paths of the original, which subclasses and scripts name.
import { Config as FromConfig } from 'llm-runner-router/src/config/Config.js';
import { Pipeline as FromPipeline } from 'llm-runner-router/src/core/Pipeline.js';
import { ModelRegistry as FromRegistry } from 'llm-runner-router/src/core/Registry.js';
import { Router as FromRouter } from 'llm-runner-router/src/core/Router.js';
export const parts: [typeof Config, typeof LLMRouter.prototype.pipeline, typeof LLMRouter.prototype.registry] = [FromConfig, FromPipeline.prototype, FromRegistry.prototype];
export const strategyOf = (router: FromRouter): unknown => router;

const formed = await model.generate('x', { responseFormat: { type: 'json_schema', schema: { type: 'object' } }, topLogprobs: 2, logitBias: { 5: -1 }, n: 2, echo: true });
same<typeof formed.parsed, unknown>(true);
void [formed.logprobs?.[0].top[0].logprob, formed.choices?.map(({ text, seed }) => [text, seed])];
const tool: Tool = { type: 'function', function: { name: 'clock', parameters: { type: 'object' } }, execute: (given: { zone?: string }) => given.zone };
await conversation.send('What time is it?', { tools: [tool], toolChoice: { function: { name: 'clock' } }, maxToolRounds: 3 });
void formed.toolCalls?.map(({ id, function: { name } }) => [id, name]);
// @ts-expect-error -- a regular expression needs its pattern
await model.generate('x', { responseFormat: { type: 'regex' } });

import { BitNetLoader as BrowserLoader, LLMRouter as BrowserRouter, clearModelCache } from 'llm-runner-router/browser';
const inBrowser = await new BrowserRouter().load(new Blob([]), { revision: 'main' });
same<Awaited<ReturnType<typeof inBrowser.tokenize>>, number[]>(true);
void [(await new BrowserLoader({ offline: true }).load('demo')).id, await clearModelCache()];
// @ts-expect-error -- a page has one thread
await new BrowserRouter().load('demo', { threads: 2 });
