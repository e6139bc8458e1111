// The engines of `npm run build:prebuilds`, each under a Node of its platform: the guide's code in the installed packages gives the
// text that it gives here, and all goldens hold. ARM64 is emulated, as processors with and without the dot products that kernels use.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { platformBinary } from '../../scripts/packages/manifests.js';
import { checkBinary } from '../../scripts/prebuilds/check.js';
import { ensureRuntimes, RUNTIMES_OF } from '../../scripts/prebuilds/runtimes.js';
import { ensureToolchain } from '../../scripts/prebuilds/toolchain.js';
import { copyWithEngine, installedProject, runIn } from '../support/install.js';

ensureToolchain();
ensureRuntimes();
const built = Object.keys(RUNTIMES_OF).filter((platform) => existsSync(platformBinary(platform)));
assert.ok(built.length > 0, 'npm run build:prebuilds comes first');

const here = installedProject();
const expected = runIn(here.project, here.env, ['node', 'guide.mjs']);

for (const platform of built) {
  const engine = platformBinary(platform);
  const { project, env } = installedProject({ platform, engine });
  const copy = copyWithEngine(platform, engine);

  test(`the engine of ${platform} asks for nothing that its machines lack`, () => checkBinary(platform, engine));

  for (const [name, command] of Object.entries(RUNTIMES_OF[platform])) {
    test(`${platform}, ${name}: the guide's code gives the same text`, () => assert.equal(runIn(project, env, [...command, 'guide.mjs']), expected));

    test(`${platform}, ${name}: all goldens hold`, () => {
      const report = runIn(copy, { ...env, HF_HUB_OFFLINE: '1' }, [...command, '--test-reporter=tap', path.join('__test__', 'oracle.test.js')]);
      assert.match(report, /^# pass [1-9]/m);
      assert.match(report, /^# fail 0/m);
    });
  }
}
