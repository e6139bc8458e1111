// Tries the cases of testdata/oracle/malformed one after the other; writes one line of JSON for each.
import { BitNetLoader, ModelError } from '../../index.js';

let input = '';
for await (const chunk of process.stdin.setEncoding('utf8')) input += chunk;
const { cases, good, limits } = JSON.parse(input);
const loader = new BitNetLoader();
const write = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

async function use(model, entry) {
  if (entry.use === 'chat') model.applyChatTemplate([{ role: 'user', content: 'hello' }]);
  model.tokenize(entry.text ?? 'hello world');
  const { tokenIds } = await model.generate(entry.text ?? 'hello', { raw: entry.use !== 'chat', maxTokens: 4, signal: AbortSignal.timeout(limits.seconds * 1000) });
  if (tokenIds.length === 0) throw new Error('no tokens');
}

function problemOf(entry, error, seconds) {
  if (seconds > limits.seconds) return `took ${seconds.toFixed(1)} s`;
  if (!error) return entry.expect === 'reject' ? 'was accepted' : undefined;
  if (entry.expect === 'ok') return `was refused: ${error.message}`;
  if (!(error instanceof ModelError)) return `gave a foreign error: ${error.stack}`;
  if (error.code === 'INTERNAL') return `gave an internal error: ${error.message}`;
  const message = error.message.toLowerCase();
  const words = entry.expect === 'reject' ? (entry.mention_any ?? []) : [];
  if (words.length > 0 && !words.some((word) => message.includes(word.toLowerCase()))) return `does not mention ${words.join(' | ')}: ${error.message}`;
  return undefined;
}

async function attempt(work) {
  try {
    await work();
    return undefined;
  } catch (error) {
    return error;
  }
}

for (const entry of cases) {
  const startedAt = performance.now();
  let model;
  const error = await attempt(async () => {
    model = await loader.load(entry.place);
    await use(model, entry);
  });
  await attempt(async () => model?.unload());
  const seconds = (performance.now() - startedAt) / 1000;
  const after = await attempt(async () => {
    const healthy = await loader.load(good);
    await use(healthy, {});
    await healthy.unload();
  });
  const problem = after ? `a good model fails after it: ${after.message}` : problemOf(entry, error, seconds);
  write({ id: entry.id, outcome: error?.code ?? 'ok', problem, seconds });
}
write({ maxBytes: process.resourceUsage().maxRSS * 1024 });
