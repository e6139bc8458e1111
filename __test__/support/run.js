// Runs a script of a test in a process of its own.
import { spawn } from 'node:child_process';

/**
 * @param {string[]} args of node
 * @param {{ cwd?: string, env?: object, input?: string, timeout?: number }} [options]
 * @returns {Promise<{ code: number | null, signal: string | null, stdout: string, stderr: string }>}
 */
export function runNode(args, { cwd, env, input = '', timeout = 120_000 } = {}) {
  const { NODE_TEST_CONTEXT: _, ...inherited } = process.env;
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd, env: { ...inherited, ...env }, timeout });
    const output = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr']) child[name].setEncoding('utf8').on('data', (text) => (output[name] += text));
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal, ...output }));
    child.stdin.end(input);
  });
}

/** The same for the text of a module. */
export const runModule = (source, options) => runNode(['--input-type=module', '--eval', source], options);
