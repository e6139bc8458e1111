// Other engines, run in turn with ours on the same weights.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { UsageError } from './options.js';
import { runProgram } from './processes.js';
import { median, significant } from './statistics.js';

const NODE_LLAMA = fileURLToPath(new URL('node-llama.js', import.meta.url));

/** A prompt from an empty context, and decoding after a context, as llama-bench names them. */
export const promptTest = (tokens) => `pp${tokens}`;
export const decodeTest = (tokens, context) => `tg${tokens}${context > 0 ? `@${context}` : ''}`;

/** `pp128`, `tg128` or `tg32@2048` as { prefill } or { decode, context }. */
export function readTest(text) {
  const [, kind, tokens, context] = /^(pp|tg)([1-9]\d*)(?:@(\d+))?$/.exec(text) ?? [];
  if (!kind || (kind === 'pp' && context !== undefined)) throw new UsageError(`There is no test "${text}"; there are: pp128, tg128, tg32@2048 with any numbers`);
  return kind === 'pp' ? { prefill: Number(tokens) } : { decode: Number(tokens), context: Number(context ?? 0) };
}

/** The tests of one call at a time among the measurements, each with our figure of every round so far. */
function testsOf(cases) {
  const tests = new Map();
  for (const { prefill, context, decode, batch, samples } of cases) {
    if (prefill !== null) tests.set(promptTest(prefill), samples.map(({ prefillTps }) => prefillTps));
    if (context !== null && batch === 1) tests.set(decodeTest(decode, context), samples.map(({ decodeTps }) => decodeTps));
  }
  return tests;
}

/** The file that `import 'node-llama-cpp'` means in `folder`. */
function nodeLlamaEntry(folder) {
  try {
    return createRequire(path.resolve(folder, 'package.json')).resolve('node-llama-cpp');
  } catch {
    throw new UsageError(`node-llama-cpp is not installed in ${path.resolve(folder)}: run npm install node-llama-cpp there, or name its folder with --node-llama`);
  }
}

/** node-llama-cpp from the node_modules of `folder`: what a Node program would take else. */
function nodeLlama(folder, model) {
  const entry = nodeLlamaEntry(folder);
  const measure = async (tests, threads) => {
    const stdout = await runProgram(process.execPath, [NODE_LLAMA, entry, path.resolve(model), String(threads), tests.join(',')]);
    const lines = stdout.split('\n').filter((line) => line.startsWith('{'));
    return new Map(lines.map((line) => JSON.parse(line)).map(({ test, tok_s: tps }) => [test, tps]));
  };
  return { name: 'node-llama-cpp', measure };
}

/** Command lines of llama-bench for these tests: one for all from an empty context, one for each depth. */
function llamaBenchArguments(tests) {
  const prompts = tests.filter(({ prefill }) => prefill).map(({ prefill }) => prefill);
  const lengths = tests.filter(({ context }) => context === 0).map(({ decode }) => decode);
  const list = (numbers) => numbers.join(',') || '0';
  const plain = prompts.length + lengths.length > 0 ? [['-p', list(prompts), '-n', list(lengths)]] : [];
  return [...plain, ...tests.filter(({ context }) => context > 0).map(({ decode, context }) => ['-p', '0', '-n', String(decode), '-d', String(context)])];
}

/** A program with the command line of llama-bench. Tests at a depth are left out where it lacks the option -d. */
function llamaBench(program, model) {
  if (!existsSync(program)) throw new UsageError(`--llama-bench: there is no ${program}`);
  const { stdout: help, stderr } = spawnSync(program, ['--help'], { encoding: 'utf8' });
  const knowsDepth = /(^|\s)-d[\s,]/m.test(help + stderr);
  const measure = async (names, threads) => {
    const found = new Map();
    for (const args of llamaBenchArguments(names.map(readTest).filter(({ context = 0 }) => context === 0 || knowsDepth))) {
      const stdout = await runProgram(program, ['-m', model, '-t', String(threads), '-r', '1', '-o', 'json', ...args]);
      for (const row of JSON.parse(stdout.slice(stdout.indexOf('[')))) {
        found.set(row.n_gen > 0 ? decodeTest(row.n_gen, row.n_depth ?? 0) : promptTest(row.n_prompt), row.avg_ts);
      }
    }
    return found;
  };
  return { name: path.basename(program), measure };
}

/** The rivals that the settings ask for, with their results: threads, test and a figure of each round. */
export function createRivals(settings) {
  if (!settings.compare) return [];
  const model = settings['rival-model'];
  if (!existsSync(model)) throw new UsageError(`--rival-model: there is no ${model}`);
  const engines = [];
  if (settings['llama-bench'] !== undefined) engines.push(llamaBench(settings['llama-bench'], model));
  if (settings['node-llama'] !== undefined || engines.length === 0) engines.push(nodeLlama(settings['node-llama'] ?? '.', model));
  return engines.map(({ name, measure }) => {
    const results = new Map();
    const run = async (cases, threads) => {
      const tests = [...testsOf(cases).keys()];
      for (const [test, tps] of await measure(tests, threads)) {
        const key = `${threads} ${test}`;
        results.set(key, [...(results.get(key) ?? []), tps]);
      }
    };
    return { name, run, results };
  });
}

/** For each rival, thread count and test: both medians, and the median of the rounds' ratios, ours over the rival's. */
export function compareWith(rivals, cases) {
  const rows = [];
  for (const threads of new Set(cases.map((one) => one.threads))) {
    for (const [test, ours] of testsOf(cases.filter((one) => one.threads === threads))) {
      for (const { name, results } of rivals) {
        const theirs = results.get(`${threads} ${test}`);
        if (!theirs) continue;
        const ratios = ours.map((tps, round) => tps / theirs[round]);
        rows.push({
          rival: name, threads, test,
          oursTps: significant(median(ours)), rivalTps: significant(median(theirs)), ratio: significant(median(ratios)),
          range: [significant(Math.min(...ratios)), significant(Math.max(...ratios))], rounds: ratios.length,
        });
      }
    }
  }
  return rows;
}
