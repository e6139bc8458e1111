// The native binding, loaded on first use: importing the package never throws, whatever the platform.
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { ModelError } from './errors.js';
import { PACKAGE_ROOT } from './paths.js';
import { binaryName, libc, packageName, PLATFORMS, platformName } from './platforms.js';

const require = createRequire(import.meta.url);
let binding;

/** Where a build of a checkout puts the addon. */
export const addonPath = (platform = platformName()) => path.join(PACKAGE_ROOT, 'native', binaryName(platform));

const ownVersion = () => JSON.parse(readFileSync(path.join(PACKAGE_ROOT, 'package.json'), 'utf8')).version;

/** The engine of the platform's package; throws where it is missing, of another version, or no addon for this machine. */
function requirePackage(name) {
  const { version } = require(`${name}/package.json`);
  if (version !== ownVersion()) throw new Error(`it is of version ${version}`);
  try {
    return require(name);
  } catch (error) {
    error.isDamaged = true;
    throw error;
  }
}

/** What mends it: npm does not fetch a package again whose version is the right one, unless it installs everything anew. */
function commandFor(expected, cause) {
  if (existsSync(path.join(PACKAGE_ROOT, 'Cargo.toml'))) return 'npm run build';
  if (!expected) return null;
  return cause.isDamaged ? 'npm ci' : `npm install --no-save --force ${expected}`;
}

/** NATIVE_BINDING_MISSING: what this machine is, what was looked for, and the one command that mends it. */
function missing(platform, cause) {
  const machine = `${platform} (${[libc(), `Node ${process.version}`].filter(Boolean).join(', ')})`;
  const expected = PLATFORMS[platform] && `${packageName(platform)}@${ownVersion()}`;
  // The first line tells what failed; those below it who asked.
  const [reason] = String(cause.message).split('\n');
  const command = commandFor(expected, cause);
  const advice = [
    `The native engine for ${machine} is not there: ${reason}.`,
    expected && `It comes in the package ${expected}, which npm leaves out where optional dependencies are omitted or a lock file of another platform is used.`,
    !expected && `There are packages for ${Object.keys(PLATFORMS).join(', ')}; for others build it in a checkout of the repository with \`npm run build\`.`,
    command && `Run \`${command}\`.`,
  ];
  const details = { platform, libc: libc(), node: process.version, package: expected ?? null, command };
  return new ModelError(advice.filter(Boolean).join(' '), 'NATIVE_BINDING_MISSING', details, { cause });
}

/** The native module; throws NATIVE_BINDING_MISSING with the cure where there is none for this machine. */
export function native() {
  if (binding) return binding;
  const platform = platformName();
  const failures = [];
  for (const load of [() => require(addonPath(platform)), () => requirePackage(packageName(platform))]) {
    try {
      binding = load();
      return binding;
    } catch (error) {
      failures.push(error);
    }
  }
  // A file that is there and cannot be loaded tells more than one that is missing.
  throw missing(platform, failures.find((error) => error.code !== 'MODULE_NOT_FOUND') ?? failures[1]);
}

/** True when the engine can be used on this machine. */
export function isNativeAvailable() {
  try {
    native();
    return true;
  } catch {
    return false;
  }
}
