// The packages installed from their tarballs, without network, install scripts or compilers, and the guide's code in them.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { packageName, platformName } from '../lib/platforms.js';
import { installedProject, runIn } from './support/install.js';
import { ROOT } from './support/models.js';

const { project, env } = installedProject();
const node = (...args) => runIn(project, env, ['node', ...args]);
const expected = node('guide.mjs');

test('the right two packages are installed, and nothing else', () => {
  assert.deepEqual(readdirSync(path.join(project, 'node_modules')).filter((name) => !name.startsWith('.')), ['llm-runner-router', packageName(platformName())]);
});

test('the guide\'s code gives text in an ES module', () => {
  const texts = JSON.parse(expected);
  assert.ok(texts.every((text) => text.length > 0));
  assert.match(texts.at(-1), /^BitNet is/);
});

for (const program of ['guide.cjs', 'worker.mjs', 'child.mjs']) {
  test(`${program} gives the same text`, () => assert.equal(node(program), expected));
}

for (const [module, moduleResolution] of [['node16', 'node16'], ['esnext', 'bundler']]) {
  test(`TypeScript with the resolution "${moduleResolution}" finds the types, and the compiled program gives the same text`, () => {
    const outDir = path.join(project, moduleResolution);
    const options = { module, moduleResolution, target: 'es2022', lib: ['es2022'], strict: true, skipLibCheck: false, outDir, types: ['node'], typeRoots: [path.join(ROOT, 'node_modules', '@types')] };
    writeFileSync(path.join(project, 'package.json'), JSON.stringify({ name: 'project', private: true, type: 'module' }));
    writeFileSync(path.join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, files: ['guide.ts'] }));
    node(path.join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc'));
    assert.equal(node(path.join(outDir, 'guide.js')), expected);
  });
}

test('the command is on the path of the project', () => {
  const command = path.join(project, 'node_modules', '.bin', 'llm-router');
  assert.ok(existsSync(command));
  assert.match(node(command, 'run', 'demo', 'What is BitNet?', '--temperature', '0'), /BitNet is/);
});

test('without the package of the platform the first use says what to run', () => {
  rmSync(path.join(project, 'node_modules', packageName(platformName())), { recursive: true });
  assert.throws(() => node('guide.mjs'), /NATIVE_BINDING_MISSING/);
});
