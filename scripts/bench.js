// npm run bench: how fast the engine is on this machine, and how near to what the machine can do. --help tells the options.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { HELP, readArguments, UsageError } from './bench/options.js';
import { plotHtml, plotSvg } from './bench/plot.js';
import { report, reportSpeculation, whereAndWhen } from './bench/report.js';
import { compareWith, createRivals, decodeTest, promptTest, readTest } from './bench/rivals.js';
import { runRounds } from './bench/rounds.js';
import { SHAPES } from './bench/shapes.js';
import { runSpeculation } from './bench/speculation.js';
import { significant } from './bench/statistics.js';
import { cachedModel, makeModel } from './bench/synthetic.js';
import { ensureBuilt, say } from './support.js';

const print = (line) => process.stdout.write(`${line}\n`);

/** Tells on stderr how far a model is written, in steps of a quarter. */
function showProgress(name) {
  let told = 0;
  return (written, total) => {
    const quarter = Math.floor((4 * written) / total);
    if (quarter > told) say(`Writing ${name}: ${((quarter * total) / 4e9).toFixed(2)} of ${(total / 1e9).toFixed(2)} GB`);
    told = quarter;
  };
}

/** The folder of a synthetic shape, made when it is not there; anything else is for load(). */
const sourceOf = (model) => (model in SHAPES ? cachedModel(model, showProgress(model)) : model);

function make({ make: name, out }) {
  if (out === undefined) return cachedModel(name, showProgress(name));
  makeModel(name, path.resolve(out), showProgress(name));
  return path.resolve(out);
}

/** One test after the other in this process, for scripts that run several engines in turn. */
async function runPeerTests([model, threads, list], isa) {
  const { decode, loadModel, prefill, warmUp } = await import('./bench/measure.js');
  const tests = list.split(',').map(readTest);
  if (!/^[1-9]\d*$/.test(threads)) throw new UsageError(`THREADS is a whole number; "${threads}" was given`);
  const { model: loaded } = await loadModel(sourceOf(model), { threads: Number(threads), isa });
  // As llama-bench does: with a prompt of the length that is measured.
  await warmUp(loaded, Math.max(16, ...tests.map(({ prefill: tokens = 0 }) => tokens)));
  for (const [index, test] of tests.entries()) {
    const { tps } = test.prefill
      ? await prefill(loaded, test.prefill, 100 + index)
      : await decode(loaded, { tokens: test.decode, context: test.context, seed: 100 + index });
    const name = test.prefill ? promptTest(test.prefill) : decodeTest(test.decode, test.context);
    print(JSON.stringify({ test: name, tok_s: significant(tps) }));
  }
}

async function benchSpeculation(settings) {
  const results = { machine: whereAndWhen(), ...(await runSpeculation(settings, sourceOf(settings.model))) };
  if (settings.json) results.measurements.forEach((line) => print(JSON.stringify(line)));
  else print(reportSpeculation(results));
  if (settings.out !== undefined) writeFileSync(settings.out, `${JSON.stringify(results, null, 2)}\n`);
}

async function bench(settings) {
  if (settings.speculation) return benchSpeculation(settings);
  const rivals = createRivals(settings);
  const { cases, measurements, limits } = await runRounds(settings, sourceOf(settings.model), rivals);
  const comparisons = compareWith(rivals, cases);
  const results = { machine: whereAndWhen(), limits, measurements, comparisons, samples: cases.flatMap(({ samples }) => samples) };
  if (settings.json) [...measurements, ...comparisons].forEach((line) => print(JSON.stringify(line)));
  else print(report(results));
  if (settings.out !== undefined) writeFileSync(settings.out, `${JSON.stringify(results, null, 2)}\n`);
  if (settings.plot !== undefined && measurements.length > 0) {
    writeFileSync(settings.plot, settings.plot.endsWith('.html') ? plotHtml(results) : plotSvg(results));
  }
}

async function main() {
  const settings = readArguments(process.argv.slice(2));
  if (settings.help) return print(HELP);
  if (settings.make !== undefined) return print(make(settings));
  ensureBuilt();
  return settings.peers ? runPeerTests(settings.positionals, settings.isa) : bench(settings);
}

try {
  await main();
} catch (error) {
  say(`Benchmark failed: ${error.message}`);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
