// llm-router as it is typed: answers on stdout, talk on stderr, exit codes.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { assembler } from '../lib/cli/chat.js';
import { COMMANDS, loadCommand } from '../lib/cli/main.js';
import { bytes, duration, terminal } from '../lib/cli/terminal.js';
import { COMMIT, startHub } from './support/hub.js';
import { ORACLE, ROOT, temporaryFolder, until } from './support/models.js';
import { runNode } from './support/run.js';

const BIN = path.join(ROOT, 'bin', 'llm-router.js');
const ID = 'owner/tiny';
const home = temporaryFolder();
const cache = path.join(home, 'hub');
const hub = await startHub(path.join(ORACLE, 'models', 'bitnet-2b4t'));
/** What the commands see: the hub of this test, and folders of their own. */
const env = {
  HF_HOME: home, HF_ENDPOINT: hub.url, LLM_RUNNER_BITNET_PATH: path.join(home, 'bitnet'),
  XDG_CACHE_HOME: path.join(home, 'own'), HOME: home, LOCALAPPDATA: path.join(home, 'own'), HF_HUB_CACHE: '', HF_TOKEN: '', HF_HUB_OFFLINE: '', HTTP_PROXY: '', http_proxy: '', ALL_PROXY: '', all_proxy: '',
};

const cli = (args, options = {}) => runNode([BIN, ...args], { cwd: home, env: { ...env, ...options.env }, input: options.input });

test('the help names every command, and each has a help with examples and exit codes', async () => {
  const { code, stdout } = await cli(['--help']);
  assert.equal(code, 0);
  for (const name of Object.keys(COMMANDS)) {
    assert.match(stdout, new RegExp(`^  ${name} `, 'm'));
    const help = await cli([name, '--help']);
    assert.equal(help.code, 0, help.stderr);
    assert.match(help.stdout, new RegExp(`^llm-router ${name}.*Options:.*--help.*Examples:\n  .*Exit codes:.*69`, 's'));
    const { options, examples } = await loadCommand(name);
    for (const [flag, { about }] of Object.entries(options)) assert.ok(about.length > 5, `${name} --${flag}`);
    assert.ok(examples.length > 0);
    assert.equal((await cli(['help', name])).stdout, help.stdout);
  }
  assert.equal((await cli([])).code, 2);
});

