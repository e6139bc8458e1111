// node:os, node:crypto, and the modules of lib/ that ask the machine, in a browser.

/** Bytes; a module cannot address more than four gibibytes of them. */
export const totalmem = () => (globalThis.navigator?.deviceMemory ?? 4) * 2 ** 30;

/** As Node's, as far as `toString('hex')` goes. */
export function randomBytes(count) {
  const bytes = crypto.getRandomValues(new Uint8Array(count));
  return { toString: () => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('') };
}

export const randomUUID = () => crypto.randomUUID();

/** lib/energy.js: pages see no energy counters. */
export const startEnergyMeter = () => () => null;

/** lib/environment.js */
export const detectEnvironment = () => (globalThis.document ? 'browser' : 'worker');

/** lib/paths.js: there is no environment. */
export const environmentVariable = () => undefined;
export const routerEnvironment = () => ({});
