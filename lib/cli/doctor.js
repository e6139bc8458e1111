// llm-router doctor: what this machine is, what is to be expected of it, and what is wrong with it.
import { existsSync, readFileSync } from 'node:fs';
import { access, constants, statfs } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { listModels } from '../cache.js';
import { callNative } from '../errors.js';
import { hubSettings, isOffline } from '../hub.js';
import { bytesPerToken, KNOWN_MODELS, memoryOf } from '../known-models.js';
import { native } from '../native.js';
import { bitnetDirs, huggingFaceCache, PACKAGE_ROOT } from '../paths.js';
import { withKernel } from '../tuned.js';
import { toCount } from './arguments.js';
import { EXIT } from './exit-codes.js';
import { bytes } from './terminal.js';

export const usage = '';
export const about = `Shows the processor and the kernel that is used, memory, disk, the cache, versions, and what to expect of each known model: tokens a
second from a measurement of memory (a second or two, half a gigabyte). Tells what is wrong, and then ends with 1.`;
export const options = {
  threads: { type: 'string', value: 'N', about: 'measure with so many threads (default: half the logical processors, at least one)' },
  json: { type: 'boolean', about: 'one line of JSON' },
};
export const examples = ['llm-router doctor', 'llm-router doctor --threads 4', 'llm-router doctor --json'];

/** Instructions that the kernels use, as Linux names them. */
const FEATURES = ['avx2', 'f16c', 'fma', 'avx512f', 'avx512bw', 'avx512_vnni', 'avx512_vbmi', 'avx_vnni', 'gfni', 'asimd', 'asimddp', 'i8mm'];
/** A measurement takes 512 MiB. */
const MEASURED_BYTES = 1 << 29;
/** Of what memory gives, this much arrives in decoding (measured: 86 to 101 %). */
const SHARE = 0.9;

function features() {
  try {
    const text = readFileSync('/proc/cpuinfo', 'utf8');
    const flags = new Set(/^(?:flags|Features)\s*:\s*(.*)$/m.exec(text)?.[1].split(' '));
    return FEATURES.filter((name) => flags.has(name));
  } catch {
    return null; // not Linux: the kernel in use tells enough
  }
}

async function engine(threads) {
  try {
    const addon = native();
    const free = Math.min(os.freemem(), process.availableMemory?.() ?? Infinity);
    if (free < 2 * MEASURED_BYTES) return { available: true, limits: null };
    const { isa, readGbPerSecond, int8GmacPerSecond } = await withKernel(undefined, (kernel) => callNative(() => addon.machineLimits(threads, kernel)));
    return { available: true, limits: { isa, threads, readGbPerSecond, int8GmacPerSecond } };
  } catch (error) {
    return { available: false, problem: error.message, limits: null };
  }
}

/** The folder itself, or the nearest one above it that exists. */
function existing(folder) {
  return existsSync(folder) || path.dirname(folder) === folder ? folder : existing(path.dirname(folder));
}

async function disk(folder) {
  const place = existing(folder);
  const writable = await access(place, constants.W_OK).then(() => true, () => false);
  const { bavail, bsize } = await statfs(place);
  return { path: folder, writable, freeBytes: bavail * bsize };
}

function hub() {
  try {
    const { endpoint = 'https://huggingface.co', token, proxy } = hubSettings();
    return { endpoint, offline: isOffline(), hasToken: token !== undefined, hasProxy: proxy !== undefined };
  } catch (error) {
    return { problem: error.message };
  }
}

function expectation(model, limits, memory) {
  const compute = limits && (limits.int8GmacPerSecond * 1e9) / (model.ternary + model.head);
  const read = limits && (limits.readGbPerSecond * 1e9 * SHARE) / bytesPerToken(model, limits.isa);
  return { id: model.id, tokensPerSecond: limits && Math.min(compute, read), memoryBytes: memoryOf(model), fits: memoryOf(model) < memory };
}

