// The guide's first example on the model that ships with the package. Run: node examples/basic.mjs
import LLMRouter from 'llm-runner-router';

const router = new LLMRouter();
const model = await router.load('demo');

const response = await router.generate('What is BitNet?', { modelId: model.id, maxTokens: 60 });
console.log(response.text);
console.log(`${response.tokens} tokens, ${response.performance.tokensPerSecond.toFixed(1)} tokens/s`);
