// Texts to vectors.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { LLMRouter } from 'llm-runner-router';
import { loadDemo, ORACLE } from './support/models.js';

const cosine = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);

/** Resolves once a thread pool has had time to begin. */
const turn = () => new Promise((resolve) => setTimeout(resolve, 5));

async function loadOracle(...place) {
  const router = new LLMRouter();
  after(() => router.cleanup());
  return router.load(path.join(ORACLE, ...place), { threads: 1 });
}

for (const name of ['qwen3-embed', 'gemma3-embed']) {
  test(`${name}: the folder and the GGUF file give the golden vectors`, async () => {
    const { embeddings } = JSON.parse(readFileSync(path.join(ORACLE, 'models', name, 'goldens.json'), 'utf8'));
    for (const place of [['models', name], ['gguf', `${name}.I2_S.gguf`]]) {
      const model = await loadOracle(...place);
      assert.equal(model.info().embeds, true);
      assert.equal(model.supports('embedding'), true);
      const vectors = await model.embed(embeddings.map(({ text }) => text));
      for (const [i, vector] of vectors.entries()) {
        assert.ok(vector instanceof Float32Array);
        assert.equal(vector.length, model.info().embeddingSize);
        assert.ok(Math.abs(cosine(vector, vector) - 1) < 1e-5);
        // GGUF stores the norms in other precision, so only the direction is compared.
        assert.ok(cosine(vector, embeddings[i].embedding) > 0.998, `${place}: ${embeddings[i].text}`);
      }
    }
  });
}

test('a text has the same vector alone and among others', async () => {
  const model = await loadOracle('models', 'qwen3-embed');
  const texts = ['hello world', 'El niño corrió', 'a'];
  const together = await model.embed(texts);
  for (const [i, text] of texts.entries()) assert.deepEqual(await model.embed([text]), [together[i]]);
  assert.deepEqual(await model.embed([]), []);
});

test('a model that was made to generate embeds too, and says what it was made for', async () => {
  const { model } = await loadDemo();
  assert.equal(model.info().embeds, false);
  assert.equal(model.supports('embedding'), false);
  const [vector] = await model.embed(['What is BitNet?']);
  assert.equal(vector.length, model.info().embeddingSize);
});

test('a signal stops the work', async () => {
  const { model } = await loadDemo();
  const texts = Array.from({ length: 20_000 }, (_, i) => `text number ${i} of very many`);
  const controller = new AbortController();
  const pending = model.embed(texts, { signal: controller.signal });
  await turn();
  const reason = new Error('enough');
  controller.abort(reason);
  await assert.rejects(pending, { name: 'AbortError', code: 'ABORTED', cause: reason });
  await assert.rejects(model.embed(['x'], { signal: AbortSignal.abort() }), { code: 'ABORTED' });
  // The engine is free again.
  await model.embed(['x']);
});

test('what is no list of texts, or does not fit, is refused', async () => {
  const { model } = await loadDemo({ contextSize: 16 });
  for (const texts of ['text', [1], null, undefined]) {
    await assert.rejects(model.embed(texts), { code: 'INVALID_ARGUMENT' }, String(texts));
  }
  await assert.rejects(model.embed(['x'], { maxTokens: 1 }), { code: 'INVALID_OPTION' });
  await assert.rejects(model.embed(['x', 'long '.repeat(100)]), (error) => error.code === 'CONTEXT_OVERFLOW' && error.message.includes('text 1'));
  await model.unload();
  await assert.rejects(model.embed(['x']), { code: 'MODEL_NOT_LOADED' });
});
