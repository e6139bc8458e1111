// llm-router COMMAND: finds the command, reads its arguments, runs it, and turns errors into exit codes.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { nearest } from '../options.js';
import { PACKAGE_ROOT } from '../paths.js';
import { UsageError } from './arguments.js';
import { EXIT, exitCodeOf } from './exit-codes.js';
import { commandHelp, overview } from './help.js';
import { terminal } from './terminal.js';

/** name -> one line for the overview; the module of that name has the rest. */
export const COMMANDS = {
  run: 'answer one prompt',
  chat: 'talk with a model',
  pull: 'fetch a model, or what is new of it',
  list: 'models that are on this machine',
  rm: 'remove models from the cache',
  convert: 'a model file becomes another one',
  inspect: 'what a model file holds',
  quantize: 'full-precision weights become ternary ones',
  verify: 'whether two model files are the same model',
  perplexity: 'how well a model predicts a text',
  bench: 'how fast a model reads and writes here',
  doctor: 'what this machine can do, and what is wrong with it',
  setup: 'fetch a model and try it',
  completions: 'teach a shell these commands',
};

/** Options that every command takes. */
const COMMON = {
  help: { type: 'boolean', short: 'h', about: 'this text' },
  quiet: { type: 'boolean', short: 'q', about: 'only answers and errors' },
  'no-color': { type: 'boolean', about: 'no colours, as with NO_COLOR' },
};

export const loadCommand = async (name) => {
  const command = await import(`./${name}.js`);
  return { ...command, name, options: { ...command.options, ...COMMON } };
};

function read(command, args) {
  const options = Object.fromEntries(Object.entries(command.options).map(([name, { type, short, multiple, default: value }]) =>
    [name, { type, ...(short && { short }), ...(multiple && { multiple }), ...(value !== undefined && { default: value }) }]));
  const { values, positionals } = parse(args, options, command);
  if (values.help) return { values, positionals };
  const { least = 0, most = least } = command.operands ?? {};
  if (positionals.length < least) throw new UsageError(`${command.name} needs ${command.usage}`);
  if (positionals.length > most) throw new UsageError(`${command.name} takes ${most === 0 ? 'no arguments' : command.usage}; what is "${positionals[most]}"? Quote a text with spaces`);
  return { values, positionals };
}

/** What Node's parser reads; of an option that is none it says how to give an argument of that name, which nobody wants. */
function parse(args, options, command) {
  try {
    return parseArgs({ args, options, allowPositionals: true });
  } catch (error) {
    const [, given] = (error.code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION' && /'(-[^']*)'/.exec(error.message)) || [];
    if (given === undefined) throw error;
    const near = nearest(given.replace(/^-+/, ''), Object.keys(options));
    throw new UsageError(`${command.name} has no option ${given}${near ? `: did you mean --${near}?` : '.'} llm-router ${command.name} --help lists them`);
  }
}

const version = () => JSON.parse(readFileSync(path.join(PACKAGE_ROOT, 'package.json'), 'utf8')).version;

/**
 * @param {string[]} args without `node` and the script
 * @returns {Promise<number>} the exit code
 */
export async function main([name, ...args]) {
  const out = terminal({ color: !args.includes('--no-color'), quiet: args.includes('--quiet') || args.includes('-q') });
  if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
    out.print(args[0] in COMMANDS ? commandHelp(await loadCommand(args[0])) : overview(COMMANDS));
    return name === undefined ? EXIT.usage : EXIT.ok;
  }
  if (name === '--version' || name === '-v') {
    out.print(version());
    return EXIT.ok;
  }
  try {
    if (!Object.hasOwn(COMMANDS, name)) {
      const near = nearest(name, Object.keys(COMMANDS));
      throw new UsageError(`There is no command "${name}"${near ? `: did you mean "${near}"?` : '.'} llm-router --help lists them`);
    }
    const command = await loadCommand(name);
    const { values, positionals } = read(command, args);
    if (values.help) {
      out.print(commandHelp(command));
      return EXIT.ok;
    }
    return (await command.run({ values, positionals, out })) ?? EXIT.ok;
  } catch (error) {
    out.endProgress();
    const code = exitCodeOf(error);
    if (code === EXIT.interrupted) out.say('Interrupted');
    else out.fail(error);
    return code;
  }
}
