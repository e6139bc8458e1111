// The web worker of one model: fetches its files, runs the engine's module, and answers requests. It computes a round at a time and
// looks at its messages in between, so that a call can be stopped within one token.
import { templateStyle } from '../tools.js';
import { engineFile } from './engine-file.js';
import { modelFiles } from './files.js';
import { Wasi } from './wasi.js';

/** In the order of the engine's phases. */
const PHASES = ['open', 'weights', 'tokenizer', 'ready'];

let engine;
let computing = false;
/** generation -> { id } of the one who waits for its next event */
const waiting = new Map();
/** task -> id of the one who waits for its result */
const tasks = new Map();

const reply = (id, ok, transfer = []) => postMessage({ id, ok }, transfer);
const fail = (id, { code = 'INTERNAL', message }) => postMessage({ id, error: { code, message } });

/** The instance of the module and what crosses its border. */
class Engine {
  #exports;
  #encoder = new TextEncoder();
  #decoder = new TextDecoder();

  static async start(files, progress) {
    const wasi = new Wasi('/model', files, (line) => console.error(line));
    const host = { report_progress: (phase, loadedBytes, totalBytes) => progress({ phase: PHASES[phase], loadedBytes, totalBytes }) };
    const { body } = await fetch(new URL(await engineFile(), import.meta.url));
    const module = await new Response(body.pipeThrough(new DecompressionStream('gzip'))).arrayBuffer();
    const { instance } = await WebAssembly.instantiate(module, { wasi_snapshot_preview1: wasi.imports, host });
    wasi.memory = instance.exports.memory;
    instance.exports._initialize();
    return new Engine(instance.exports);
  }

  constructor(exports) {
    this.#exports = exports;
  }

  /** Asks the module; throws `{ code, message }`. */
  ask(request) {
    const { memory, request_buffer: room, handle, answer_pointer: answerAt, answer_floats: floatsAt } = this.#exports;
    const bytes = this.#encoder.encode(JSON.stringify(request));
    const pointer = room(bytes.length);
    new Uint8Array(memory.buffer, pointer, bytes.length).set(bytes);
    const length = handle();
    const { ok, error } = JSON.parse(this.#decoder.decode(new Uint8Array(memory.buffer, answerAt(), length)));
    if (error) throw error;
    if (ok?.floats !== undefined) ok.floats = new Float32Array(memory.buffer, floatsAt(), ok.floats).slice();
    return ok;
  }

  step() {
    return this.#exports.step() === 1;
  }
}

const channel = new MessageChannel();
/** Lets messages in; a timer would wait for milliseconds. */
const turn = () => new Promise((resolve) => {
  channel.port1.onmessage = resolve;
  channel.port2.postMessage(null);
});

/** Hands out what the last round has brought. */
function deliver() {
  for (const [generation, id] of waiting) {
    settle(id, () => engine.ask({ op: 'next', generation }), () => waiting.delete(generation));
  }
  for (const [task, id] of tasks) settle(id, () => engine.ask({ op: 'result', task }), () => tasks.delete(task));
}

function settle(id, ask, done) {
  try {
    const ok = ask();
    if (ok?.pending) return;
    done();
    // The end of an answer says what the caches take by now.
    if (ok?.done) ok.memory = engine.ask({ op: 'info' }).memory;
    reply(id, ok, ok?.floats ? [ok.floats.buffer] : []);
  } catch (error) {
    done();
    fail(id, error);
  }
}

async function compute() {
  if (computing) return;
  computing = true;
  try {
    for (let more = true; more; ) {
      more = engine.step();
      deliver();
      if (more) await turn();
    }
  } finally {
    computing = false;
  }
}

async function load(id, { source, offline, engineOptions }) {
  const report = ({ url, loaded, total }) => postMessage({ id, progress: { phase: 'download', loadedBytes: loaded, totalBytes: total, file: { name: url, loadedBytes: loaded, totalBytes: total, waiting: false } } });
  const { files, path } = await modelFiles(source, { offline, report });
  engine = await Engine.start(files, (progress) => postMessage({ id, progress }));
  const info = engine.ask({ op: 'open', path, ...engineOptions });
  reply(id, { info, toolStyle: (info.hasChatTemplate && templateStyle(render)) || null });
}

/** What the chat template makes of messages and tools. */
function render(messages, tools) {
  const [chat, variables] = [JSON.stringify(messages), JSON.stringify({ tools })];
  return engine.ask({ op: 'applyChatTemplate', messages: chat, addGenerationPrompt: true, variables });
}

async function serve({ id, op, ...request }) {
  if (op === 'load') return load(id, request);
  if (op === 'next') waiting.set(request.generation, id);
  else if (['forward', 'perplexity', 'perplexityOf', 'embed'].includes(op)) {
    const task = engine.ask({ op, ...request });
    tasks.set(task, id);
    postMessage({ id, task });
  } else reply(id, engine.ask({ op, ...request }));
  return compute();
}

addEventListener('message', ({ data }) => {
  serve(data).catch((error) => {
    // A trap leaves the module in no state to go on; errors of ours have a code.
    if (error instanceof WebAssembly.RuntimeError || error instanceof RangeError || error?.name === 'ModuleExit') {
      postMessage({ dead: error.message });
    } else fail(data.id, error);
  });
});
