// What a built engine asks of the machine that it will run on, read from the file by readelf.
import { statSync } from 'node:fs';
import { PLATFORMS } from '../../lib/platforms.js';
import { MAX_PLATFORM_BYTES } from '../packages/pack.js';
import { run, say } from '../support.js';

/** The oldest glibc that prebuilt engines run with; that of CentOS 7. */
export const GLIBC_FLOOR = '2.17';

const MACHINES = { x64: 'Advanced Micro Devices X86-64', arm64: 'AArch64' };
/** Libraries that every system with the C library has, or that belong to it. */
const GLIBC_LIBRARIES = /^(lib(c|m|dl|pthread|rt)\.so\.\d|ld-linux-(x86-64|aarch64)\.so\.\d|libgcc_s\.so\.1)$/;
const MUSL_LIBRARIES = /^libc\.so$/;

const isNewer = (version, floor) => {
  const [[major, minor], [floorMajor, floorMinor]] = [version, floor].map((text) => text.split('.').map(Number));
  return major > floorMajor || (major === floorMajor && minor > floorMinor);
};

const all = (text, pattern) => [...new Set([...text.matchAll(pattern)].map(([, found]) => found))];

/** What is wrong with a built engine of a Linux platform; empty where nothing is. `text`: the output of readelf. */
export function problemsOf(platform, text, bytes) {
  const { cpu, libc } = PLATFORMS[platform];
  const problems = [];
  if (!text.includes(`Machine:                           ${MACHINES[cpu]}`)) problems.push(`is not for ${MACHINES[cpu]}`);
  const glibc = all(text, /Name: GLIBC_([\d.]+)/g);
  const tooNew = glibc.filter((version) => libc === 'musl' || isNewer(version, GLIBC_FLOOR));
  if (tooNew.length > 0) problems.push(`needs glibc ${tooNew.join(', ')}`);
  const libraries = all(text, /\(NEEDED\)\s+Shared library: \[(.*)\]/g);
  const unknown = libraries.filter((name) => !(libc === 'musl' ? MUSL_LIBRARIES : GLIBC_LIBRARIES).test(name));
  if (unknown.length > 0) problems.push(`needs ${unknown.join(', ')}`);
  if (/\s\.(symtab|debug_\w+)\s/.test(text)) problems.push('is not stripped');
  if (!/\snapi_register_module_v1$/m.test(text)) problems.push('does not register with Node');
  if (bytes > MAX_PLATFORM_BYTES) problems.push(`has ${bytes} bytes; ${MAX_PLATFORM_BYTES} are the limit`);
  return problems;
}

/** Throws where a built engine could not run on every machine of its platform. */
export function checkBinary(platform, file) {
  const text = run('readelf', ['--wide', '--file-header', '--sections', '--dynamic', '--version-info', '--dyn-syms', file], { capture: true, quiet: true });
  const bytes = statSync(file).size;
  const problems = problemsOf(platform, text, bytes);
  if (problems.length > 0) throw new Error(`the engine of ${platform} ${problems.join('; ')}`);
  const needs = all(text, /Name: GLIBC_([\d.]+)/g).sort((a, b) => (isNewer(a, b) ? -1 : 1));
  say(`${platform}: ${(bytes / 1e6).toFixed(2)} MB, ${needs.length > 0 ? `glibc ${needs[0]} or newer` : 'any musl'}`);
}
