// The pages: those made of the types, and the links between those that are written.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { ROOT, temporaryFolder } from './support/models.js';
import { runNode } from './support/run.js';

test('every class, interface, type and method of the API is documented, and makes a page', async () => {
  const out = temporaryFolder();
  const typedoc = path.join(ROOT, 'node_modules', 'typedoc', 'bin', 'typedoc');
  const { code, stdout, stderr } = await runNode([typedoc, '--out', out], { cwd: ROOT });
  assert.equal(code, 0, stdout + stderr);
  assert.ok(existsSync(path.join(out, 'classes', 'LLMRouter.html')));
});

test('links between pages lead somewhere', () => {
  const pages = ['README.md', 'ARCHITECTURE.md', ...readdirSync(path.join(ROOT, 'docs')).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`)];
  for (const page of pages) {
    const text = readFileSync(path.join(ROOT, page), 'utf8');
    for (const [, target, anchor] of text.matchAll(/\]\((?!https?:)([^)#\s]*)(#[^)\s]*)?\)/g)) {
      const file = target === '' ? page : path.join(path.dirname(page), target);
      assert.ok(existsSync(path.join(ROOT, file)), `${page} → ${target}`);
      if (!anchor || !file.endsWith('.md')) continue;
      const headings = [...readFileSync(path.join(ROOT, file), 'utf8').matchAll(/^#+ (.*)$/gm)].map(([, title]) => `#${title.toLowerCase().replace(/[^\w\- ]/g, '').replaceAll(' ', '-')}`);
      assert.ok(headings.includes(anchor), `${page} → ${target}${anchor}`);
    }
  }
});
