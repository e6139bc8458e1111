// node scripts/packages/publish.js [--dry-run]: publishes what `npm run pack -- --all` made: the platforms first, so that the main package
// never names one that is not there. Run again after a failure it goes on with what is missing.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { packageName, PLATFORMS } from '../../lib/platforms.js';
import { ROOT, run, say } from '../support.js';
import { readManifest } from './manifests.js';

const { name: main, version } = readManifest();

/** `v2.1.0` of a tag has to be the version of the packages; a version such as 2.2.0-beta.1 does not become the one that is installed. */
function checkTag(tag) {
  if (tag !== `v${version}`) throw new Error(`the tag is ${tag}, and package.json says ${version}`);
}

function isPublished(name) {
  try {
    return run('npm', ['view', `${name}@${version}`, 'version'], { capture: true, quiet: true }).trim() !== '';
  } catch {
    return false; // npm fails for a package that it does not know
  }
}

try {
  const { values } = parseArgs({ options: { 'dry-run': { type: 'boolean' }, tag: { type: 'string' } } });
  if (values.tag !== undefined) checkTag(values.tag);
  const tarballs = [...Object.keys(PLATFORMS).map(packageName), main].map((name) => ({ name, file: path.join(ROOT, 'dist', `${name}-${version}.tgz`) }));
  const absent = tarballs.filter(({ file }) => !existsSync(file));
  if (absent.length > 0) throw new Error(`not packed: ${absent.map(({ name }) => name).join(', ')}`);
  const channel = version.includes('-') ? 'next' : 'latest';
  for (const { name, file } of tarballs) {
    if (values['dry-run']) say(`would publish ${name}@${version} as ${channel}`);
    else if (isPublished(name)) say(`${name}@${version} is published`);
    else run('npm', ['publish', file, '--access', 'public', '--provenance', '--tag', channel]);
  }
} catch (error) {
  say(`Publishing failed: ${error.message}`);
  process.exitCode = 1;
}
