// A model that must call a function, and a chat that runs the functions that its model calls.
import { LLMRouter } from 'llm-runner-router';

const router = new LLMRouter();
const model = await router.load(process.argv[2] ?? 'demo');

const add = {
  type: 'function',
  function: {
    name: 'add',
    description: 'Adds two whole numbers',
    parameters: {
      type: 'object',
      properties: { a: { type: 'integer', minimum: 0, maximum: 99 }, b: { type: 'integer', minimum: 0, maximum: 99 } },
      required: ['a', 'b'],
      additionalProperties: false,
    },
  },
  execute: ({ a, b }) => a + b,
};

const { toolCalls } = await router.generate('What is 2 and 3?', { modelId: model.id, tools: [add], toolChoice: 'add' });
console.log(toolCalls[0].function.arguments);

const chat = router.chat({ modelId: model.id, maxTokens: 60 });
const { text } = await chat.send('What is 2 and 3?', { tools: [add] });
console.log(text);

await router.cleanup();
