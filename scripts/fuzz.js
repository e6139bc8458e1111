// npm run fuzz: broken input for the parsers of model files, guided by coverage (libFuzzer). --help tells the options.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT, run, say } from './support.js';

const FUZZER = path.join(ROOT, 'fuzz', 'libfuzzer');
const CORPUS = path.join(ROOT, 'fuzz', 'corpus');
const FINDINGS = path.join(ROOT, 'fuzz', 'findings');

const TARGETS = ['gguf', 'tiles', 'safetensors', 'index', 'config', 'generation_config', 'tokenizer', 'sentencepiece', 'tokenizer_config', 'template', 'kernel_config'];

const HELP = `npm run fuzz -- [TARGET ...] [--seconds N] [--keep]

  TARGET       ${TARGETS.join(', ')} (default: all, one after the other)
  --seconds N  time for each target (default: 60)
  --keep       keep inputs that reach new code in fuzz/corpus/TARGET

An input that crashes, hangs for 25 s or takes 2 GiB is written to fuzz/findings/TARGET. Move it to fuzz/corpus/TARGET: the tests
replay what lies there. Needs a C++ compiler besides Rust.`;

/** Coverage counters as libFuzzer reads them; checks of the code under test stay on. */
const RUSTFLAGS = [
  '--cfg=fuzzing', '-Cpasses=sancov-module', '-Cllvm-args=-sanitizer-coverage-level=4',
  '-Cllvm-args=-sanitizer-coverage-inline-8bit-counters', '-Cllvm-args=-sanitizer-coverage-pc-table',
  '-Cllvm-args=-sanitizer-coverage-trace-compares', '-Clink-dead-code', '-Ccodegen-units=1',
];

/** The triple that the compiler builds for: naming it keeps the flags away from build scripts. */
function hostTriple() {
  const { stdout = '' } = spawnSync('rustc', ['-vV'], { encoding: 'utf8' });
  const [, triple] = /^host: (.+)$/m.exec(stdout) ?? [];
  if (!triple) throw new Error('rustc does not tell its host: is Rust installed?');
  return triple;
}

function build() {
  const triple = hostTriple();
  const target = path.join(ROOT, 'target', 'fuzz');
  run('cargo', ['build', '--release', '--manifest-path', path.join(FUZZER, 'Cargo.toml'), '--target', triple, '--target-dir', target], {
    env: { CARGO_ENCODED_RUSTFLAGS: RUSTFLAGS.join('\x1f') },
  });
  return path.join(target, triple, 'release', 'llm-libfuzzer');
}

/** Writes the project's own valid and broken files of a target into a folder. */
function writeSeeds(target, folder) {
  run('cargo', ['run', '--quiet', '--locked', '-p', 'llm-fuzz', '--', target, folder]);
}

function fuzz(program, target, seconds, keep) {
  const [corpus, findings] = [path.join(CORPUS, target), path.join(FINDINGS, target)];
  mkdirSync(findings, { recursive: true });
  const scratch = mkdtempSync(path.join(os.tmpdir(), 'llm-fuzz-'));
  const [found, seeds] = [path.join(scratch, 'found'), path.join(scratch, 'seeds')];
  try {
    [found, seeds, corpus].forEach((folder) => mkdirSync(folder, { recursive: true }));
    writeSeeds(target, seeds);
    // libFuzzer writes what reaches new code into the first folder.
    const known = keep ? [corpus, seeds] : [found, corpus, seeds];
    const limits = [`-max_total_time=${seconds}`, '-timeout=25', '-rss_limit_mb=2048', '-max_len=65536', '-print_final_stats=1'];
    const { status } = spawnSync(program, [...limits, `-artifact_prefix=${findings}${path.sep}`, ...known], {
      env: { ...process.env, LLM_FUZZ_TARGET: target }, stdio: 'inherit',
    });
    return status === 0;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { seconds: { type: 'string', default: '60' }, keep: { type: 'boolean', default: false }, help: { type: 'boolean', default: false } },
  });
  if (values.help) return process.stdout.write(`${HELP}\n`);
  const unknown = positionals.find((name) => !TARGETS.includes(name));
  if (unknown !== undefined) throw new Error(`There is no target "${unknown}"; there are: ${TARGETS.join(', ')}`);
  if (!/^[1-9]\d*$/.test(values.seconds)) throw new Error(`--seconds takes a whole number; "${values.seconds}" was given`);
  const program = build();
  const wanted = positionals.length > 0 ? positionals : TARGETS;
  const failed = wanted.filter((target) => {
    say(`Fuzzing ${target} for ${values.seconds} s`);
    return !fuzz(program, target, Number(values.seconds), values.keep);
  });
  if (failed.length > 0) throw new Error(`findings in ${failed.map((target) => path.join('fuzz', 'findings', target)).join(', ')}`);
  say('Nothing found');
}

try {
  main();
} catch (error) {
  say(`Fuzzing failed: ${error.message}`);
  process.exitCode = 1;
}
