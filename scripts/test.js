// npm test: every check there is, after setting up whatever a fresh clone lacks.
// npm run lint | test:rust | test:js run one part. Two run only by name,
// for they fetch runtimes and a toolchain: npm run test:package | test:prebuilds.
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { ensureBuilt, ensurePackages, ROOT, run, say } from './support.js';

const testFiles = () => readdirSync(path.join(ROOT, '__test__')).filter((name) => name.endsWith('.test.js')).map((name) => path.join('__test__', name));

const runTests = (...files) => run(process.execPath, ['--test', '--test-reporter=spec', ...files]);

const parts = {
  lint() {
    run('cargo', ['fmt', '--all', '--check']);
    run('cargo', ['clippy', '--workspace', '--all-targets', '--locked', '--', '-D', 'warnings']);
  },
  rust() {
    run('cargo', ['test', '--workspace', '--locked']);
  },
  js() {
    ensurePackages();
    ensureBuilt();
    run(process.execPath, [path.join('node_modules', 'typescript', 'bin', 'tsc'), '--project', path.join('__test__', 'tsconfig.json')]);
    runTests(...testFiles());
  },
  async browser() {
    const { buildBrowser } = await import('./browser.js');
    const { MODULES, testKernels } = await import('./browser/module.js');
    const { hasRelaxedSimd } = await import('../lib/browser/engine-file.js');
    await buildBrowser();
    // Node runs what it can; relaxed SIMD came after Node 20.
    for (const module of MODULES) if (module === 'engine' || (await hasRelaxedSimd())) testKernels(module);
    ensureBuilt();
    runTests('__test__/full/browser.test.js');
  },
  async package() {
    // A package is checked whole, with what browsers get.
    const { buildBrowser } = await import('./browser.js');
    await buildBrowser();
    ensureBuilt();
    runTests('__test__/packages.test.js', '__test__/installed.test.js', '__test__/full/runtimes.test.js');
  },
  prebuilds() {
    ensurePackages();
    ensureBuilt();
    runTests('__test__/full/prebuilds.test.js');
  },
};

/** What the machine of every developer can do, with nothing but npm, Node and cargo. */
const everywhere = ['lint', 'rust', 'js'];

const wanted = process.argv.length > 2 ? process.argv.slice(2) : everywhere;
try {
  for (const part of wanted) {
    if (!(part in parts)) throw new Error(`there is no part "${part}"; there are: ${Object.keys(parts).join(', ')}`);
    const startedAt = Date.now();
    await parts[part]();
    if (part === 'lint' || part === 'rust') say(`${part}: passed in ${Math.round((Date.now() - startedAt) / 1000)} s`);
  }
} catch (error) {
  say(`Failed: ${error.message}`);
  process.exitCode = 1;
}
