// Two models, a strategy of one's own, and a fallback.
import { LLMRouter } from 'llm-runner-router';

const router = new LLMRouter({
  // The one that has answered least so far.
  strategy: (candidates) => candidates.reduce((a, b) => (b.requests < a.requests ? b : a)),
  fallbacks: true,
});
await router.load('demo', { id: 'first', threads: 1 });
await router.load('demo', { id: 'second', threads: 1 });

for (const question of ['What is BitNet?', 'What is a token?', 'Hello!']) {
  const { modelId, routing, text } = await router.generate(question, { maxTokens: 20 });
  console.log(`${modelId} (${routing.reason}): ${text}`);
}
await router.cleanup();
