// Running other programs: the samples' processes, and rivals.
import { spawn, spawnSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const WORKER = fileURLToPath(new URL('worker.js', import.meta.url));

/** CPU milliseconds that the machine has spent since its start. */
function busyMs() {
  return os.cpus().reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0);
}

/**
 * Runs a program to its end and returns its stdout; fails with the end of its stderr.
 * @param {string} program
 * @param {string[]} args
 * @param {{ cwd?: string }} [options]
 * @returns {Promise<string>}
 */
export function runProgram(program, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    const output = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr']) child[name].setEncoding('utf8').on('data', (text) => (output[name] += text));
    child.once('error', reject);
    child.once('close', (code, signal) => {
      if (code === 0) resolve(output.stdout);
      else reject(new Error(`${path.basename(args[0] ?? program)} ended with ${signal ?? `code ${code}`}: ${output.stderr.trim().slice(-600)}`));
    });
  });
}

/**
 * Does a job of worker.js in a process of its own. `otherCpus`: how many CPUs everything else on the machine kept busy
 * meanwhile; null where the system does not tell.
 */
export async function sample(job) {
  const [startedAt, busy] = [performance.now(), busyMs()];
  const stdout = await runProgram(process.execPath, [WORKER, JSON.stringify({ ...job, spawnedAt: String(process.hrtime.bigint()) })]);
  const { cpuMs, ...answer } = JSON.parse(stdout);
  const others = (busyMs() - busy - cpuMs) / (performance.now() - startedAt);
  return { ...answer, otherCpus: busy > 0 ? Math.max(0, others) : null };
}

/** The files of a model at this place. */
function modelFiles(place) {
  if (!statSync(place).isDirectory()) return [place];
  return readdirSync(place).map((name) => path.join(place, name)).filter((file) => statSync(file).isFile());
}

/**
 * Asks the system to drop a model's files from the page cache. True when most of it is gone, false where that cannot be done
 * or be seen to be done.
 */
export function dropFromPageCache(place) {
  if (process.platform !== 'linux') return false;
  return modelFiles(place).every((file) => {
    spawnSync('dd', [`if=${file}`, 'iflag=nocache', 'count=0', 'status=none']);
    const { status, stdout } = spawnSync('fincore', ['--bytes', '--noheadings', '--output', 'RES', file], { encoding: 'utf8' });
    return status === 0 && Number(stdout) <= Math.max(statSync(file).size / 10, 1 << 16);
  });
}
