// Models that the tests run: the demo, and the tiny models of testdata/oracle in the guide's folder layout.
import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { LLMRouter } from '../../index.js';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
export const ORACLE = path.join(ROOT, 'testdata', 'oracle');

// No test asks the internet: those of the hub run one on this machine.
process.env.HF_HUB_OFFLINE ??= '1';

/** Ids of the guide, each with a tiny model in its manner. */
const STAND_INS = {
  'BitNet-b1.58-2B-4T': 'bitnet-2b4t.I2_S.gguf',
  'bitnet_b1_58-large': 'bitnet158-legacy.I2_S.gguf',
  'bitnet_b1_58-3B': 'bitnet158-legacy.I2_S.gguf',
  'Llama3-8B-1.58-100B-tokens': 'llama3-158.I2_S.gguf',
  'bitnet-embedding-0.6b': 'qwen3-embed.I2_S.gguf',
};

/** A folder that is removed when the test file ends. */
export function temporaryFolder() {
  const folder = realpathSync(mkdtempSync(path.join(tmpdir(), 'llm-runner-')));
  after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Puts models where the guide has them. */
export function guideModels(project) {
  for (const [name, file] of Object.entries(STAND_INS)) {
    const folder = path.join(project, 'temp', 'bitnet-repo', 'models', name);
    mkdirSync(folder, { recursive: true });
    cpSync(path.join(ORACLE, 'gguf', file), path.join(folder, 'ggml-model-i2_s.gguf'));
  }
}

/** A project of a user: the package installed, and the models where the guide puts them. Returns its folder. */
export function guideProject() {
  const project = temporaryFolder();
  mkdirSync(path.join(project, 'node_modules'));
  symlinkSync(ROOT, path.join(project, 'node_modules', 'llm-runner-router'), 'junction');
  guideModels(project);
  return project;
}

/** The demo model in a router of its own, unloaded when the test file ends. */
export async function loadDemo(options) {
  const router = new LLMRouter();
  after(() => router.cleanup());
  const model = await router.load('demo', { threads: 1, ...options });
  return { router, model };
}

/** All pieces of a stream. */
export async function collect(stream) {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return pieces;
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits for a condition, a minute at most. */
export async function until(condition) {
  const deadline = Date.now() + 60_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`this did not come true: ${condition}`);
    await sleep(20);
  }
}

/** Milliseconds of processor time that this process takes while `ms` go by. */
export async function processorTime(ms) {
  const before = process.cpuUsage();
  await sleep(ms);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

/** A generation that does not end by itself. */
export const ENDLESS = { maxTokens: 1_000_000, ignoreEos: true, contextOverflow: 'shift' };
