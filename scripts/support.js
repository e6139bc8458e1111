// What the scripts share: running programs, and a native engine that is there and up to date.
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, statSync } from 'node:fs';
import path from 'node:path';
import { addonPath } from '../lib/native.js';
import { PACKAGE_ROOT as ROOT } from '../lib/paths.js';

export { ROOT };

const ADDON = addonPath();

/** A checkout can build; an installed package comes built. */
export const isCheckout = existsSync(path.join(ROOT, 'Cargo.toml'));

/** Talk goes to stderr: stdout is for answers. */
export const say = (line) => process.stderr.write(`${line}\n`);

/**
 * Runs a program in the package's folder; throws when it fails. Its output is shown, or returned with `capture`.
 * @param {string} program
 * @param {string[]} args
 * @param {{ capture?: boolean, env?: Record<string, string>, cwd?: string, quiet?: boolean }} [options] `env`: variables besides those of this process
 */
export function run(program, args, { capture = false, env = {}, cwd = ROOT, quiet = false } = {}) {
  if (!quiet) say(`$ ${[program, ...args].join(' ')}`);
  // npm is a script on Windows, which only a shell can start.
  const shell = process.platform === 'win32' && program === 'npm';
  const stdio = ['ignore', capture ? 'pipe' : 'inherit', 'inherit'];
  const { status, error, stdout } = spawnSync(program, args, { cwd, env: { ...process.env, ...env }, stdio, shell, encoding: 'utf8', maxBuffer: 1 << 28 });
  if (error?.code === 'ENOENT') throw new Error(`${program} was not found${program === 'cargo' ? ': install Rust from https://rustup.rs' : ''}`);
  if (error) throw error;
  if (status !== 0) throw new Error(`${path.basename(program)} ${args[0]} failed with exit code ${status}`);
  return stdout;
}

/** Installs the development packages unless the locked versions are there. */
export function ensurePackages() {
  const marker = path.join(ROOT, 'node_modules', '.package-lock.json');
  if (existsSync(marker) && statSync(marker).mtimeMs >= statSync(path.join(ROOT, 'package-lock.json')).mtimeMs) return;
  run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error']);
}

/** Where cargo put the library, from its messages (one JSON object a line). */
function builtLibrary(messages) {
  const artifacts = messages.split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));
  const addon = artifacts.find(({ reason, target }) => reason === 'compiler-artifact' && target.name === 'llm_runner_router' && target.crate_types.includes('cdylib'));
  if (!addon) throw new Error('cargo did not say where the library is');
  return addon.filenames.find((name) => /\.(so|dylib|dll)$/.test(name));
}

/** Builds the addon into native/; cargo does nothing where nothing changed. */
export function build() {
  const messages = run('cargo', ['build', '--release', '--locked', '--message-format=json-render-diagnostics'], { capture: true });
  mkdirSync(path.dirname(ADDON), { recursive: true });
  // Renamed into place: a process that has the old one loaded keeps it.
  const temporary = `${ADDON}.${process.pid}`;
  copyFileSync(builtLibrary(messages), temporary);
  renameSync(temporary, ADDON);
  say(`Built ${path.relative(ROOT, ADDON)}`);
}

function newestIn(place) {
  if (!existsSync(place)) return 0;
  const stat = statSync(place);
  if (!stat.isDirectory()) return stat.mtimeMs;
  return Math.max(0, ...readdirSync(place).map((name) => newestIn(path.join(place, name))));
}

/** True when the addon is missing or older than its sources. */
function isStale() {
  if (!existsSync(ADDON)) return true;
  const sources = ['Cargo.toml', 'Cargo.lock', 'build.rs', 'src', 'crates'].map((name) => newestIn(path.join(ROOT, name)));
  return Math.max(...sources) > statSync(ADDON).mtimeMs;
}

/** Builds the addon if it is missing or old; an installed package comes built. */
export function ensureBuilt() {
  if (!isCheckout || !isStale()) return;
  say('Building the native engine: one to five minutes the first time.');
  build();
}
