// The native binding, loaded on first use: importing the package never throws, whatever the platform.
import { createRequire } from 'node:module';
import path from 'node:path';
import { ModelError } from './errors.js';
import { PACKAGE_ROOT } from './paths.js';

const require = createRequire(import.meta.url);
let binding;

/** glibc tells its version to diagnostic reports; musl does not. Looking up the network would only slow the report down. */
function isMusl() {
  const { excludeNetwork } = process.report;
  process.report.excludeNetwork = true;
  const { header } = process.report.getReport();
  process.report.excludeNetwork = excludeNetwork;
  return header.glibcVersionRuntime === undefined;
}

/** What this machine is called in file and package names: `linux-x64-gnu`, `darwin-arm64`, `win32-x64-msvc`. */
function platformName() {
  const { platform, arch } = process;
  if (platform === 'linux') return `linux-${arch}-${isMusl() ? 'musl' : 'gnu'}`;
  return platform === 'win32' ? `win32-${arch}-msvc` : `${platform}-${arch}`;
}

/** Where a build of a checkout puts the addon. */
export const addonPath = (platform = platformName()) => path.join(PACKAGE_ROOT, 'native', `llm-runner-router.${platform}.node`);

/** The native module; throws NATIVE_BINDING_MISSING with the cure where there is none for this machine. */
export function native() {
  if (binding) return binding;
  const platform = platformName();
  const failures = [];
  for (const candidate of [addonPath(platform), `llm-runner-router-${platform}`]) {
    try {
      binding = require(candidate);
      return binding;
    } catch (error) {
      failures.push(error);
    }
  }
  // A file that is there and cannot be loaded tells more than one that is missing.
  const cause = failures.find((error) => error.code !== 'MODULE_NOT_FOUND') ?? failures[0];
  throw new ModelError(
    `The native engine for ${platform} is not there (${String(cause.message).split('\n')[0]}). ` +
      'In a checkout run `npm run build`; in an installed package reinstall without `--no-optional`.',
    'NATIVE_BINDING_MISSING',
    { platform },
    { cause },
  );
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
