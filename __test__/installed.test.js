// The packages installed from their tarballs, without network, install scripts or compilers, and the guide's code in them.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { binaryName, packageName, PLATFORMS, platformName } from '../lib/platforms.js';
import { platformFiles, publishedManifest } from '../scripts/packages/manifests.js';
import { installedProject, runIn, runNpm } from './support/install.js';
import { ROOT, temporaryFolder } from './support/models.js';
import { serveRegistry } from './support/npm-registry.js';

const { project, env, tarballs } = installedProject();
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
    writeFileSync(path.join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, files: ['guide.mts'] }));
    node(path.join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc'));
    assert.equal(node(path.join(outDir, 'guide.mjs')), expected);
  });
}

test('the command is on the path of the project', () => {
  const command = path.join(project, 'node_modules', '.bin', 'llm-router');
  assert.ok(existsSync(command));
  assert.match(node(command, 'run', 'demo', 'What is BitNet?', '--temperature', '0'), /BitNet is/);
});

/** A project that installed the package by its name, from a registry of this machine that has all of them. */
async function fromRegistry() {
  const folder = temporaryFolder();
  const platforms = Object.keys(PLATFORMS).map((platform) => ({ manifest: JSON.parse(platformFiles(platform)['package.json']), tarball: tarballs[1] }));
  const registry = await serveRegistry([{ manifest: publishedManifest(), tarball: tarballs[0] }, ...platforms]);
  writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ name: 'other', private: true }));
  await runNpm(folder, env, 'npm install llm-runner-router', registry);
  return { folder, registry };
}

/** The first use of the engine in a folder: what it throws, or null. */
function firstError(folder) {
  const program = `import('llm-runner-router').then(({ load }) => load('demo')).then(() => null, ({ code, details }) => ({ code, ...details }))
    .then((error) => console.log(JSON.stringify(error)))`;
  return JSON.parse(runIn(folder, env, ['node', '--eval', program]));
}

/** What may become of the folder of the platform's package. */
const breakages = {
  'is missing': (folder) => rmSync(folder, { recursive: true }),
  'is damaged': (folder) => writeFileSync(path.join(folder, binaryName(platformName())), 'no library'),
  'is of another version': (folder) => {
    const manifest = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8'));
    writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ ...manifest, version: '1.0.0' }));
    rmSync(path.join(folder, '..', '.package-lock.json')); // in which npm notes the versions that it installed
  },
};

test('installed by its name it works, and where the package of the platform breaks, the command in the error mends it', async () => {
  const { folder, registry } = await fromRegistry();
  assert.deepEqual(readdirSync(path.join(folder, 'node_modules')).filter((name) => !name.startsWith('.')), ['llm-runner-router', packageName(platformName())]);
  assert.equal(firstError(folder), null);
  for (const [state, damage] of Object.entries(breakages)) {
    damage(path.join(folder, 'node_modules', packageName(platformName())));
    const { code, command } = firstError(folder);
    assert.equal(code, 'NATIVE_BINDING_MISSING', state);
    await runNpm(folder, env, command, registry);
    assert.equal(firstError(folder), null, `${state}: ${command}`);
  }
});
