// npm run reproduce [-- PLATFORM…]: builds engines once more, from a copy of the committed sources in another folder and with nothing
// built before, and compares them byte by byte with those that `npm run build:prebuilds` left under npm/.
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { PLATFORMS } from '../../lib/platforms.js';
import { platformBinary } from '../packages/manifests.js';
import { ROOT, run, say } from '../support.js';

const sha256 = (file) => createHash('sha256').update(readFileSync(file)).digest('hex');

/** Builds the platform's engine in `folder` and throws unless it is the one under npm/. */
function compare(platform, folder) {
  const copy = path.join(folder, 'a checkout of another name');
  run('git', ['clone', '--quiet', ROOT, copy]);
  run(process.execPath, ['scripts/prebuilds/build.js', platform], { cwd: copy, env: { CARGO_TARGET_DIR: path.join(folder, 'built') } });
  const [first, second] = [platformBinary(platform), path.join(copy, path.relative(ROOT, platformBinary(platform)))].map(sha256);
  if (first !== second) throw new Error(`two builds of ${platform} differ: ${first}, ${second}`);
  say(`${platform}: both builds are ${first}`);
}

try {
  const named = process.argv.slice(2);
  const platforms = named.length > 0 ? named : Object.keys(PLATFORMS).filter((platform) => existsSync(platformBinary(platform)));
  if (platforms.length === 0) throw new Error('there is nothing to compare with: npm run build:prebuilds comes first');
  for (const platform of platforms) {
    const folder = mkdtempSync(path.join(tmpdir(), 'llm-runner-again-'));
    try {
      compare(platform, folder);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
} catch (error) {
  say(`Not reproduced: ${error.message}`);
  process.exitCode = 1;
}
