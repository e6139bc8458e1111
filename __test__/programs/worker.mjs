// The guide's code in a worker thread: the same line as guide.mjs.
import { Worker } from 'node:worker_threads';

const worker = new Worker(new URL('guide.mjs', import.meta.url));
worker.once('error', (error) => {
  console.error(error);
  process.exitCode = 1;
});
