// The kernel that setup measures to be the fastest, and who takes it.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from './support/models.js';

const home = temporaryFolder();
Object.assign(process.env, { XDG_CACHE_HOME: home, HOME: home, LOCALAPPDATA: home });
delete process.env.LLM_RUNNER_ISA;
const { default: LLMRouter, inspect } = await import('../index.js');
const { fastestKernel, keepTuned } = await import('../lib/tuned.js');
const { cacheFolder } = await import('../lib/paths.js');
const { tune } = await import('../lib/cli/setup.js');

const kept = () => path.join(cacheFolder(), 'kernel.json');
const usedBy = async (options) => {
  const router = new LLMRouter();
  const { isa } = (await router.load('demo', options)).info();
  await router.cleanup();
  return isa;
};

test('the fastest kernel is one that is faster by more than chance, of those that the machine has', async () => {
  const measured = (times) => fastestKernel('avx2', async (isa) => times[isa]);
  assert.deepEqual(await measured({ avx2: 100, avxvnni: 99 }), { isa: 'avx2', times: { avx2: 100, avxvnni: 99 } });
  assert.equal((await measured({ avx2: 100, avxvnni: 80, avx512vnni: 70 })).isa, 'avx512vnni');
  const rounds = [300, 50, 200]; // the best of a kernel's rounds counts
  const { isa, times } = await fastestKernel('avx2', async (name) => (name === 'avxvnni' ? rounds.shift() : name === 'avx2' ? 100 : undefined));
  assert.deepEqual([isa, times], ['avxvnni', { avx2: 100, avxvnni: 50 }]);
});

test('a kept choice is what later loads and looks take, until it is taken back', async () => {
  const usual = await usedBy();
  keepTuned('scalar');
  assert.equal(await usedBy(), 'scalar');
  assert.equal((await inspect('demo')).isa, 'scalar');
  assert.equal(await usedBy({ isa: usual }), usual, 'a named one wins');
  process.env.LLM_RUNNER_ISA = usual;
  assert.equal(await usedBy(), usual, 'so does that of the environment');
  delete process.env.LLM_RUNNER_ISA;
  keepTuned(undefined);
  assert.equal(await usedBy(), usual);
  assert.equal((await inspect('demo')).isa, usual);
});

test('a choice of another machine, one that is not here, and a broken file count for nothing', async () => {
  const usual = await usedBy();
  keepTuned('scalar');
  const { machine } = JSON.parse(readFileSync(kept(), 'utf8'));
  const elsewhere = process.arch === 'arm64' ? 'avx2' : 'neon';
  for (const text of [JSON.stringify({ isa: 'scalar', machine: `${machine} II` }), JSON.stringify({ isa: elsewhere, machine }), JSON.stringify({ isa: 'fast', machine }), '{"isa"', 'null']) {
    writeFileSync(kept(), text);
    assert.equal(await usedBy(), usual, text);
    assert.equal((await inspect('demo')).isa, usual, text);
  }
  await assert.rejects(usedBy({ isa: elsewhere }), { code: 'ISA_UNAVAILABLE' });
});

test('setup measures the kernels of this machine and keeps what it says', async () => {
  const said = [];
  const router = new LLMRouter();
  await tune(router, 'demo', {}, { say: (text) => said.push(text), status: () => {}, endProgress: () => {} });
  await router.cleanup();
  const [, list, taken] = /^Kernels, for a prompt of 64 words and 16 tokens: (.*)\. Taken here: (\w+)$/.exec(said.join('\n'));
  assert.match(list, new RegExp(`^(\\w+ \\d+ ms(, )?)+$`));
  assert.ok(list.includes(`${taken} `));
  assert.equal(await usedBy(), taken);
});
