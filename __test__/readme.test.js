// Every JavaScript example of the README is run, section by section, as it stands there; so is every file in examples/.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { guideProject, ROOT } from './support/models.js';
import { runNode } from './support/run.js';

const project = guideProject();
const readme = readFileSync(path.join(ROOT, 'README.md'), 'utf8');
/** Guides whose examples make one program each. */
const GUIDES = ['quick-start', 'chat', 'structured-output', 'routing', 'embeddings', 'deployment', 'migrating'].map((name) => `docs/${name}.md`);

/** The examples under one heading belong together: a later one goes on with the names of an earlier one. */
const sections = readme.split(/^## /m).slice(1).map((section) => ({
  title: section.split('\n')[0],
  code: [...section.matchAll(/```(?:javascript|js)\n([^]*?)```/g)].map(([, code]) => code),
})).filter(({ code }) => code.length > 0);

test('the README has examples', () => {
  assert.ok(sections.length >= 3);
});

for (const { title, code } of sections) {
  test(`README, ${title}`, async () => {
    const file = path.join(project, `${title.replace(/\W+/g, '-')}.mjs`);
    writeFileSync(file, code.join('\n'));
    const result = await runNode([file], { cwd: project });
    assert.equal(result.code, 0, result.stderr);
    assert.ok(result.stdout.length > 0);
  });
}

for (const guide of GUIDES) {
  test(guide, async () => {
    const code = [...readFileSync(path.join(ROOT, guide), 'utf8').matchAll(/```javascript\n([^]*?)```/g)].map(([, example]) => example);
    const file = path.join(project, `${path.basename(guide, '.md')}.mjs`);
    writeFileSync(file, code.join('\n'));
    const result = await runNode([file], { cwd: project });
    assert.equal(result.code, 0, result.stderr);
    assert.ok(result.stdout.length > 0);
  });
}

for (const name of readdirSync(path.join(ROOT, 'examples')).filter((file) => /\.(mjs|cjs)$/.test(file))) {
  test(`examples/${name}`, async () => {
    const file = path.join(project, name);
    writeFileSync(file, readFileSync(path.join(ROOT, 'examples', name)));
    const result = await runNode([file], { cwd: project });
    assert.equal(result.code, 0, result.stderr);
    assert.ok(result.stdout.length > 0);
  });
}

test('every npm script that the README names is there', () => {
  const { scripts } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8'));
  for (const [, name] of readme.matchAll(/npm run ([\w:]+)/g)) assert.ok(scripts[name], name);
});
