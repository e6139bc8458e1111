// npm run demo, as a user runs it.
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { ORACLE, ROOT } from './support/models.js';
import { runNode } from './support/run.js';

const demo = (...args) => runNode([path.join(ROOT, 'scripts', 'demo.js'), ...args], { cwd: ROOT, timeout: 600_000 });

test('the demo answers the questions that its model knows, with tokens per second', async () => {
  const { code, stdout, stderr } = await demo();
  assert.equal(code, 0, stderr);
  assert.match(stdout, /> What is BitNet\?\nBitNet is a family of language models/);
  assert.ok(stdout.match(/\[\d+ tokens, [\d.]+ tokens\/s[\],]/g).length >= 4, stdout);
  assert.match(stderr, /Loaded demo in .* kernel \w+, \d+ thread/);
});

test('the demo takes a prompt, a model and a length', async () => {
  const { code, stdout, stderr } = await demo('--prompt', 'Hello', '--model', path.join(ORACLE, 'models', 'llama3-158'), '--max-tokens', '5');
  assert.equal(code, 0, stderr);
  assert.match(stdout, /\[[1-5] tokens, /);
});

test('the demo says what is wrong and fails', async () => {
  assert.equal((await demo('--nonsense')).code, 2);
  const wrongLength = await demo('--prompt', 'x', '--max-tokens', 'many');
  assert.equal(wrongLength.code, 1);
  assert.match(wrongLength.stderr, /maxTokens/);
  const missing = await demo('--model', 'org/nothing', '--prompt', 'x');
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /Model not found: org\/nothing/);
});

test('the demo chats: the second question sees the first answer', async () => {
  const { code, stdout, stderr } = await runNode([path.join(ROOT, 'scripts', 'demo.js'), '--chat'], { cwd: ROOT, input: 'What is BitNet b1.58?\ntell me more\n' });
  assert.equal(code, 0, stderr);
  assert.match(stdout, /\d+ of \d+ prompt tokens reused/);
});
