// The installed packages under every runtime that is claimed, and what linters of packages say.
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { ensureRuntimes, RUNTIMES } from '../../scripts/prebuilds/runtimes.js';
import { installedProject, runIn } from '../support/install.js';
import { ROOT } from '../support/models.js';

ensureRuntimes();
const { project, env, tarballs } = installedProject();
const expected = runIn(project, env, ['node', 'guide.mjs']);

for (const [name, command] of Object.entries(RUNTIMES)) {
  for (const program of ['guide.mjs', 'guide.cjs', 'worker.mjs', 'child.mjs']) {
    test(`${name} runs ${program}, with the same text`, () => assert.equal(runIn(project, env, [...command, program]), expected));
  }
}

const tool = (...place) => ['node', path.join(ROOT, 'node_modules', ...place)];

test('publint finds nothing in any package', () => {
  for (const tarball of tarballs) assert.match(runIn(project, env, [...tool('publint', 'src', 'cli.js'), tarball, '--strict']), /All good!/);
});

test('the types are right for every resolution that an ES module allows', () => {
  // Versions of TypeScript before 5.9 do not know that CommonJS may require() ES modules: that resolution is left out.
  runIn(project, env, [...tool('@arethetypeswrong', 'cli', 'dist', 'index.js'), tarballs[0], '--profile', 'esm-only']);
});
