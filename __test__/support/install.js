// The packages as a user gets them: packed, and installed from their tarballs into a project where there is nothing but Node.
import { execFile, spawnSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { addonPath } from '../../lib/native.js';
import { binaryName, PLATFORMS, platformName } from '../../lib/platforms.js';
import { packMain, packPlatform } from '../../scripts/packages/pack.js';
import { guideModels, ROOT, temporaryFolder } from './models.js';

/** npm as it came with this Node; a link on PATH leads there. */
function npmProgram() {
  const npm = process.env.npm_execpath ?? path.join(path.dirname(realpathSync(process.execPath)), '..', 'lib', 'node_modules', 'npm', 'bin', 'npm-cli.js');
  return realpathSync(npm);
}

/** An environment without compilers and with an empty home: PATH leads to `node` alone. */
export function bareEnvironment() {
  const home = temporaryFolder();
  mkdirSync(path.join(home, 'bin'));
  symlinkSync(process.execPath, path.join(home, 'bin', 'node'));
  return { PATH: path.join(home, 'bin'), HOME: home, HF_HUB_OFFLINE: '1' };
}

/** Runs a program of a project; returns its stdout, and throws with all that it said where it failed. */
export function runIn(cwd, env, [program, ...args]) {
  const { status, stdout, stderr, error } = spawnSync(program, args, { cwd, env, encoding: 'utf8', timeout: 1_800_000 });
  if (error) throw error;
  if (status !== 0) throw new Error(`${[program, ...args].join(' ')} ended with ${status}:\n${stdout}${stderr}`);
  return stdout;
}

/** Runs a command line of npm that an error message gave, with a registry of this machine. */
export async function runNpm(cwd, env, command, registry) {
  const [npm, ...args] = command.split(' ');
  if (npm !== 'npm') throw new Error(`no command of npm: ${command}`);
  await promisify(execFile)(process.execPath, [npmProgram(), ...args, '--registry', registry, '--no-audit', '--no-fund'], { cwd, env });
}

/**
 * A project in a folder with spaces and letters of other alphabets, with the programs of __test__/programs and the models that they
 * ask for, and the main package and one platform's in node_modules.
 * @param {{ platform?: string, engine?: string }} [options] by default this machine, with the addon of this checkout
 * @returns {{ project: string, env: object, tarballs: string[] }}
 */
export function installedProject({ platform = platformName(), engine = addonPath(platform) } = {}) {
  const dist = temporaryFolder();
  const tarballs = [packMain(dist), packPlatform(platform, dist, engine)].map(({ tarball }) => tarball);
  const project = path.join(temporaryFolder(), 'Проект – mit Leerzeichen, ü 语言');
  mkdirSync(project);
  writeFileSync(path.join(project, 'package.json'), JSON.stringify({ name: 'project', private: true }));
  const env = bareEnvironment();
  const { os, cpu, libc } = PLATFORMS[platform];
  const machine = [`--os=${os}`, `--cpu=${cpu}`, ...(libc ? [`--libc=${libc}`] : [])];
  // npm goes by the C library that it runs on itself, whatever it is told.
  const force = platform === platformName() ? [] : ['--force'];
  const options = ['--offline', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error', ...machine, ...force];
  runIn(project, env, [process.execPath, npmProgram(), 'install', ...options, ...tarballs]);
  cpSync(path.join(ROOT, '__test__', 'programs'), project, { recursive: true });
  guideModels(project);
  return { project, env, tarballs };
}

/** A copy of what the tests of the public surface need, with another engine than that of this checkout. Returns its folder. */
export function copyWithEngine(platform, engine) {
  const folder = temporaryFolder();
  for (const name of ['package.json', 'index.js', 'lib', 'loaders', 'demo', '__test__']) cpSync(path.join(ROOT, name), path.join(folder, name), { recursive: true });
  symlinkSync(path.join(ROOT, 'testdata'), path.join(folder, 'testdata'));
  mkdirSync(path.join(folder, 'native'));
  copyFileSync(engine, path.join(folder, 'native', binaryName(platform)));
  return folder;
}
