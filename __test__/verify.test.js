// Whether two models are the same, and how well one predicts a text.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { convert, LLMRouter, measurePerplexity, quantize, verify } from 'llm-runner-router';
import { ORACLE, ROOT, temporaryFolder } from './support/models.js';
import { runNode } from './support/run.js';

const FOLDER = path.join(ORACLE, 'models', 'bitnet-2b4t');
const router = new LLMRouter();
after(() => router.cleanup());
const cli = (...args) => runNode([path.join(ROOT, 'bin', 'llm-router.js'), ...args], { cwd: ROOT });

test('a converted model is the same, one of a rounded embedding is not, and its logits say how far off it is', async () => {
  const folder = temporaryFolder();
  const [exact, rounded] = [path.join(folder, 'exact.gguf'), path.join(folder, 'rounded.gguf')];
  await convert(FOLDER, exact, { type: 'tl2' });
  await convert(FOLDER, rounded, { embeddingType: 'q8_0' });
  const seen = [];
  const same = await verify(FOLDER, exact, { onProgress: ({ phase, loadedBytes, totalBytes }) => seen.push([phase, loadedBytes, totalBytes]) });
  assert.deepEqual([same.same, same.differences, same.logits.largest, same.logits.sameTop], [true, [], 0, same.logits.tokens]);
  assert.deepEqual(seen.at(-1), ['verify', same.compared, same.compared]);
  const other = await verify(FOLDER, rounded);
  assert.deepEqual([other.same, other.differences.map(({ name }) => name)], [false, ['model.embed_tokens.weight']]);
  assert.ok(other.logits.largest > 0 && other.logits.largest < 5);
  assert.equal((await verify(FOLDER, rounded, { logits: false })).logits, undefined);
  await assert.rejects(verify(FOLDER, exact, { signal: AbortSignal.abort() }), { code: 'ABORTED' });
  await assert.rejects(verify(FOLDER, ''), { code: 'INVALID_ARGUMENT' });
  const told = await cli('verify', FOLDER, rounded);
  assert.equal(told.code, 1, told.stderr);
  assert.match(told.stdout, /model\.embed_tokens\.weight: \d+ numbers, .* apart at most[\s\S]*1 differ[\s\S]*not the same/);
  assert.equal((await cli('verify', FOLDER, exact, '--weights-only', '--json')).code, 0);
});

test('the block order and the tiles of either side are as they are said', async () => {
  const folder = temporaryFolder();
  const [usual, arm, tl1] = ['usual', 'arm', 'tl1'].map((name) => path.join(folder, `${name}.gguf`));
  await convert(FOLDER, usual, { type: 'i2_s' });
  await convert(FOLDER, arm, { outputI2sLayout: 'arm' });
  await convert(FOLDER, tl1, { type: 'tl1' });
  const same = async (...args) => (await verify(...args)).same;
  assert.equal(await same(usual, arm), true);
  assert.equal(await same(arm, usual, { firstI2sLayout: 'arm', secondI2sLayout: 'x86' }), true);
  for (const options of [{ firstI2sLayout: 'arm' }, { secondI2sLayout: 'x86' }]) {
    const { same: isSame, differences, logits } = await verify(usual, arm, options);
    assert.ok(!isSame && differences.length > 0 && logits.largest > 0, JSON.stringify(options));
  }
  assert.equal((await cli('verify', usual, arm, '--second-i2s-layout', 'x86', '--weights-only')).code, 1);
  await assert.rejects(verify(usual, tl1, { kernelConfig: path.join(folder, 'none.ini') }), { code: 'MODEL_NOT_FOUND' });
});

test('perplexities are those of the reference', async () => {
  for (const name of ['bitnet-2b4t', 'llama3-158', 'llama-fp16']) {
    const folder = path.join(ORACLE, 'models', name);
    const { nll } = JSON.parse(readFileSync(path.join(folder, 'goldens.json'), 'utf8'));
    const model = await router.load(folder, { threads: 1 });
    for (const golden of nll) {
      const { perplexity, low, high, tokens } = await measurePerplexity(model, golden.text);
      assert.equal(tokens, golden.nll.length, name);
      assert.ok(Math.abs(perplexity / golden.perplexity - 1) < 2 * golden.tol_mean + 1e-3, `${name}: ${perplexity}, not ${golden.perplexity}`);
      assert.ok(low <= perplexity && perplexity <= high, name);
    }
    await router.unload(model.id);
  }
});

test('a long text is measured in windows, and an interrupted measurement goes on where it was', async () => {
  const model = await router.load(FOLDER, { threads: 1 });
  const text = 'hello world, this is a long text. '.repeat(20);
  const { length } = model.tokenize(text);
  const whole = await measurePerplexity(model, text, { window: 16 });
  assert.equal(whole.tokens, length - 1);
  const state = path.join(temporaryFolder(), 'state.json');
  const controller = new AbortController();
  let windows = 0;
  const onProgress = () => {
    windows += 1;
    if (windows === 3) controller.abort();
  };
  await assert.rejects(measurePerplexity(model, text, { window: 16, state, signal: controller.signal, onProgress }), { code: 'ABORTED' });
  let rest = 0;
  const resumed = await measurePerplexity(model, text, { window: 16, state, onProgress: () => (rest += 1) });
  assert.deepEqual(resumed, whole);
  assert.ok(rest > 0 && rest + 3 === Math.ceil((length - 16) / 8) + 1, `${rest} windows of ${length} tokens`);
  await assert.rejects(measurePerplexity(model, text, { window: 32, state }), { code: 'INVALID_ARGUMENT', message: /another model, text or window/ });
  await assert.rejects(measurePerplexity(model, ''), { code: 'INVALID_ARGUMENT' });
});

test('llm-router perplexity prints the number, or one line of JSON', async () => {
  const file = path.join(temporaryFolder(), 'text.txt');
  writeFileSync(file, 'hello world, hello again');
  const plain = await cli('perplexity', FOLDER, '--file', file, '--threads', '1');
  assert.equal(plain.code, 0, plain.stderr);
  const { perplexity, low, high } = JSON.parse((await cli('perplexity', FOLDER, '--file', file, '--threads', '1', '--json')).stdout);
  assert.equal(plain.stdout.trim(), perplexity.toFixed(4));
  assert.ok(low < perplexity && perplexity < high);
  assert.equal((await cli('perplexity', FOLDER)).code, 2);
  assert.equal((await cli('perplexity', FOLDER, '--file', file, '--window', '1')).code, 2);
});

test('quantize rounds masters without damage, and tells the damage of a model that was not trained for it', async () => {
  const folder = temporaryFolder();
  const trained = await quantize(path.join(ORACLE, 'models', 'bitnet-2b4t-bf16'), path.join(folder, 'trained'));
  assert.deepEqual([trained.isTrained, trained.type, trained.after], [true, 'hf', trained.before]);
  const dense = path.join(ORACLE, 'models', 'llama-fp16');
  await assert.rejects(quantize(dense, path.join(folder, 'no')), { code: 'UNSUPPORTED_QUANT', message: /not trained.*force/s });
  const told = await cli('quantize', dense, path.join(folder, 'ruined'), '--force', '--json');
  assert.equal(told.code, 0, told.stderr);
  const { isTrained, before, after, type } = JSON.parse(told.stdout);
  assert.deepEqual([isTrained, type], [false, 'hf']);
  assert.notEqual(after.perplexity, before.perplexity);
  assert.equal((await cli('quantize', dense, path.join(folder, 'x'))).code, 2);
});
