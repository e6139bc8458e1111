// npm run build:browser: the package for browsers, into browser/. The engine is compiled to WebAssembly and the JavaScript
// bundled, with the modules of Node replaced by those of lib/browser/platform/.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { buildModule, MODULES } from './browser/module.js';
import { ensurePackages, ROOT, say } from './support.js';

const OUT = path.join(ROOT, 'browser');
const platform = (name) => path.join(ROOT, 'lib', 'browser', 'platform', `${name}.js`);

/** Module of Node, or file of the package -> what takes its place. */
const REPLACED = {
  'node:events': platform('events'),
  'node:fs/promises': platform('files'),
  'node:path': platform('files'),
  'node:os': platform('machine'),
  'node:crypto': platform('machine'),
  'lib/energy.js': platform('machine'),
  'lib/environment.js': platform('machine'),
  'lib/paths.js': platform('machine'),
  'lib/registry-file.js': platform('files'),
  'loaders/BitNetLoader.js': path.join(ROOT, 'lib', 'browser', 'BitNetLoader.js'),
};

const replacing = {
  name: 'platform',
  setup(build) {
    build.onResolve({ filter: /^node:/ }, ({ path: name, importer }) => {
      if (REPLACED[name]) return { path: REPLACED[name] };
      return { errors: [{ text: `${path.relative(ROOT, importer)} needs ${name}, which browsers lack: give it a place in REPLACED of scripts/browser.js` }] };
    });
    build.onResolve({ filter: /^\.\.?\// }, ({ path: name, resolveDir }) => {
      const file = path.relative(ROOT, path.resolve(resolveDir, name)).split(path.sep).join('/');
      return REPLACED[file] ? { path: REPLACED[file] } : undefined;
    });
  },
};

async function bundle() {
  const { build } = await import('esbuild');
  const shared = { bundle: true, format: 'esm', target: 'es2023', charset: 'utf8', logLevel: 'warning', absWorkingDir: ROOT, plugins: [replacing] };
  await build({ ...shared, entryPoints: ['lib/browser/index.js'], outfile: 'browser/index.js', inject: [platform('globals')] });
  await build({ ...shared, entryPoints: ['lib/browser/worker.js'], outfile: 'browser/worker.js' });
}

/** Builds all of it; cargo does nothing where nothing changed. */
export async function buildBrowser() {
  ensurePackages();
  mkdirSync(OUT, { recursive: true });
  // Packed: a package has a limit of size, and a server may not pack what it sends.
  for (const module of MODULES) writeFileSync(path.join(OUT, `${module}.wasm.gz`), gzipSync(readFileSync(buildModule(module)), { level: 9 }));
  await bundle();
  say(`Built browser/: index.js, worker.js, ${MODULES.map((module) => `${module}.wasm.gz`).join(', ')}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  buildBrowser().catch((error) => {
    say(`Build failed: ${error.message}`);
    process.exitCode = 1;
  });
}
