// A chat that keeps its turns, streamed, and what of the prompt did not have to be read again.
import LLMRouter from 'llm-runner-router';

const router = new LLMRouter();
const model = await router.load('demo', { conversation: true });

for (const question of ['What is BitNet b1.58?', 'tell me more']) {
  console.log(`> ${question}`);
  const stream = model.stream(question);
  for await (const piece of stream) process.stdout.write(piece);
  const { usage } = await stream.result;
  console.log(`\n(${usage.cachedTokens} of ${usage.promptTokens} prompt tokens were still there)`);
}
