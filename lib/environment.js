// Where this runs.
import { isMainThread } from 'node:worker_threads';

/** @returns {'bun' | 'deno' | 'worker' | 'node'} */
export function detectEnvironment() {
  if (process.versions.bun) return 'bun';
  if (process.versions.deno) return 'deno';
  return isMainThread ? 'node' : 'worker';
}
