// Three ways to stop: a signal, leaving the loop, and a number of tokens.
import LLMRouter, { AbortError } from 'llm-runner-router';

const router = new LLMRouter();
const model = await router.load('demo');
const endless = { maxTokens: 1_000_000, ignoreEos: true, contextOverflow: 'shift' };

try {
  await model.generate('What is BitNet?', { ...endless, signal: AbortSignal.timeout(100) });
} catch (error) {
  if (!(error instanceof AbortError)) throw error;
  console.log(`${error.code} after ${error.partialText.length} characters`);
}

let characters = 0;
for await (const piece of model.stream('What is BitNet?', endless)) {
  characters += piece.length;
  if (characters > 100) break;
}
console.log(`left after ${characters} characters`);

const { finishReason } = await model.generate('What is BitNet?', { maxTokens: 5 });
console.log(`ended by ${finishReason}`);
