// The guide's code in TypeScript, with the types written out: the same line as guide.mjs.
import LLMRouter, { type GenerateResult } from 'llm-runner-router';
import BitNetLoader from 'llm-runner-router/loaders/BitNetLoader';

const router: LLMRouter = new LLMRouter();
await router.initialize();
const model = await router.load({ source: 'microsoft/BitNet-b1.58-2B-4T', type: 'bitnet', quantType: 'i2_s', threads: 4, contextSize: 2048 });
const response: GenerateResult = await router.generate('Explain quantum computing', { modelId: model.id, maxTokens: 20, temperature: 0.7, seed: 1 });

const stream = await router.stream('Write a poem about AI', { modelId: model.id, maxTokens: 15, seed: 2 });
let streamed = '';
for await (const token of stream) streamed += token;

const loader = new BitNetLoader({ bitnetPath: './temp/bitnet-repo', autoBuild: true });
await loader.load('microsoft/BitNet-b1.58-2B-4T', { quantType: 'i2_s', threads: 4, contextSize: 2048 });
const result: GenerateResult = await loader.generate('Hello world', { maxTokens: 10, temperature: 0.7, seed: 3 });

const demo = await router.load('demo');
const { text: answer } = await router.generate('What is BitNet?', { modelId: demo.id, temperature: 0 });
await router.cleanup();
console.log(JSON.stringify([response.text, streamed, result.text, answer] satisfies string[]));
