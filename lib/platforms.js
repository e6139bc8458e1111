// The platforms that have a package with a prebuilt engine, and which of them this machine is.

/** Platform -> what npm is told (`os`, `cpu`, `libc`), and what rustc calls it. Files and packages are named after the platform. */
export const PLATFORMS = {
  'linux-x64-gnu': { os: 'linux', cpu: 'x64', libc: 'glibc', target: 'x86_64-unknown-linux-gnu' },
  'linux-x64-musl': { os: 'linux', cpu: 'x64', libc: 'musl', target: 'x86_64-unknown-linux-musl' },
  'linux-arm64-gnu': { os: 'linux', cpu: 'arm64', libc: 'glibc', target: 'aarch64-unknown-linux-gnu' },
  'linux-arm64-musl': { os: 'linux', cpu: 'arm64', libc: 'musl', target: 'aarch64-unknown-linux-musl' },
  'darwin-arm64': { os: 'darwin', cpu: 'arm64', target: 'aarch64-apple-darwin' },
  'darwin-x64': { os: 'darwin', cpu: 'x64', target: 'x86_64-apple-darwin' },
  'win32-x64-msvc': { os: 'win32', cpu: 'x64', target: 'x86_64-pc-windows-msvc' },
  'win32-arm64-msvc': { os: 'win32', cpu: 'arm64', target: 'aarch64-pc-windows-msvc' },
};

/** File that holds the engine of a platform. */
export const binaryName = (platform) => `llm-runner-router.${platform}.node`;

/** Package that holds that file. */
export const packageName = (platform) => `llm-runner-router-${platform}`;

/** "glibc 2.36", "musl", or null where there is no choice. glibc tells its version to diagnostic reports; musl does not. */
export function libc() {
  if (process.platform !== 'linux') return null;
  const { excludeNetwork } = process.report;
  process.report.excludeNetwork = true; // looking up the network would only slow the report down
  const { header } = process.report.getReport();
  process.report.excludeNetwork = excludeNetwork;
  return header.glibcVersionRuntime ? `glibc ${header.glibcVersionRuntime}` : 'musl';
}

/** What this machine is called in file and package names: `linux-x64-gnu`, `darwin-arm64`, `win32-x64-msvc`. */
export function platformName() {
  const { platform, arch } = process;
  if (platform === 'linux') return `linux-${arch}-${libc() === 'musl' ? 'musl' : 'gnu'}`;
  return platform === 'win32' ? `win32-${arch}-msvc` : `${platform}-${arch}`;
}
