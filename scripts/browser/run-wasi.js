// node run-wasi.js PROGRAM.wasm ARGUMENT…: runs a program compiled for WASI, as cargo wants its tests run.
import { readFileSync } from 'node:fs';
import { WASI } from 'node:wasi';

/** `ENOTSUP`. */
const NOT_SUPPORTED = 58;

const args = process.argv.slice(2);
const wasi = new WASI({ version: 'preview1', args, env: { RUST_TEST_THREADS: '1' } });
const module = await WebAssembly.compile(readFileSync(args[0]));
// Functions that the C library lacks: those of threads. Attributes can be had, threads can not.
const missing = WebAssembly.Module.imports(module).filter((wanted) => wanted.module === 'env');
const env = Object.fromEntries(missing.map(({ name }) => [name, () => (name.startsWith('pthread_attr_') ? 0 : NOT_SUPPORTED)]));
process.exit(wasi.start(await WebAssembly.instantiate(module, { ...wasi.getImportObject(), env })));
