// llm-router perplexity: how well a model predicts a text.
import { readFileSync } from 'node:fs';
import { measurePerplexity } from '../perplexity.js';
import { toCount, UsageError } from './arguments.js';
import { withInterrupt } from './interrupt.js';
import { LOAD_FLAGS, loadModel } from './model-options.js';

export const usage = 'MODEL --file TEXT';
export const about = `Tells how well a model predicts a text: its perplexity, with the interval in which it lies in 95 of 100 cases. The text is cut into windows
that overlap by half; every token is counted once. With --state it goes on where it was interrupted.`;
export const operands = { least: 1, most: 1 };
export const options = {
  file: { type: 'string', short: 'f', value: 'FILE', about: 'the text, UTF-8; - is standard input' },
  window: { type: 'string', short: 'w', value: 'N', about: 'tokens of a window (default: 512, or the context if that is less)' },
  state: { type: 'string', value: 'FILE', about: 'keeps how far it is, to go on from there' },
  ...LOAD_FLAGS,
  json: { type: 'boolean', about: 'one line of JSON: perplexity, low, high, nll, tokens' },
};
export const examples = ['llm-router perplexity model.gguf --file wiki.test.raw', 'llm-router perplexity model.gguf --file wiki.test.raw --window 2048 --state half-way.json'];

export async function run({ values, positionals: [source], out }) {
  if (values.file === undefined) throw new UsageError('perplexity needs a text: --file FILE');
  const window = toCount('window', values.window, 2);
  const text = readFileSync(values.file === '-' ? 0 : values.file, 'utf8');
  await withInterrupt(async (signal) => {
    const { router, model } = await loadModel(source, values, out, { signal });
    const onProgress = ({ done, total, perplexity }) => out.status(`${Math.floor((100 * done) / total)}%  ${done} of ${total} tokens  perplexity ${perplexity.toFixed(4)}`);
    const { perplexity, low, high, nll, tokens } = await measurePerplexity(model, text, { window, state: values.state, signal, onProgress });
    out.endProgress();
    if (values.json) out.json({ perplexity, low, high, nll, tokens });
    else {
      out.say(`${tokens} tokens; 95 %: ${low.toFixed(4)} to ${high.toFixed(4)}`);
      out.print(perplexity.toFixed(4));
    }
    await router.cleanup();
  });
}
