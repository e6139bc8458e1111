// What the package uses of Node's globals, for browsers.

/** Bytes that pages can have at most where the browser does not tell: it rounds what it tells down to 8 GiB. */
const { deviceMemory = 4 } = globalThis.navigator ?? {};

export const process = {
  env: {},
  versions: {},
  pid: 0,
  constrainedMemory: () => 0,
  availableMemory: () => deviceMemory * 2 ** 30,
  memoryUsage: () => ({ heapUsed: globalThis.performance?.memory?.usedJSHeapSize ?? 0 }),
  emitWarning: (message, { code }) => console.warn(`[${code}] ${message}`),
};

/** After what is due already; a timer of a page may wait for milliseconds. */
export function setImmediate(work) {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    port1.close();
    work();
  };
  port2.postMessage(null);
}
