// npm run build:prebuilds [-- PLATFORM…]: engines for the packages of platforms, each checked and put into its folder under npm/.
// All of Linux (x86-64 and ARM64, glibc and musl) on one Debian machine, by a toolchain that is fetched; those of macOS and Windows
// on such a machine, by its own compiler. The same sources give the same bytes, in whatever folder they lie.
import { copyFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { PLATFORMS } from '../../lib/platforms.js';
import { platformBinary } from '../packages/manifests.js';
import { ROOT, run, say } from '../support.js';
import { checkBinary, GLIBC_FLOOR } from './check.js';
import { ensureToolchain, TOOLCHAIN, tools } from './toolchain.js';

/** Platforms whose engine this machine can build. */
const BUILT_HERE = Object.keys(PLATFORMS).filter((platform) => PLATFORMS[platform].os === process.platform);

/** Where cargo builds; apart from the checkout's own builds, whose compiler is another. */
const TARGET = path.join(process.env.CARGO_TARGET_DIR || path.join(ROOT, 'target'), 'prebuilds');

/** Folders of this machine -> what the binary says instead, in its messages of panics. */
const FOLDERS = { [process.env.CARGO_HOME || path.join(homedir(), '.cargo')]: '/cargo', [TOOLCHAIN]: '/toolchain', [TARGET]: '/target', [ROOT]: '/source' };

/** What the compiler is told: the names above, and how the C library is linked. */
function rustFlags({ os, libc }) {
  const flags = Object.entries(FOLDERS).map(([from, to]) => `--remap-path-prefix=${path.resolve(from)}=${to}`);
  // An addon is linked with the musl that Node runs on, not with one of its own.
  if (libc === 'musl') flags.push('-Ctarget-feature=-crt-static', '-Clink-self-contained=no');
  // Windows has no C runtime of its own: where the redistributable is not installed, one has to be in the addon.
  if (os === 'win32') flags.push('-Ctarget-feature=+crt-static', '-Clink-arg=/Brepro');
  return flags.join('\x1f');
}

const commonEnvironment = (platform) => ({ CARGO_TARGET_DIR: TARGET, CARGO_ENCODED_RUSTFLAGS: rustFlags(PLATFORMS[platform]), CARGO_INCREMENTAL: '0' });

/** Builds an engine for Linux with the toolchain that is fetched. */
function crossCompile(platform) {
  const { target, libc } = PLATFORMS[platform];
  ensureToolchain();
  const env = {
    ...commonEnvironment(platform),
    CARGO: tools.cargo,
    RUSTC: tools.rustc,
    CARGO_ZIGBUILD_ZIG_PATH: tools.zig,
    CARGO_ZIGBUILD_CACHE_DIR: path.join(TARGET, 'zig'),
    // Debian has no standard library for musl: it is built too, which stable compilers have to be allowed.
    ...(libc === 'musl' && { RUSTC_BOOTSTRAP: '1' }),
  };
  const args = ['zigbuild', '--release', '--locked', '--target', libc === 'glibc' ? `${target}.${GLIBC_FLOOR}` : target];
  run(tools.zigbuild, libc === 'musl' ? [...args, '-Zbuild-std=std,panic_unwind'] : args, { env });
  return path.join(TARGET, target, 'release', 'libllm_runner_router.so');
}

/** Builds an engine for this operating system with its own compiler. */
function compile(platform) {
  const { os, target } = PLATFORMS[platform];
  run('cargo', ['build', '--release', '--locked', '--target', target], { env: { ...commonEnvironment(platform), MACOSX_DEPLOYMENT_TARGET: '11.0' } });
  return path.join(TARGET, target, 'release', os === 'win32' ? 'llm_runner_router.dll' : 'libllm_runner_router.dylib');
}

/** Builds, checks and places the engine of a platform. */
function buildPrebuild(platform) {
  if (!BUILT_HERE.includes(platform)) throw new Error(`"${platform}" cannot be built here; these can: ${BUILT_HERE.join(', ')}`);
  const onLinux = PLATFORMS[platform].os === 'linux';
  const built = onLinux ? crossCompile(platform) : compile(platform);
  if (onLinux) checkBinary(platform, built);
  copyFileSync(built, platformBinary(platform));
  say(`Built ${path.relative(ROOT, platformBinary(platform))}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    const named = process.argv.slice(2);
    (named.length > 0 ? named : BUILT_HERE).forEach(buildPrebuild);
  } catch (error) {
    say(`Building failed: ${error.message}`);
    process.exitCode = 1;
  }
}
