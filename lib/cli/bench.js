// llm-router bench: how fast a model reads and writes on this machine.
import { toCount, UsageError } from './arguments.js';
import { withInterrupt } from './interrupt.js';
import { LOAD_FLAGS, loadModel } from './model-options.js';
import { bytes } from './terminal.js';

export const usage = 'MODEL';
export const about = `Measures how fast a model reads a prompt and writes an answer, alone and with several answers side by side: medians of several runs. The
text makes no sense; what it costs is what any text costs. Energy is told where the machine has the counters.`;
export const operands = { least: 1 };
export const options = {
  ...LOAD_FLAGS,
  prompt: { type: 'string', short: 'p', value: 'N', default: '512', about: 'tokens of the prompt (default: 512)' },
  'max-tokens': { type: 'string', short: 'n', value: 'N', default: '128', about: 'tokens of an answer (default: 128)' },
  streams: { type: 'string', short: 's', value: 'N', default: '8', about: 'answers side by side in the last measurement; 1 leaves it out (default: 8)' },
  runs: { type: 'string', short: 'r', value: 'N', default: '3', about: 'runs of each measurement (default: 3)' },
  json: { type: 'boolean', about: 'one line of JSON' },
};
export const examples = [
  'llm-router bench demo',
  'llm-router bench microsoft/BitNet-b1.58-2B-4T --threads 4',
  'llm-router bench ./model.gguf -p 2048 -n 64 --streams 1 --json',
];

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

/** A prompt of about so many tokens, another one for each `salt`, so that nothing of an earlier run can be used again. */
function promptOf(model, tokens, salt) {
  const word = (i) => ` ${((i * 7919 + salt * 104_729) % 9973).toString(36)}`;
  let text = '';
  for (let i = 0; model.tokenize(text).length < tokens; i++) text += word(i) + word(i + 1) + word(i + 2) + word(i + 3);
  return model.detokenize(model.tokenize(text, { addSpecial: false }).slice(0, Math.max(1, tokens - 1)));
}

async function measure(model, { prompt, answer, streams, runs, signal, out }) {
  const call = { raw: true, ignoreEos: true, temperature: 0, speculation: 'off', signal };
  const rows = [];
  let salt = 0;
  for (let run = 0; run < runs; run++) {
    out.say(`run ${run + 1} of ${runs}`);
    const alone = await model.generate(promptOf(model, prompt, ++salt), { ...call, maxTokens: answer, energy: true });
    const { usage: { promptTokens, cachedTokens, completionTokens, joules }, timings } = alone;
    const row = {
      promptTokensPerSecond: ((promptTokens - cachedTokens) * 1000) / timings.prefillMs,
      ttftMs: timings.ttftMs,
      tokensPerSecond: alone.performance.tokensPerSecond,
      joulesPerToken: joules > 0 ? joules / (promptTokens + completionTokens) : null,
    };
    if (streams > 1) {
      const startedAt = performance.now();
      const prompts = Array.from({ length: streams }, () => promptOf(model, 8, ++salt));
      const all = await Promise.all(prompts.map((text) => model.generate(text, { ...call, maxTokens: answer })));
      row.streamedTokensPerSecond = (all.reduce((sum, { tokens }) => sum + tokens, 0) * 1000) / (performance.now() - startedAt);
    }
    rows.push(row);
  }
  const of = (name) => (rows.every((row) => typeof row[name] === 'number') ? median(rows.map((row) => row[name])) : null);
  return Object.fromEntries(['promptTokensPerSecond', 'ttftMs', 'tokensPerSecond', 'streamedTokensPerSecond', 'joulesPerToken'].map((name) => [name, of(name)]));
}

const amount = (parameters) => (parameters < 1e9 ? `${(parameters / 1e6).toFixed(1)} million` : `${(parameters / 1e9).toFixed(2)} billion`);

function printReport({ model, measured, streams, prompt, answer, runs }, out) {
  const row = (name, value, unit) => value !== null && out.print(`  ${name.padEnd(34)} ${value.toFixed(value < 10 ? 2 : 1).padStart(9)} ${unit}`);
  out.print(`${out.paint('bold', model.name)}: ${model.architecture}, ${amount(model.parameters)} parameters, ${model.bitsPerWeight.toFixed(2)} bits a weight, ${bytes(model.memory.weightsBytes)}`);
  out.print(`${model.isa}, ${model.threads} thread${model.threads > 1 ? 's' : ''}, medians of ${runs} run${runs > 1 ? 's' : ''}`);
  row(`reading a prompt of ${prompt}`, measured.promptTokensPerSecond, 'tokens/s');
  row('first token after', measured.ttftMs, 'ms');
  row(`writing ${answer} tokens`, measured.tokensPerSecond, 'tokens/s');
  row(`${streams} answers side by side`, measured.streamedTokensPerSecond, 'tokens/s');
  row('energy of a token', measured.joulesPerToken, 'J');
}

export async function run({ values, positionals: [source], out }) {
  const [prompt, answer, streams, runs] = ['prompt', 'max-tokens', 'streams', 'runs'].map((name) => toCount(name, values[name]));
  await withInterrupt(async (signal) => {
    const { router, model } = await loadModel(source, values, out, { signal });
    const info = model.info();
    if (prompt + answer > info.contextSize) {
      throw new UsageError(`-p ${prompt} and -n ${answer} do not fit the context of ${info.contextSize} tokens`);
    }
    const measured = await measure(model, { prompt, answer, streams, runs, signal, out });
    const report = { model: info, prompt, answer, streams, runs, measured };
    if (values.json) out.json(report);
    else printReport(report, out);
    await router.cleanup();
  });
}
