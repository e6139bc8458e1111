// Broken model files: each gives a clean error within five seconds and a gigabyte, and a good model still loads after it.
import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, truncateSync, chmodSync } from 'node:fs';
import path from 'node:path';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ORACLE, temporaryFolder } from './support/models.js';
import { runNode } from './support/run.js';

const root = path.join(ORACLE, 'malformed');
const { cases, limits } = JSON.parse(readFileSync(path.join(root, 'manifest.json'), 'utf8'));

/** Lays the folder of a case out under `work`, beside the good one that some cases reach for. */
function materialise(entry, work) {
  if (entry.kind === 'gguf') return path.join(root, entry.path);
  const folder = path.join(work, entry.path);
  if (entry.id === 'dirs/absent') return folder;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const good = path.join(root, 'dirs', 'ok');
  for (const name of readdirSync(good)) if (!entry.drop?.includes(name)) cpSync(path.join(good, name), path.join(folder, name));
  // The corpus lays over this folder the very shard that it says is missing.
  const absent = entry.id === 'dirs/idx_missing_shard' ? 'model-00002-of-00002.safetensors' : undefined;
  for (const name of (entry.overlay ?? []).filter((file) => file !== absent)) cpSync(path.join(root, entry.path, name), path.join(folder, name));
  const { symlinks = [], fifos = [], dirs = [], chmod = [], truncate = [] } = entry.setup ?? {};
  for (const { path: name, target } of symlinks) symlinkSync(target, path.join(folder, name));
  for (const name of fifos) assert.equal(spawnSync('mkfifo', [path.join(folder, name)]).status, 0);
  for (const name of dirs) mkdirSync(path.join(folder, name));
  for (const [name, mode] of chmod) chmodSync(path.join(folder, name), mode);
  for (const [name, size] of truncate) truncateSync(path.join(folder, name), size);
  return folder;
}

test('every broken file is refused cleanly, in time and in bounds, and the process lives on', { timeout: 600_000 }, async (t) => {
  const work = temporaryFolder();
  const known = cases.filter((entry) => entry.kind !== 'gguf' || existsSync(path.join(root, entry.path)));
  assert.ok(known.length >= 300, `${known.length} cases`);
  mkdirSync(path.join(work, 'dirs'), { recursive: true });
  const ok = known.find(({ id }) => id === 'dirs/ok');
  const places = known.map((entry) => ({ ...entry, place: materialise(entry, work) }));
  const input = JSON.stringify({ cases: places, good: ok ? path.join(work, ok.path) : path.join(root, 'dirs', 'ok'), limits });
  const child = fileURLToPath(new URL('support/malformed-child.js', import.meta.url));
  const { code, signal, stdout, stderr } = await runNode([child], { input, timeout: 500_000 });
  const outcomes = stdout.trim().split('\n').map((line) => JSON.parse(line));
  assert.equal(code, 0, `the process ended with ${code ?? signal} after ${JSON.stringify(outcomes.at(-1))}: ${stderr}`);
  assert.equal(outcomes.length, known.length + 1);
  const { maxBytes } = outcomes.pop();
  const problems = outcomes.filter(({ problem }) => problem).map(({ id, problem }) => `${id}: ${problem}`);
  assert.deepEqual(problems, []);
  assert.ok(maxBytes <= limits.bytes, `${maxBytes} bytes of memory`);
  const refused = outcomes.filter(({ outcome }) => outcome !== 'ok').length;
  t.diagnostic(`${outcomes.length} cases, ${refused} refused, at most ${Math.round(maxBytes / 1e6)} MB`);
});
