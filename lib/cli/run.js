// llm-router run: one prompt, one answer.
import { text } from 'node:stream/consumers';
import { UsageError } from './arguments.js';
import { withInterrupt } from './interrupt.js';
import { loadModel, MODEL_FLAGS, optionsFor } from './model-options.js';

export const usage = 'MODEL [PROMPT]';
export const about = `Answers one prompt; the answer goes to stdout as it is made. Without a prompt, or with \`-\`, standard input is the prompt. A model that is
not there is fetched first.`;
export const operands = { least: 1, most: 2 };
export const options = {
  system: { type: 'string', short: 's', value: 'TEXT', about: 'system message before the prompt' },
  stop: { type: 'string', multiple: true, value: 'TEXT', about: 'text that ends the answer; may be given several times' },
  raw: { type: 'boolean', about: 'complete the text as it stands, without the chat template' },
  ...MODEL_FLAGS,
  stats: { type: 'boolean', about: 'tell tokens and speed on stderr' },
  json: { type: 'boolean', about: 'one line of JSON, the whole result, in place of the text' },
};
export const examples = [
  'llm-router run demo "What is BitNet?"',
  'llm-router run microsoft/BitNet-b1.58-2B-4T "Explain quantum computing" -n 200 --temperature 0.7',
  'git diff | llm-router run ./model.gguf --system "Write a commit message for this change" --quiet',
];

async function promptOf(given) {
  if (given !== undefined && given !== '-') return given;
  if (process.stdin.isTTY) throw new UsageError('run needs a prompt: llm-router run MODEL "PROMPT"');
  return (await text(process.stdin)).trim();
}

/** Tokens and speed in a few words. */
export const statistics = ({ tokens, usage: { promptTokens, cachedTokens }, performance, timings, seed }) =>
  `[${tokens} tokens, ${performance.tokensPerSecond.toFixed(1)} tokens/s; prompt: ${promptTokens} tokens, ${cachedTokens} of them known; ` +
  `first token after ${Math.round(timings.ttftMs)} ms; seed ${seed}]`;

export async function run({ values, positionals: [source, given], out }) {
  const prompt = await promptOf(given);
  const call = { ...optionsFor('call', values), systemPrompt: values.system, stop: values.stop, raw: values.raw };
  await withInterrupt(async (signal) => {
    const { router, model } = await loadModel(source, values, out, { signal });
    const stream = router.stream(prompt, { ...call, modelId: model.id, signal });
    for await (const piece of stream) if (!values.json) out.write(piece);
    const result = await stream.result;
    if (values.json) out.json(result);
    else out.print('');
    if (values.stats) out.say(out.paintTalk('dim', statistics(result)));
    await router.cleanup();
  });
}