test('--version is that of the package', async () => {
  const { stdout } = await cli(['--version']);
  assert.equal(stdout.trim(), JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')).version);
});

test('wrong commands and options end with 2 and say what is meant', async () => {
  for (const [args, message] of [
    [['pul'], /did you mean "pull"/],
    [['run', 'demo', '--temprature', '0', 'x'], /run has no option --temprature: did you mean --temperature\? llm-router run --help/],
    [['run', 'demo', '-Z', 'x'], /run has no option -Z\. llm-router run --help/],
    [['run'], /run needs MODEL \[PROMPT\]/],
    [['run', 'demo', 'a', 'b'], /Quote a text with spaces/],
    [['list', 'x'], /takes no arguments/],
    [['run', 'demo', 'x', '--nonsense'], /nonsense/],
    [['run', 'demo', 'x', '--max-tokens', 'many'], /--max-tokens takes a number/],
    [['convert', 'a.gguf', 'b.gguf', '--threads', 'many'], /--threads takes a number; "many"/],
    [['inspect', 'a.gguf', '--context', ' '], /--context takes a number/],
    [['doctor', '--threads', '257'], /--threads takes a whole number from 1 to 256; "257"/],
    [['perplexity', 'demo'], /--file FILE/],
    [['perplexity', 'demo', '--file', BIN, '--window', '1'], /--window takes a whole number from 2/],
    [['run', 'demo', 'x', '--max-tokens', '0'], /maxTokens/],
    [['run', 'demo', 'x', '--isa', 'z80'], /isa/],
    [['doctor', '--threads', '0'], /--threads/],
    [['rm', 'owner/none', '--json', '--yes', '--nope'], /nope/],
  ]) {
    const { code, stdout, stderr } = await cli(args);
    assert.equal(code, 2, `${args}: ${stderr}`);
    assert.match(stderr, message);
    assert.equal(stdout, '');
  }
});

test('pull fetches, list shows, run uses, rm removes', async () => {
  const pulled = await cli(['pull', ID]);
  assert.equal(pulled.code, 0, pulled.stderr);
  const snapshot = path.join(cache, 'models--owner--tiny', 'snapshots', COMMIT);
  assert.equal(pulled.stdout, `${snapshot}\n`);
  assert.match(pulled.stderr, /fetched and checked/);
  const again = await cli(['pull', `hf:${ID}`, '--json']);
  const { path: place, fetchedBytes, commit } = JSON.parse(again.stdout);
  assert.deepEqual([place, fetchedBytes, commit], [snapshot, 0, COMMIT]);

  mkdirSync(path.join(env.LLM_RUNNER_BITNET_PATH, 'models', 'mine'), { recursive: true });
  writeFileSync(path.join(env.LLM_RUNNER_BITNET_PATH, 'models', 'mine', 'm.gguf'), 'GGUF');
  const listed = JSON.parse((await cli(['list', '--json'])).stdout);
  const mine = listed.filter(({ path: where }) => where.startsWith(home));
  assert.deepEqual(mine.map(({ id, place: kind, complete }) => [id, kind, complete]), [['mine', 'folder', true], [ID, 'cache', true]]);
  assert.deepEqual([mine[1].commit, mine[1].files], [COMMIT, ['model.safetensors']]);
  assert.match((await cli(['list'])).stdout, new RegExp(`^MODEL .*\n(.*\n)*${ID} .*${COMMIT.slice(0, 12)}`));

  const asked = hub.requests.length;
  const ran = await cli(['run', ID, 'Hello', '-n', '5', '--temperature', '0', '--json']);
  assert.equal(ran.code, 0, ran.stderr);
  const result = JSON.parse(ran.stdout);
  assert.ok(result.tokens >= 1 && result.tokens <= 5);
  assert.equal(hub.requests.length, asked, 'nothing is fetched again');

  assert.equal((await cli(['run', ID, 'Hello', '-n', '1', '-t', 'tiles'])).code, 0);
  const isConverted = ({ place: kind }) => kind === 'converted';
  const [converted] = JSON.parse((await cli(['list', '--json'])).stdout).filter(isConverted);
  assert.match(converted.id, /\.tiles$/);
  assert.ok(converted.bytes > 1000 && converted.path.startsWith(home));
  assert.equal((await cli(['rm', converted.id, '--yes'])).code, 0);
  assert.ok(!existsSync(converted.path));

  const refused = await cli(['rm', ID]);
  assert.equal(refused.code, 2);
  assert.match(refused.stderr, /--yes/);
  assert.equal((await cli(['rm', 'mine', '--yes'])).code, 69);
  const removed = await cli(['rm', ID, '--yes']);
  assert.equal(removed.code, 0, removed.stderr);
  assert.match(removed.stderr, /are free again/);
  assert.ok(!existsSync(path.join(cache, 'models--owner--tiny')));
  const missing = await cli(['rm', ID, '--yes']);
  assert.equal(missing.code, 69);
  assert.match(missing.stderr, /there is: .*mine/);
});

test('Ctrl-C ends a pull with 130, and the next one goes on from there', async () => {
  hub.rate = 300_000;
  const before = hub.sent;
  const child = spawn(process.execPath, [BIN, 'pull', 'owner/slow'], { cwd: home, env: { ...process.env, ...env }, stdio: 'ignore' });
  await until(() => hub.sent - before > 200_000);
  child.kill('SIGINT');
  const [code] = await once(child, 'exit');
  hub.rate = undefined;
  assert.equal(code, 130);
  const { fetchedBytes, bytes: all } = JSON.parse((await cli(['pull', 'owner/slow', '--json'])).stdout);
  assert.ok(fetchedBytes > 0 && fetchedBytes < all, `${fetchedBytes} of ${all}`);
  assert.equal((await cli(['rm', 'owner/slow', '--yes', '--quiet'])).stderr, '');
});

test('a model that cannot be had ends with 69', async () => {
  const offline = await cli(['run', 'owner/nothing', 'x', '--offline']);
  assert.equal(offline.code, 69);
  assert.match(offline.stderr, /Model not found: owner\/nothing/);
  hub.fault = (request, response) => (response.writeHead(403, { 'X-Error-Code': 'GatedRepo' }).end(), true);
  const gated = await cli(['pull', 'owner/gated']);
  hub.fault = undefined;
  assert.equal(gated.code, 69);
  assert.match(gated.stderr, /ask for access/);
});

test('run answers on stdout alone, from an argument or from standard input', async () => {
  const options = ['--temperature', '0', '-n', '20'];
  const given = await cli(['run', 'demo', 'What is BitNet?', ...options]);
  assert.equal(given.code, 0, given.stderr);
  assert.match(given.stdout, /^BitNet is/);
  const piped = await cli(['run', 'demo', ...options, '--stats'], { input: 'What is BitNet?\n' });
  assert.equal(piped.stdout, given.stdout);
  assert.match(piped.stderr, /\[\d+ tokens, [\d.]+ tokens\/s; prompt: \d+ tokens/);
  const quiet = await cli(['run', 'demo', '-', ...options, '--stats', '--quiet'], { input: 'What is BitNet?' });
  assert.deepEqual([quiet.stdout, quiet.stderr], [given.stdout, '']);
  const { text } = JSON.parse((await cli(['run', 'demo', 'What is BitNet?', ...options, '--json'])).stdout);
  assert.equal(`${text}\n`, given.stdout);
});

test('the flags of run reach the engine', async () => {
  const json = async (...flags) => JSON.parse((await cli(['run', 'demo', 'Tell me something', '--json', '-n', '30', ...flags])).stdout);
  // So hot that every flag changes the text.
  const hot = ['--seed', '7', '--temperature', '3', '--top-k', '0', '--top-p', '1'];
  const plain = await json(...hot);
  assert.equal(plain.seed, 7);
  for (const flags of [['--top-k', '2'], ['--top-p', '0.2'], ['--min-p', '0.6'], ['--repetition-penalty', '4'], ['--system', 'You are a poet.'], ['--raw']]) {
    const { text } = await json(...hot, ...flags);
    assert.notEqual(text, plain.text, flags.join(' '));
  }
  const stopped = await json('--temperature', '0', '--stop', ' ');
  assert.ok(!stopped.text.includes(' '));
});

test('chat remembers, has commands, and takes texts of several lines', async () => {
  const file = path.join(home, 'chat.json');
  const lines = ['What is BitNet b1.58?', 'tell me more', '/history', '/undo', '/stats', '/retry', `/save ${file}`, '/clear', `/load ${file}`, '/system Be brief.', '/nonsense', '"""Hello,', 'you!"""', '/help', '/exit', 'never read'];
  const { code, stdout, stderr } = await cli(['chat', 'demo', '--temperature', '0', '-n', '30'], { input: `${lines.join('\n')}\n` });
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^BitNet/);
  for (const part of ['user: tell me more', 'The last question is forgotten', 'Tokens and speed are shown', '[', 'Saved 2 messages', '2 messages are back', 'There is no /nonsense', '/retry']) {
    assert.ok(stderr.includes(part), `${part} is missing in ${stderr}`);
  }
  const saved = JSON.parse(readFileSync(file, 'utf8'));
  assert.deepEqual(saved.messages.map(({ role }) => role), ['user', 'assistant']);
  assert.equal(saved.messages[0].content, 'What is BitNet b1.58?');
});

test('Ctrl-C stops the answer and not the chat', async () => {
  const source = `
    import { main } from ${JSON.stringify(path.join(ROOT, 'lib', 'cli', 'main.js'))};
    import { BitNetLoader } from ${JSON.stringify(path.join(ROOT, 'index.js'))};
    const load = BitNetLoader.prototype.load;
    // Answers without an end.
    BitNetLoader.prototype.load = async function (...args) {
      const model = await load.apply(this, args);
      const { stream } = model;
      model.stream = (prompt, options) => stream.call(model, prompt, { ...options, maxTokens: 1e6, ignoreEos: true, contextOverflow: 'shift' });
      return model;
    };
    process.exitCode = await main(['chat', 'demo']);`;
  const chat = spawn(process.execPath, ['--input-type=module', '--eval', source], { cwd: home, env: { ...process.env, ...env } });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr']) chat[name].setEncoding('utf8').on('data', (text) => (output[name] += text));
  chat.stdin.write('What is BitNet?\n');
  await until(() => output.stdout.length > 50);
  chat.kill('SIGINT');
  await until(() => output.stderr.includes('[stopped]'));
  chat.stdin.write('/history\n/exit\n');
  const [code] = await once(chat, 'exit');
  assert.equal(code, 0, output.stderr);
  assert.match(output.stderr, /assistant: BitNet/);
});

test('lines are put together to texts', async () => {
  const texts = [];
  const add = assembler(async (text) => void texts.push(text));
  for (const line of ['one', '', 'two \\', 'lines', '"""', 'a', '', 'b', '"""', '"""single"""', '"""x', 'y"""']) await add(line);
  assert.deepEqual(texts, ['one', 'two \nlines', 'a\n\nb', 'single', 'x\ny']);
});

test('doctor tells what the machine is and what to expect, and ends with 1 when something is wrong', async () => {
  const { code, stdout } = await cli(['doctor', '--json', '--threads', '1']);
  const report = JSON.parse(stdout);
  assert.equal(code, 0, report.problems.join());
  assert.ok(report.engine.available && report.cpu.logical >= 1 && report.memory.totalBytes > 0 && report.cache.freeBytes > 0);
  assert.equal(report.cache.path, cache);
  assert.equal(report.hub.endpoint, hub.url);
  assert.equal(report.expected.length, 8);
  if (report.engine.limits) for (const { tokensPerSecond } of report.expected) assert.ok(tokensPerSecond > 0);
  const text = await cli(['doctor', '--threads', '1']);
  assert.match(text.stdout, /Processor.*\n(.*\n)*.*To be expected here.*\n.*microsoft\/BitNet-b1\.58-2B-4T/);

  const blobs = path.join(cache, 'models--owner--half', 'blobs');
  mkdirSync(blobs, { recursive: true });
  writeFileSync(path.join(blobs, 'abc.incomplete'), 'x');
  const half = await cli(['doctor', '--threads', '1']);
  assert.equal(half.code, 1);
  assert.match(half.stdout, /Problem: owner\/half is not complete: `llm-router pull owner\/half`/);
});

test('setup fetches the model that is named and lets it answer', async () => {
  const { code, stdout, stderr } = await runNode([path.join(ROOT, 'scripts', 'setup-bitnet.js'), '--model', ID, '--quant-type', 'i2_s', '--yes'], { cwd: home, env, timeout: 600_000 });
  assert.equal(code, 0, stderr);
  for (const part of ['CMake, Python and Clang are not needed', `Fetching ${ID}`, 'fetched and checked', 'Loaded tiny', 'BitNet setup complete', `npx llm-router chat ${ID}`]) {
    assert.ok(stderr.includes(part), `${part} is missing in ${stderr}`);
  }
  assert.ok(stdout.trim().length > 0);
  const script = await runNode([path.join(ROOT, 'temp', 'test-bitnet.mjs')], { cwd: home, env });
  assert.equal(script.code, 0, script.stderr);
  assert.ok(script.stdout.trim().length > 0, 'the script that setup writes asks the model');
  const failed = await cli(['setup', '--model', 'owner/tiny', '--quant-type', 'q4_0']);
  assert.equal(failed.code, 1);
  assert.match(failed.stderr, /no weights of the type q4_0/);
});

test('the bar is for terminals, colours are where they are wanted', () => {
  const written = [];
  const stderr = { isTTY: true, columns: 100, write: (text) => written.push(text) };
  const report = { phase: 'download', loadedBytes: 5e8, totalBytes: 1e9, file: { name: 'model.safetensors', waiting: false } };
  terminal({ stderr }).progress(report);
  assert.match(written.join(''), /█{12}░{12} {2}50% {2}500 MB of 1\.0 GB/);
  assert.ok(written.join('').length < 110);
  written.length = 0;
  terminal({ stderr: { ...stderr, isTTY: false } }).progress(report);
  terminal({ stderr, quiet: true }).progress(report);
  assert.deepEqual(written, []);
  const stdout = { isTTY: true };
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env;
  try {
    for (const name of ['NO_COLOR', 'FORCE_COLOR', 'TERM']) delete process.env[name];
    assert.equal(terminal({ stdout }).paint('red', 'x'), '\x1b[31mx\x1b[0m');
    assert.equal(terminal({ stdout, color: false }).paint('red', 'x'), 'x');
    assert.equal(terminal({ stdout: {} }).paint('red', 'x'), 'x');
    process.env.NO_COLOR = '1';
    assert.equal(terminal({ stdout }).paint('red', 'x'), 'x');
  } finally {
    for (const [name, value] of Object.entries({ NO_COLOR, FORCE_COLOR, TERM })) if (value === undefined) delete process.env[name]; else process.env[name] = value;
  }
});

test('sizes and times are short', () => {
  assert.deepEqual([0, 999, 1000, 1_234_567, 99_960_000, 1.5e12].map(bytes), ['0 B', '999 B', '1.0 kB', '1.2 MB', '100 MB', '1.5 TB']);
  assert.deepEqual([9, 65, 3700].map(duration), ['9 s', '1 min 5 s', '1 h 1 min']);
});

test('bench measures reading, writing and answers side by side', async () => {
  const { code, stdout, stderr } = await cli(['bench', 'demo', '-p', '40', '-n', '8', '-s', '2', '-r', '1', '--json', '-q']);
  assert.equal(code, 0, stderr);
  const { model, measured, streams } = JSON.parse(stdout);
  assert.deepEqual([model.name, streams], ['demo', 2]);
  for (const name of ['promptTokensPerSecond', 'ttftMs', 'tokensPerSecond', 'streamedTokensPerSecond']) assert.ok(measured[name] > 0, name);
  assert.match((await cli(['bench', 'demo', '-p', '20', '-n', '4', '-s', '1', '-r', '1'])).stdout, /writing 4 tokens .* tokens\/s\n/);
  for (const args of [['-n', '0'], ['-p', 'x'], ['-p', '100000']]) assert.equal((await cli(['bench', 'demo', ...args])).code, 2, args.join(' '));
});

test('completions know every command and option, in scripts that their shell can read', async () => {
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { stdout } = await cli(['completions', shell]);
    for (const name of Object.keys(COMMANDS)) assert.ok(stdout.includes(name), `${shell} ${name}`);
    assert.ok(stdout.includes('repetition-penalty') && stdout.includes('context-size'), shell);
  }
  const script = path.join(home, 'completions.bash');
  writeFileSync(script, (await cli(['completions', 'bash'])).stdout);
  const ask = (...words) => spawnSync('bash', ['-c', `. "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _llm_router; echo "\${COMPREPLY[@]}"`, script, 'llm-router', ...words], { encoding: 'utf8' });
  const first = ask('be');
  if (!first.error) {
    assert.equal(first.stdout.trim(), 'bench', first.stderr);
    assert.equal(ask('run', '--top').stdout.trim(), '--top-k --top-p');
  }
  assert.equal((await cli(['completions', 'csh'])).code, 2);
});
