// npm run pack [-- PLATFORM…]: the tarballs that are published, into dist/: the main package, and those of the platforms named, or of
// all whose engine is there. Packages that grew too large are refused.
import { copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { packageName, PLATFORMS } from '../../lib/platforms.js';
import { ROOT, run, say } from '../support.js';
import { platformBinary, platformFolder, publishedManifest } from './manifests.js';

export const DIST = path.join(ROOT, 'dist');

/** Bytes that a package may have, unpacked. */
export const MAX_MAIN_BYTES = 8e6;
export const MAX_PLATFORM_BYTES = 10e6;

const npmPack = (folder, ...options) => JSON.parse(run('npm', ['pack', '--json', '--ignore-scripts', ...options], { capture: true, cwd: folder, quiet: true }))[0];

/** The main package as it is published, in dist/main. */
function stageMain() {
  const stage = path.join(DIST, 'main');
  rmSync(stage, { recursive: true, force: true });
  for (const { path: name } of npmPack(ROOT, '--dry-run').files) {
    mkdirSync(path.dirname(path.join(stage, name)), { recursive: true });
    copyFileSync(path.join(ROOT, name), path.join(stage, name));
  }
  writeFileSync(path.join(stage, 'package.json'), `${JSON.stringify(publishedManifest(), null, 2)}\n`);
  return stage;
}

function packFolder(folder, limit) {
  const { name, filename, size, unpackedSize, files } = npmPack(folder, '--pack-destination', DIST);
  if (unpackedSize > limit) throw new Error(`${name} has ${unpackedSize} bytes; ${limit} are the limit`);
  say(`${filename}: ${(size / 1e6).toFixed(2)} MB packed, ${(unpackedSize / 1e6).toFixed(2)} MB unpacked, ${files.length} files`);
  return { name, tarball: path.join(DIST, filename), size, unpackedSize, files: files.map(({ path: file }) => file) };
}

/** Packs the main package. */
export const packMain = () => packFolder(stageMain(), MAX_MAIN_BYTES);

/** Packs the package of a platform, whose engine has to be there. */
export function packPlatform(platform) {
  if (!(platform in PLATFORMS)) throw new Error(`there is no platform "${platform}"; there are: ${Object.keys(PLATFORMS).join(', ')}`);
  if (!existsSync(platformBinary(platform))) throw new Error(`${packageName(platform)} has no engine: ${path.relative(ROOT, platformBinary(platform))} is missing`);
  return packFolder(platformFolder(platform), MAX_PLATFORM_BYTES);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    const named = process.argv.slice(2);
    const platforms = named.length > 0 ? named : Object.keys(PLATFORMS).filter((platform) => existsSync(platformBinary(platform)));
    rmSync(DIST, { recursive: true, force: true });
    mkdirSync(DIST);
    packMain();
    platforms.forEach(packPlatform);
  } catch (error) {
    say(`Packing failed: ${error.message}`);
    process.exitCode = 1;
  }
}
