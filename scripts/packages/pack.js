// npm run pack [-- PLATFORM…]: the tarballs that are published, into dist/: the main package, and those of the platforms named, or of
// all whose engine is there; with --all every engine has to be there, and the build for browsers. Packages that grew too large are refused.
import { copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { binaryName, PLATFORMS } from '../../lib/platforms.js';
import { ROOT, run, say } from '../support.js';
import { browserCrates, linkedCrates } from './crates.js';
import { BILL_OF_MATERIALS, LICENCES, platformBinary, platformFiles, publishedManifest } from './manifests.js';
import { billOfMaterials, licencesOf } from './notices.js';

/** Bytes that a package may have, unpacked. */
export const MAX_MAIN_BYTES = 8e6;
export const MAX_PLATFORM_BYTES = 10e6;

const npmPack = (folder, ...options) =>
  JSON.parse(run('npm', ['pack', '--json', '--ignore-scripts', '--loglevel=error', ...options], { capture: true, cwd: folder, quiet: true }))[0];

function packFolder(folder, dist) {
  const { name, filename, size, unpackedSize, files } = npmPack(folder, '--pack-destination', dist);
  return { name, tarball: path.join(dist, filename), size, unpackedSize, files: files.map(({ path: file }) => file) };
}

/** A folder in `dist` with copies of files (name -> source) and texts (name -> text). */
function stage(dist, name, copies, texts) {
  const folder = path.join(dist, name);
  rmSync(folder, { recursive: true, force: true });
  for (const [file, source] of Object.entries(copies)) {
    mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
    copyFileSync(source, path.join(folder, file));
  }
  for (const [file, text] of Object.entries(texts)) writeFileSync(path.join(folder, file), text);
  return folder;
}

/** Packs the main package into the folder `dist`. */
export function packMain(dist) {
  const copies = Object.fromEntries(npmPack(ROOT, '--dry-run').files.map(({ path: name }) => [name, path.join(ROOT, name)]));
  const texts = { 'package.json': `${JSON.stringify(publishedManifest(), null, 2)}\n` };
  if ('browser/index.js' in copies) texts[`browser/${LICENCES}`] = licencesOf(browserCrates());
  return packFolder(stage(dist, 'main', copies, texts), dist);
}

/** Packs the package of a platform into the folder `dist`. `engine`: the built file, by default that of `npm run build:prebuilds`. */
export function packPlatform(platform, dist, engine = platformBinary(platform)) {
  if (!(platform in PLATFORMS)) throw new Error(`there is no platform "${platform}"; there are: ${Object.keys(PLATFORMS).join(', ')}`);
  if (!existsSync(engine)) throw new Error(`the engine of ${platform} is missing: ${path.relative(ROOT, engine)}`);
  const crates = linkedCrates(platform);
  const copies = { [binaryName(platform)]: engine, LICENSE: path.join(ROOT, 'LICENSE') };
  const texts = {
    ...platformFiles(platform),
    [LICENCES]: licencesOf(crates),
    [BILL_OF_MATERIALS]: `${JSON.stringify(billOfMaterials(platform, crates), null, 1)}\n`,
  };
  return packFolder(stage(dist, platform, copies, texts), dist);
}

/** Throws where a package has more bytes than it may. */
function checkSize({ name, size, unpackedSize, files }, limit) {
  if (unpackedSize > limit) throw new Error(`${name} has ${unpackedSize} bytes; ${limit} are the limit`);
  say(`${name}: ${(size / 1e6).toFixed(2)} MB packed, ${(unpackedSize / 1e6).toFixed(2)} MB unpacked, ${files.length} files`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    const { values, positionals } = parseArgs({ options: { all: { type: 'boolean' } }, allowPositionals: true });
    if (values.all && !existsSync(path.join(ROOT, 'browser', 'index.js'))) throw new Error('the build for browsers is missing: npm run build:browser');
    const wanted = (platform) => values.all || existsSync(platformBinary(platform));
    const platforms = positionals.length > 0 ? positionals : Object.keys(PLATFORMS).filter(wanted);
    const dist = path.join(ROOT, 'dist');
    rmSync(dist, { recursive: true, force: true });
    mkdirSync(dist);
    checkSize(packMain(dist), MAX_MAIN_BYTES);
    for (const platform of platforms) checkSize(packPlatform(platform, dist), MAX_PLATFORM_BYTES);
  } catch (error) {
    say(`Packing failed: ${error.message}`);
    process.exitCode = 1;
  }
}
