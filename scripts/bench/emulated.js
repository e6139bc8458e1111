// npm run bench:arm64 [-- MODEL]: instructions that a token takes on ARM64, counted by QEMU: repeatable on any machine, and no time. What
// starting and loading take is in two runs of different length alike, and drops out of their difference.
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { addonPath } from '../../lib/native.js';
import { platformBinary } from '../packages/manifests.js';
import { ensureRuntimes, NODE_ARM64 } from '../prebuilds/runtimes.js';
import { ensureToolchain, tools } from '../prebuilds/toolchain.js';
import { ROOT, run, say } from '../support.js';

const PLATFORM = 'linux-arm64-gnu';
const ISAS = ['scalar', 'neon', 'neondotprod', 'neoni8mm'];
/** Words of the prompt and new tokens of each run. */
const RUNS = { base: { prompt: 8, tokens: 2 }, decode: { prompt: 8, tokens: 6 }, prompt: { prompt: 40, tokens: 2 } };

/** Instructions of one run, and what it did. */
function count(plugin, job) {
  const args = ['-plugin', plugin, '-d', 'plugin', '-L', tools.sysroot, '-cpu', 'max', NODE_ARM64, '--single-threaded'];
  const worker = path.join(ROOT, 'scripts', 'bench', 'emulated-worker.js');
  const { status, stdout, stderr } = spawnSync(tools.qemuArm64Plugins, [...args, worker, JSON.stringify(job)], { encoding: 'utf8' });
  const instructions = Number(/^instructions (\d+)$/m.exec(stderr)?.[1]);
  if (status !== 0 || Number.isNaN(instructions)) throw new Error(`the emulated run failed: ${stderr}`);
  return { instructions, ...JSON.parse(stdout) };
}

/** Millions of instructions for a token that is made, and for one of the prompt. */
function measure(plugin, model, isa) {
  const [base, decode, prompt] = Object.values(RUNS).map((lengths) => count(plugin, { model, isa, ...lengths }));
  const per = (longer, unit) => (longer.instructions - base.instructions) / (longer[unit] - base[unit]) / 1e6;
  return { decode: per(decode, 'completionTokens'), prompt: per(prompt, 'promptTokens') };
}

function main([model = 'demo']) {
  if (!existsSync(platformBinary(PLATFORM))) throw new Error(`npm run build:prebuilds -- ${PLATFORM} comes first`);
  ensureToolchain();
  ensureRuntimes();
  mkdirSync(path.dirname(addonPath(PLATFORM)), { recursive: true });
  copyFileSync(platformBinary(PLATFORM), addonPath(PLATFORM));
  const folder = mkdtempSync(path.join(tmpdir(), 'llm-runner-count-'));
  const plugin = path.join(folder, 'count.so');
  run(tools.zig, ['cc', '-O2', '-shared', '-fPIC', '-o', plugin, path.join('scripts', 'bench', 'emulated-count.c')]);
  process.stdout.write('| kernel | million instructions for a token decoded | for a token of the prompt |\n| --- | --- | --- |\n');
  let scalar;
  for (const isa of ISAS) {
    const { decode, prompt } = measure(plugin, model, isa);
    scalar ??= { decode, prompt };
    const cell = (value, reference) => `${value.toPrecision(3)} (1/${(reference / value).toPrecision(2)})`;
    process.stdout.write(`| ${isa} | ${cell(decode, scalar.decode)} | ${cell(prompt, scalar.prompt)} |\n`);
  }
  rmSync(folder, { recursive: true });
}

try {
  main(process.argv.slice(2));
} catch (error) {
  say(`Failed: ${error.message}`);
  process.exitCode = 1;
}
