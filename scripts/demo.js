// npm run demo: the embedded model answers, or any model with --model. Sets up what a fresh clone lacks.
import { createInterface } from 'node:readline/promises';
import { parseArgs } from 'node:util';
import { terminal } from '../lib/cli/terminal.js';
import { ensureBuilt, say } from './support.js';

const HELP = `npm run demo                                   a few questions, then a chat when this is a terminal
npm run demo -- --prompt "What is BitNet?"     one prompt
npm run demo -- --chat                         a chat

  --model PATH_OR_ID   model to run (default: demo, the small model in this package)
  --max-tokens N       most tokens of an answer (default: 128)
  --threads N          CPU threads (default: the physical cores)`;

/** Questions in the words of its training, so that the toy answers them right. */
const QUESTIONS = ['What is BitNet?', 'Why are the weights ternary?', 'How do I load a model?', 'Do I need a GPU?'];

function readArguments() {
  const options = {
    prompt: { type: 'string' },
    model: { type: 'string', default: 'demo' },
    'max-tokens': { type: 'string' },
    threads: { type: 'string' },
    chat: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  };
  const { values } = parseArgs({ options });
  const number = (name) => (values[name] === undefined ? undefined : Number(values[name]));
  return { ...values, maxTokens: number('max-tokens'), threads: number('threads') };
}

const out = terminal();

async function loadModel(router, { model: source, threads, conversation }) {
  const startedAt = performance.now();
  const model = await router.load(source, { threads, conversation, onProgress: out.progress });
  out.endProgress();
  const { parameters, bitsPerWeight, isa, threads: used } = model.info();
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(2);
  say(
    `Loaded ${model.name} in ${seconds} s: ${(parameters / 1e6).toFixed(1)} M parameters, ${bitsPerWeight.toFixed(2)} bits per weight, ` +
      `kernel ${isa}, ${used} thread${used > 1 ? 's' : ''}`,
  );
  return model;
}

async function answer(model, prompt, { maxTokens }, signal) {
  const stream = model.stream(prompt, { maxTokens, signal });
  for await (const piece of stream) process.stdout.write(piece);
  const { tokens, performance: speed, usage } = await stream.result;
  process.stdout.write('\n');
  const reused = usage.cachedTokens > 0 ? `, ${usage.cachedTokens} of ${usage.promptTokens} prompt tokens reused` : '';
  process.stdout.write(`  [${tokens} tokens, ${speed.tokensPerSecond.toFixed(1)} tokens/s${reused}]\n\n`);
}

async function chat(model, settings) {
  say('Chat: ask away; an empty line or Ctrl-D ends it, Ctrl-C stops an answer.\n');
  const terminal = createInterface({ input: process.stdin, output: process.stderr, prompt: '> ' });
  let running = null;
  let isOpen = true;
  terminal.once('close', () => (isOpen = false));
  terminal.on('SIGINT', () => (running ? running.abort() : terminal.close()));
  terminal.prompt();
  for await (const line of terminal) {
    if (line.trim() === '') break;
    running = new AbortController();
    try {
      await answer(model, line, settings, running.signal);
    } catch (error) {
      process.stdout.write('\n');
      say(`  [${error.message}]\n`);
      if (error.code === 'CONTEXT_OVERFLOW') {
        model.resetConversation();
        say('  [The chat was too long for the model: it starts anew.]\n');
      }
    }
    running = null;
    if (isOpen) terminal.prompt();
  }
  terminal.close();
}

async function main() {
  const settings = readArguments();
  if (settings.help) {
    process.stdout.write(`${HELP}\n`);
    return;
  }
  ensureBuilt();
  const { default: LLMRouter } = await import('../index.js');
  const router = new LLMRouter();
  if (settings.prompt !== undefined) {
    await answer(await loadModel(router, settings), settings.prompt, settings);
    return;
  }
  const isTerminal = process.stdin.isTTY && process.stdout.isTTY;
  if (!settings.chat) {
    const model = await loadModel(router, settings);
    if (settings.model === 'demo') {
      say('This is a toy of 4 M parameters that knows this package and BitNet; on other questions it is often wrong.\n');
    }
    for (const question of QUESTIONS) {
      process.stdout.write(`> ${question}\n`);
      await answer(model, question, settings);
    }
  }
  if (settings.chat || isTerminal) await chat(await loadModel(router, { ...settings, conversation: true }), settings);
}

try {
  await main();
} catch (error) {
  say(`Demo failed: ${error.message}`);
  process.exitCode = error.code?.startsWith?.('ERR_PARSE_ARGS') ? 2 : 1;
}
