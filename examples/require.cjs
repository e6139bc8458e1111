// CommonJS: require() gives the class, with the other exports on it.
const LLMRouter = require('llm-runner-router');

async function main() {
  const model = await new LLMRouter.BitNetLoader().load('demo');
  const { text } = await model.generate('What is a token?');
  console.log(text);
}

main();
