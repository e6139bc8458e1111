// The engine as a WebAssembly module (WASI preview 1, SIMD), by the toolchain that cross builds use.
import { homedir } from 'node:os';
import path from 'node:path';
import { ensureToolchain, TOOLCHAIN, tools } from '../prebuilds/toolchain.js';
import { ROOT, run } from '../support.js';

const TARGET = path.join(process.env.CARGO_TARGET_DIR || path.join(ROOT, 'target'), 'wasm');
/** Folders of this machine -> what the module says instead, in its messages of panics. */
const FOLDERS = { [process.env.CARGO_HOME || path.join(homedir(), '.cargo')]: '/cargo', [TOOLCHAIN]: '/toolchain', [TARGET]: '/target', [ROOT]: '/source' };
/** Bytes: templates nest, and have a thread of their own with a large stack elsewhere. */
const STACK = 32 << 20;

const flags = [
  ...Object.entries(FOLDERS).map(([from, to]) => `--remap-path-prefix=${path.resolve(from)}=${to}`),
  '-Ctarget-feature=+simd128',
  `-Clink-arg=-zstack-size=${STACK}`,
  `-Clink-arg=${tools.wasmStart}`,
  '-Clink-arg=--export=_initialize',
];

/** Builds the module and returns its file. */
export function buildModule() {
  ensureToolchain();
  const env = {
    CARGO: tools.cargo,
    RUSTC: tools.rustc,
    // Debian has no standard library for WASI: it is built too, which stable compilers have to be allowed.
    RUSTC_BOOTSTRAP: '1',
    CARGO_TARGET_DIR: TARGET,
    CARGO_TARGET_WASM32_WASIP1_LINKER: tools.wasmLinker,
    CARGO_ENCODED_RUSTFLAGS: flags.join('\x1f'),
    CARGO_INCREMENTAL: '0',
  };
  run(tools.cargo, ['build', '--release', '--locked', '--package', 'llm-wasm', '--target', 'wasm32-wasip1', '-Zbuild-std=std,panic_abort'], { env });
  return path.join(TARGET, 'wasm32-wasip1', 'release', 'llm_wasm.wasm');
}
