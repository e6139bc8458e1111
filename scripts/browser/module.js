// The engine as WebAssembly modules (WASI preview 1), by the toolchain that cross builds use. A browser refuses a module with one
// instruction that it lacks: there is one for each set of them.
import { homedir } from 'node:os';
import path from 'node:path';
import { ensureToolchain, TOOLCHAIN, tools } from '../prebuilds/toolchain.js';
import { ROOT, run } from '../support.js';

const TARGET = path.join(process.env.CARGO_TARGET_DIR || path.join(ROOT, 'target'), 'wasm');
/** Folders of this machine -> what the module says instead, in its messages of panics. */
const FOLDERS = { [process.env.CARGO_HOME || path.join(homedir(), '.cargo')]: '/cargo', [TOOLCHAIN]: '/toolchain', [TARGET]: '/target', [ROOT]: '/source' };
/** Bytes: templates nest, and have a thread of their own with a large stack elsewhere. */
const STACK = 32 << 20;

/** Module -> instructions it is compiled for. */
const FEATURES = { engine: '+simd128', 'engine-relaxed': '+simd128,+relaxed-simd' };

export const MODULES = Object.keys(FEATURES);

const flags = (module, linking) => [
  ...Object.entries(FOLDERS).map(([from, to]) => `--remap-path-prefix=${path.resolve(from)}=${to}`),
  `-Ctarget-feature=${FEATURES[module]}`,
  ...[`-zstack-size=${STACK}`, ...linking].map((argument) => `-Clink-arg=${argument}`),
];

/** Runs cargo for one of the modules; returns the folder of what it made. */
function cargo(module, command, linking, env = {}) {
  ensureToolchain();
  const target = path.join(TARGET, module);
  const building = {
    CARGO: tools.cargo,
    RUSTC: tools.rustc,
    // Debian has no standard library for WASI: it is built too, which stable compilers have to be allowed.
    RUSTC_BOOTSTRAP: '1',
    CARGO_TARGET_DIR: target,
    CARGO_TARGET_WASM32_WASIP1_LINKER: tools.wasmLinker,
    CARGO_ENCODED_RUSTFLAGS: flags(module, linking).join('\x1f'),
    CARGO_INCREMENTAL: '0',
  };
  const [name, ...args] = command;
  run(tools.cargo, [name, '--locked', '--target', 'wasm32-wasip1', '-Zbuild-std=std,panic_abort', ...args], { env: { ...building, ...env } });
  return path.join(target, 'wasm32-wasip1');
}

/** Builds one of the modules and returns its file. */
export function buildModule(module) {
  const folder = cargo(module, ['build', '--release', '--package', 'llm-wasm'], [tools.wasmStart, '--export=_initialize']);
  return path.join(folder, 'release', 'llm_wasm.wasm');
}

/** Holds the kernels of one of the modules to the portable ones, under this Node. */
export function testKernels(module) {
  const runner = [process.execPath, '--no-warnings', path.join(ROOT, 'scripts', 'browser', 'run-wasi.js')].join(' ');
  // Debian's C library for WASI has no threads; see run-wasi.js.
  cargo(module, ['test', '--release', '--package', 'llm-kernels', '--lib', '--tests', '--', 'simd', 'sums', 'coarse'], ['--allow-undefined'], {
    CARGO_TARGET_WASM32_WASIP1_RUNNER: runner,
    CARGO_PROFILE_RELEASE_LTO: 'off',
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS: '16',
  });
}
