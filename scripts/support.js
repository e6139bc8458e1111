// What the scripts share: running programs, and a native engine that is there and up to date.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** A checkout can build; an installed package comes built. */
export const isCheckout = existsSync(path.join(ROOT, 'Cargo.toml'));

/** Talk goes to stderr: stdout is for answers. */
export const say = (line) => process.stderr.write(`${line}\n`);

/**
 * Runs a program in the package's folder with its output shown; throws when it fails.
 * @param {string} program
 * @param {string[]} args
 * @param {{ stdout?: 'inherit' | number, env?: object }} [options]
 */
export function run(program, args, { stdout = 'inherit', env } = {}) {
  say(`$ ${[program, ...args].join(' ')}`);
  // npm is a script on Windows, which only a shell can start.
  const shell = process.platform === 'win32' && program === 'npm';
  const { status, error } = spawnSync(program, args, { cwd: ROOT, stdio: ['ignore', stdout, 'inherit'], env: { ...process.env, ...env }, shell });
  if (error?.code === 'ENOENT') throw new Error(`${program} was not found${program === 'cargo' ? ': install Rust from https://rustup.rs' : ''}`);
  if (error) throw error;
  if (status !== 0) throw new Error(`${program} ${args[0]} failed with exit code ${status}`);
}

/** Installs the development packages unless the locked versions are there. */
export function ensurePackages() {
  const marker = path.join(ROOT, 'node_modules', '.package-lock.json');
  if (existsSync(marker) && statSync(marker).mtimeMs >= statSync(path.join(ROOT, 'package-lock.json')).mtimeMs) return;
  run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], { stdout: 2 });
}

/** Builds the addon into native/; cargo does nothing where nothing changed. */
export function build() {
  ensurePackages();
  const cli = path.join(path.dirname(createRequire(import.meta.url).resolve('@napi-rs/cli')), 'cli.js');
  const output = ['--output-dir', 'native', '--js', 'index.cjs', '--dts', 'index.d.ts'];
  run(process.execPath, [cli, 'build', '--platform', '--release', ...output], { stdout: 2 });
}

const builtFiles = () => readdirSync(path.join(ROOT, 'native')).filter((name) => name.endsWith('.node'));

function newestIn(place) {
  if (!existsSync(place)) return 0;
  const stat = statSync(place);
  if (!stat.isDirectory()) return stat.mtimeMs;
  return Math.max(0, ...readdirSync(place).map((name) => newestIn(path.join(place, name))));
}

/** True when the addon is missing or older than its sources. */
function isStale() {
  const built = builtFiles().map((name) => statSync(path.join(ROOT, 'native', name)).mtimeMs);
  if (built.length === 0) return true;
  const sources = ['Cargo.toml', 'Cargo.lock', 'build.rs', 'src', 'crates'].map((name) => newestIn(path.join(ROOT, name)));
  return Math.max(...sources) > Math.max(...built);
}

/** Installs and builds whatever is missing. */
export function ensureBuilt() {
  if (!isCheckout || !isStale()) return;
  say('Building the native engine: one to five minutes the first time.');
  build();
}
