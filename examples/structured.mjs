// Answers of a given form: JSON by a schema, enforced token by token.
import { LLMRouter } from 'llm-runner-router';

const router = new LLMRouter();
const model = await router.load(process.argv[2] ?? 'demo');

const schema = {
  type: 'object',
  properties: { title: { type: 'string', maxLength: 40 }, tags: { type: 'array', items: { enum: ['news', 'sport', 'science'] }, maxItems: 2 } },
  required: ['title', 'tags'],
  additionalProperties: false,
};
const { parsed, finishReason } = await router.generate('Describe an article as JSON.', { modelId: model.id, responseFormat: { type: 'json_schema', schema } });
console.log(finishReason, parsed);

const date = await router.generate('When was it?', { modelId: model.id, responseFormat: { type: 'regex', pattern: /\d{4}-\d{2}-\d{2}/ } });
console.log(date.text);

await router.cleanup();
