// The native binding, loaded on first use: importing the package never throws, whatever the platform.
import { createRequire } from 'node:module';
import { ModelError } from './errors.js';

const require = createRequire(import.meta.url);
let binding;

/** Innermost cause: the generated loader tries many candidates and chains their errors. */
function lastCause(error) {
  let last = error;
  while (last?.cause instanceof Error) last = last.cause;
  return last;
}

/** The native module; throws NATIVE_BINDING_MISSING with the cure where there is none for this machine. */
export function native() {
  if (binding) return binding;
  try {
    binding = require('../native/index.cjs');
  } catch (error) {
    const platform = `${process.platform}-${process.arch}`;
    throw new ModelError(
      `The native engine for ${platform} is not there (${String(lastCause(error)?.message ?? error).split('\n')[0]}). ` +
        'In a checkout run `npm run build`; in an installed package reinstall without `--no-optional`.',
      'NATIVE_BINDING_MISSING',
      { platform },
      { cause: error },
    );
  }
  return binding;
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
