// The guide's code in a child process: the same line as guide.mjs.
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

fork(fileURLToPath(new URL('guide.mjs', import.meta.url))).once('exit', (code) => (process.exitCode = code));
