// What is published: the main package, one package a platform, and what happens where the one for this machine is missing.
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { libc, packageName, PLATFORMS, platformName } from '../lib/platforms.js';
import { platformFiles, platformFolder, publishedManifest, readManifest } from '../scripts/packages/manifests.js';
import { MAX_MAIN_BYTES, packMain } from '../scripts/packages/pack.js';
import { ROOT, temporaryFolder } from './support/models.js';
import { runModule } from './support/run.js';

const { version } = readManifest();
const expected = packageName(platformName());

test('npm/ holds exactly one package for each platform, as the table of platforms says', () => {
  assert.deepEqual(readdirSync(path.join(ROOT, 'npm')).sort(), Object.keys(PLATFORMS).sort());
  for (const platform of Object.keys(PLATFORMS)) {
    for (const [name, text] of Object.entries(platformFiles(platform))) {
      assert.equal(readFileSync(path.join(platformFolder(platform), name), 'utf8'), text, `${platform}/${name}: run node scripts/packages/manifests.js`);
    }
  }
});

test('no package runs anything at installation, and none of a platform has engines', () => {
  const manifests = [publishedManifest(), ...Object.keys(PLATFORMS).map((platform) => JSON.parse(platformFiles(platform)['package.json']))];
  for (const { name, scripts = {} } of manifests) {
    for (const hook of ['preinstall', 'install', 'postinstall', 'prepare']) assert.equal(scripts[hook], undefined, name);
  }
  for (const manifest of manifests.slice(1)) assert.equal(manifest.engines, undefined, manifest.name);
});

test('the main package names every platform in its very version, and depends on nothing else', () => {
  const { optionalDependencies, dependencies, devDependencies, scripts } = publishedManifest();
  assert.deepEqual(optionalDependencies, Object.fromEntries(Object.keys(PLATFORMS).map((platform) => [packageName(platform), version])));
  assert.equal(dependencies, undefined);
  assert.equal(devDependencies, undefined);
  assert.deepEqual(Object.keys(scripts), ['demo', 'setup:bitnet', 'test:bitnet']);
});

test('a clone can be installed: package.json names nothing that is not published yet', () => {
  assert.equal(readManifest().optionalDependencies, undefined);
});

test('the main package has the demo and all that it imports, no engine, and few bytes', () => {
  const { files, size, unpackedSize } = packMain(temporaryFolder());
  assert.ok(unpackedSize <= MAX_MAIN_BYTES && size < unpackedSize, `${unpackedSize} bytes`);
  assert.deepEqual(files.filter((name) => /\.node$|^(crates|src|__test__|testdata|npm|node_modules)\//.test(name)), []);
  for (const name of ['LICENSE', 'README.md', 'CHANGELOG.md', 'index.d.ts', 'demo/bitnet-demo/model.safetensors']) assert.ok(files.includes(name), name);
  const here = new Set(files);
  // What is bundled for browsers imports nothing; its comments name the files it was made of.
  for (const name of files.filter((file) => file.endsWith('.js') && !file.startsWith('browser/'))) {
    for (const [, target] of readFileSync(path.join(ROOT, name), 'utf8').matchAll(/(?:from|import)\s*\(?'(\.[^']+)'/g)) {
      assert.ok(here.has(path.posix.join(path.posix.dirname(name), target)), `${name} imports ${target}, which is not packed`);
    }
  }
});

/** The main package as it is installed, beside a package for this platform that holds `files`; what a first use of the engine gives. */
async function firstUse(files) {
  const modules = path.join(temporaryFolder(), 'node_modules');
  const main = path.join(modules, 'llm-runner-router');
  for (const name of ['package.json', 'index.js', 'lib', 'loaders', 'demo/bitnet-demo']) cpSync(path.join(ROOT, name), path.join(main, name), { recursive: true });
  if (files) mkdirSync(path.join(modules, expected));
  for (const [name, content] of Object.entries(files ?? {})) writeFileSync(path.join(modules, expected, name), content);
  const source = `
    import { load } from ${JSON.stringify(path.join(main, 'index.js'))};
    const error = await load('demo').catch((thrown) => thrown);
    console.log(JSON.stringify({ code: error.code, message: error.message, ...error.details }));`;
  const { stdout, stderr } = await runModule(source);
  assert.notEqual(stdout, '', stderr);
  return JSON.parse(stdout);
}

const manifestOf = (ofVersion) => JSON.stringify({ name: expected, version: ofVersion, main: 'engine.node' });
const INSTALL = `npm install --no-save --force ${expected}@${version}`;

const cases = {
  'is not there': [undefined, /Cannot find module/, INSTALL],
  'is of another version': [{ 'package.json': manifestOf('1.0.0'), 'engine.node': '' }, /it is of version 1\.0\.0/, INSTALL],
  'is damaged': [{ 'package.json': manifestOf(version), 'engine.node': 'no library' }, /engine\.node/, 'npm ci'],
};
for (const [state, [files, reason, command]] of Object.entries(cases)) {
  test(`where the package of the platform ${state}, importing works, and the first use says what to run`, async () => {
    const error = await firstUse(files);
    assert.equal(error.code, 'NATIVE_BINDING_MISSING');
    assert.match(error.message, reason);
    assert.deepEqual(
      [error.platform, error.libc, error.node, error.package, error.command],
      [platformName(), libc(), process.version, `${expected}@${version}`, command],
    );
    for (const part of [platformName(), libc() ?? '', process.version, `${expected}@${version}`, `Run \`${command}\``]) assert.ok(error.message.includes(part), `${part} in: ${error.message}`);
  });
}

test('an unknown platform is told which ones there are', async () => {
  const source = `
    Object.defineProperty(process, 'arch', { value: 'sparc' });
    const { native } = await import(${JSON.stringify(path.join(ROOT, 'lib', 'native.js'))});
    try { native(); } catch ({ code, message }) { console.log(code, message); }`;
  const { stdout, stderr } = await runModule(source);
  assert.match(stdout, /^NATIVE_BINDING_MISSING .*sparc.*Run `npm run build`/, stderr);
});
