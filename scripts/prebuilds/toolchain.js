// What cross builds need on a Debian machine, in a folder of its own: no root, nothing installed, nothing else on the machine changed.
//   Rust with the standard library for ARM64 and its sources (for musl it is built anew), from Debian's packages
//   zig, which is a linker and C compiler for every target with every version of glibc, and cargo-zigbuild, which drives it, from PyPI
//   QEMU's user emulation, which runs ARM64 programs, and both C libraries that they are linked with
//   the linker and the C library of WebAssembly
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { run, say } from '../support.js';

const PYTHON_PACKAGES = ['ziglang==0.17.1', 'cargo-zigbuild==0.24.0'];
const DEBIAN_PACKAGES = [
  'rustc-web', 'cargo-web', 'rust-web-src', 'libstd-rust-web-1.96', 'libstd-rust-web-dev', 'libstd-rust-web-dev:arm64',
  'libllvm22', 'libgit2-1.5', 'libmbedtls14', 'libmbedcrypto7', 'libmbedx509-1', 'libhttp-parser2.9', 'libssh2-1',
  'qemu-user-static', 'qemu-user', 'libcapstone4', 'libc6:arm64', 'libgcc-s1:arm64', 'libstdc++6:arm64',
  'lld-22', 'wasi-libc',
];
/** musl before 1.2.4 cannot load the musl builds of Node: its packages are those of a later Debian. */
const LATER_DEBIAN = { release: 'trixie', packages: ['musl', 'musl:arm64'] };
/** Changes with what is above: a folder of another make-up is set up anew. */
const EDITION = '4';

/** Folder for what is fetched once. */
export const CACHE = path.join(process.env.XDG_CACHE_HOME || path.join(homedir(), '.cache'), 'llm-runner-router');
/** Folder of the toolchain; some 2 GB. */
export const TOOLCHAIN = path.join(CACHE, `toolchain-${EDITION}`);

const inToolchain = (...parts) => path.join(TOOLCHAIN, ...parts);

/** Places in the toolchain. `sysroot` holds the libraries of ARM64 programs, which QEMU looks for there. */
export const tools = {
  rustc: inToolchain('bin', 'rustc'),
  cargo: inToolchain('bin', 'cargo'),
  zigbuild: inToolchain('python', 'bin', 'cargo-zigbuild'),
  zig: inToolchain('python', 'ziglang', 'zig'),
  qemuArm64: inToolchain('root', 'usr', 'bin', 'qemu-aarch64-static'),
  /** The same, but one that takes plugins. */
  qemuArm64Plugins: inToolchain('bin', 'qemu-aarch64'),
  sysroot: inToolchain('root'),
  wasmLinker: inToolchain('bin', 'wasm-ld-22'),
  /** Start-up code of a WebAssembly module that is called rather than run. */
  wasmStart: inToolchain('root', 'usr', 'lib', 'wasm32-wasi', 'crt1-reactor.o'),
  muslLoader: (machine) => inToolchain('root', 'lib', `ld-musl-${machine}.so.1`),
};

/** The line of sources.list for a release, from the server that this machine takes its packages from. */
function sourceOf(release) {
  const [uri] = run('apt-get', ['indextargets', '--format', '$(REPO_URI)', 'Created-By: Packages'], { capture: true }).split('\n');
  return `deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${uri} ${release} main\n`;
}

/** Fetches and unpacks packages by an apt with its own state: it may know of ARM64 and of another release although the machine does not. */
function unpackDebian(folder, packages, source) {
  const state = path.join(folder, 'apt');
  const debs = path.join(folder, 'debs');
  for (const place of ['lists/partial', 'cache/archives/partial']) mkdirSync(path.join(state, place), { recursive: true });
  mkdirSync(debs);
  const settings = { 'Dir::State': state, 'Dir::State::status': '/dev/null', 'Dir::Cache': path.join(state, 'cache'), 'APT::Sandbox::User': '' };
  if (source) {
    writeFileSync(path.join(state, 'sources.list'), source);
    Object.assign(settings, { 'Dir::Etc::SourceList': path.join(state, 'sources.list'), 'Dir::Etc::SourceParts': '/dev/null' });
  }
  const assignments = [...Object.entries(settings).map(([name, value]) => `${name}=${value}`), 'APT::Architectures::=amd64', 'APT::Architectures::=arm64'];
  const options = ['-qq', ...assignments.flatMap((setting) => ['-o', setting])];
  run('apt-get', [...options, 'update']);
  run('apt-get', [...options, 'download', ...packages], { cwd: debs });
  for (const name of readdirSync(debs)) run('dpkg-deb', ['--extract', path.join(debs, name), path.join(folder, 'root')], { quiet: true });
  rmSync(debs, { recursive: true });
  rmSync(state, { recursive: true });
}

/** Debian's programs look for their libraries in the system's folders: each gets a starter that says where they are. */
function writeStarters(folder) {
  mkdirSync(path.join(folder, 'bin'));
  for (const name of ['rustc', 'cargo', 'wasm-ld-22', 'qemu-aarch64']) {
    const libraries = ['usr/lib/x86_64-linux-gnu', 'usr/lib/llvm-22/lib'].map((place) => path.join(TOOLCHAIN, 'root', place)).join(':');
    const text = `#!/bin/sh\nLD_LIBRARY_PATH="${libraries}" exec "${path.join(TOOLCHAIN, 'root', 'usr', 'bin', name)}" "$@"\n`;
    writeFileSync(path.join(folder, 'bin', name), text, { mode: 0o755 });
  }
}

/** Sets the toolchain up unless it is there. Renamed into place when whole, so an interrupted set-up starts anew. */
export function ensureToolchain() {
  if (existsSync(TOOLCHAIN)) return;
  if (process.platform !== 'linux' || process.arch !== 'x64') throw new Error('prebuilds are built on Linux on x86-64');
  say(`Setting up the toolchain for prebuilds in ${TOOLCHAIN}: some 400 MB to fetch, once.`);
  const folder = `${TOOLCHAIN}.partial`;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  unpackDebian(folder, DEBIAN_PACKAGES);
  unpackDebian(folder, LATER_DEBIAN.packages, sourceOf(LATER_DEBIAN.release));
  // Programs name their loader in /lib, where the later Debian has a link to /usr/lib.
  for (const name of ['ld-musl-x86_64.so.1', 'ld-musl-aarch64.so.1']) symlinkSync(path.join('..', 'usr', 'lib', name), path.join(folder, 'root', 'lib', name));
  run('python3', ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-deps', '--only-binary', ':all:', '--target', path.join(folder, 'python'), ...PYTHON_PACKAGES]);
  // Where the compiler looks for the C library of WebAssembly.
  const wasi = path.join(folder, 'root', 'usr', 'lib', 'rustlib', 'wasm32-wasip1', 'lib');
  mkdirSync(wasi, { recursive: true });
  symlinkSync(path.join('..', '..', '..', 'wasm32-wasi'), path.join(wasi, 'self-contained'));
  writeStarters(folder);
  renameSync(folder, TOOLCHAIN);
}
