// A process of its own for one sample, so that its start, its memory and its caches are its own.
// node worker.js JOB writes one line of JSON. JOB is JSON: { kind, model, threads, isa, ... }.
import { native } from '../../lib/native.js';
import { decode, firstToken, kvBytesPerToken, loadModel, peakRssBytes, prefill, warmUp } from './measure.js';
import { measureSpeculation } from './speculation.js';

const milliseconds = (nanoseconds) => Number(nanoseconds) / 1e6;

/** Loads and makes one token. `spawnedAt` is the parent's process.hrtime, which all processes share. */
async function start(job) {
  const { model, loadMs } = await loadModel(job.model, job);
  await firstToken(model);
  return { model, loadMs, firstTokenMs: milliseconds(process.hrtime.bigint() - BigInt(job.spawnedAt)) };
}

const kinds = {
  /** What there is to measure: name, place and limits of the model. */
  async info(job) {
    const { model } = await start(job);
    const { name, path, contextSize, isa } = model.info();
    return { name, path, contextSize, isa };
  },

  async start(job) {
    const { loadMs, firstTokenMs } = await start(job);
    return { loadMs, firstTokenMs };
  },

  /** What the machine can do with these threads, at this moment. */
  async limits({ threads, isa }) {
    return native().machineLimits(threads, isa);
  },

  speculation: measureSpeculation,

  /** One prompt, and one decode of `batch` calls. */
  async measure(job) {
    const { model, loadMs, firstTokenMs } = await start(job);
    const kvBytes = kvBytesPerToken(model);
    await warmUp(model);
    const read = job.prefill === null ? null : await prefill(model, job.prefill, job.seed);
    const made = job.context === null ? null : await decode(model, { tokens: job.decode, context: job.context, batch: job.batch, seed: job.seed + 1 });
    const info = model.info();
    return {
      kernel: info.isa, loadMs, firstTokenMs, read, made, kvBytes,
      weightBytes: info.weightBytesPerToken, macsPerToken: info.ternaryParameters, peakRssBytes: peakRssBytes(),
    };
  },
};

try {
  const job = JSON.parse(process.argv[2]);
  const answer = await kinds[job.kind](job);
  const { user, system } = process.cpuUsage();
  process.stdout.write(`${JSON.stringify({ ...answer, cpuMs: (user + system) / 1000 })}\n`);
} catch (error) {
  process.stderr.write(`${error.code ? `[${error.code}] ` : ''}${error.message}\n`);
  process.exitCode = 1;
}
