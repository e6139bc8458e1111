// The kernel that `setup` has measured to be the fastest on this machine, kept in the cache folder of the user.
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import path from 'node:path';
import { ISAS } from './options.js';
import { cacheFolder, isaFromEnvironment, PACKAGE_ROOT } from './paths.js';

/** How much faster than what would be taken anyway a kernel must be: less is chance. */
const WORTH_IT = 1.05;
/** Every kernel is measured so often, in turn; its best counts, as nothing makes it faster than it is. */
const ROUNDS = 3;
/** Parameters below which a model lies in the processor's caches and says nothing of others. */
export const LEAST_PARAMETERS = 1e8;

const place = () => path.join(cacheFolder(), 'kernel.json');

/** What a measurement holds for: another processor or version is measured anew. */
function machine() {
  const { version } = JSON.parse(readFileSync(path.join(PACKAGE_ROOT, 'package.json'), 'utf8'));
  return `${cpus()[0]?.model ?? 'unknown'}, ${process.arch}, ${version}`;
}

/** The kernel measured to be the fastest; undefined: none was, the engine chooses. */
function tunedIsa() {
  try {
    const { isa, machine: measuredOn } = JSON.parse(readFileSync(place(), 'utf8'));
    return ISAS.includes(isa) && measuredOn === machine() ? isa : undefined;
  } catch {
    return undefined; // not measured, or not ours
  }
}

/**
 * Does `work` with a kernel: the one that is named, by the caller or the environment, else the measured one, else the engine's own (undefined).
 * @template T
 * @param {string | undefined} named
 * @param {(isa: string | undefined) => T | Promise<T>} work
 */
export async function withKernel(named, work) {
  const asked = named ?? isaFromEnvironment();
  const tuned = asked ?? tunedIsa();
  try {
    return await work(tuned);
  } catch (error) {
    // Measured on another machine of the same processor, which shows more of its instructions.
    if (asked !== undefined || tuned === undefined || error.code !== 'ISA_UNAVAILABLE') throw error;
    return work(undefined);
  }
}

/** Keeps a choice for later loads; none: the engine's own. */
export function keepTuned(isa) {
  if (isa === undefined) {
    rmSync(place(), { force: true });
    return;
  }
  mkdirSync(cacheFolder(), { recursive: true });
  const partial = `${place()}.${process.pid}`;
  writeFileSync(partial, `${JSON.stringify({ isa, machine: machine() })}\n`);
  renameSync(partial, place());
}

/**
 * Measures all kernels in turn.
 * @param {string} usual what the engine takes by itself
 * @param {(isa: string) => Promise<number | undefined>} measure milliseconds; undefined: not on this processor
 * @returns {Promise<{ isa: string, times: Record<string, number> }>} the usual one unless another is clearly faster
 */
export async function fastestKernel(usual, measure) {
  const times = {};
  // The scalar one is there to be compared with.
  let isas = ISAS.filter((isa) => isa !== 'scalar');
  for (let round = 0; round < ROUNDS; round += 1) {
    const taken = await eachInTurn(isas, measure);
    isas = Object.keys(taken);
    for (const isa of isas) times[isa] = Math.min(times[isa] ?? Infinity, taken[isa]);
  }
  const best = isas.reduce((a, b) => (times[b] < times[a] ? b : a), usual);
  return { isa: times[usual] > times[best] * WORTH_IT ? best : usual, times };
}

async function eachInTurn(isas, measure) {
  const taken = {};
  for (const isa of isas) {
    const time = await measure(isa);
    if (time !== undefined) taken[isa] = time;
  }
  return taken;
}