function problemsOf({ engine: { available, problem }, cache, hub: hubState, models }) {
  const problems = [];
  if (!available) problems.push(problem);
  if (!cache.writable) problems.push(`the cache ${cache.path} cannot be written: set HF_HUB_CACHE or HF_HOME to another folder`);
  if (hubState.problem) problems.push(hubState.problem);
  for (const { id, complete } of models) if (!complete) problems.push(`${id} is not complete: \`llm-router pull ${id}\` goes on with it`);
  return problems;
}

async function examine(threads) {
  const memory = { totalBytes: Math.min(os.totalmem(), process.constrainedMemory?.() || Infinity), freeBytes: process.availableMemory?.() ?? os.freemem() };
  const measured = await engine(threads);
  const models = (await listModels()).map(({ id, bytes: size, complete, place }) => ({ id, bytes: size, complete, place }));
  const { version } = JSON.parse(readFileSync(path.join(PACKAGE_ROOT, 'package.json'), 'utf8'));
  const report = {
    version,
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    libc: process.report.getReport().header.glibcVersionRuntime ?? null,
    cpu: { model: os.cpus()[0]?.model ?? 'unknown', logical: os.availableParallelism(), features: features() },
    engine: measured,
    memory,
    cache: await disk(huggingFaceCache()),
    bitnetDirs: bitnetDirs().filter((dir) => existsSync(dir)),
    hub: hub(),
    models,
    expected: KNOWN_MODELS.map((model) => expectation(model, measured.limits, memory.totalBytes)),
  };
  return { ...report, problems: problemsOf(report) };
}

function printReport(report, out) {
  const { cpu, memory, cache, hub: hubState, models, expected, engine: { available, limits } } = report;
  const row = (name, text) => out.print(`${out.paint('bold', name.padEnd(10))} ${text}`);
  row('Package', `llm-runner-router ${report.version}, Node ${report.node}, ${report.platform}${report.libc ? `, glibc ${report.libc}` : ''}`);
  row('Processor', `${cpu.model}, ${cpu.logical} logical processors${cpu.features ? `: ${cpu.features.join(' ')}` : ''}`);
  row('Engine', available ? `ready${limits ? `, kernel ${limits.isa}` : ''}` : 'missing');
  row('Memory', `${bytes(memory.freeBytes)} free of ${bytes(memory.totalBytes)}`);
  if (limits) row('Measured', `${limits.readGbPerSecond.toFixed(1)} GB/s read, ${limits.int8GmacPerSecond.toFixed(0)} GMAC/s, ${limits.threads} thread${limits.threads > 1 ? 's' : ''}`);
  row('Cache', `${cache.path}, ${bytes(cache.freeBytes)} free`);
  if (!hubState.problem) row('Hub', `${hubState.endpoint}${hubState.offline ? ' (offline)' : ''}, ${hubState.hasToken ? 'with a token' : 'no token'}${hubState.hasProxy ? ', through a proxy' : ''}`);
  row('Models', models.map(({ id, bytes: size }) => `${id} (${bytes(size)})`).join(', ') || 'none yet');
  out.print(`\n${out.paint('bold', 'To be expected here'.padEnd(42))} ${'tokens/s'.padStart(9)} ${'memory'.padStart(9)}`);
  for (const { id, tokensPerSecond, memoryBytes, fits } of expected) {
    const speed = tokensPerSecond ? `~${tokensPerSecond.toFixed(tokensPerSecond < 10 ? 1 : 0)}` : '-';
    out.print(`  ${id.padEnd(40)} ${speed.padStart(9)} ${bytes(memoryBytes).padStart(9)}${fits ? '' : '  too large for this machine'}`);
  }
  for (const problem of report.problems) out.print(`\n${out.paint('red', 'Problem:')} ${problem}`);
}

export async function run({ values, out }) {
  const halfOfAll = Math.max(1, Math.ceil(os.availableParallelism() / 2));
  const report = await examine(toCount('threads', values.threads, 1, 256) ?? halfOfAll);
  if (values.json) out.json(report);
  else printReport(report, out);
  return report.problems.length > 0 ? EXIT.failed : EXIT.ok;
}
