// llm-router completions: scripts that teach a shell the commands and their options, made of the same tables as the help.
import { UsageError } from './arguments.js';
import { EXIT } from './exit-codes.js';

export const usage = 'SHELL';
export const about = 'Prints a completion script for bash, zsh or fish.';
export const operands = { least: 1 };
export const options = {};
export const examples = [
  'llm-router completions bash > ~/.local/share/bash-completion/completions/llm-router',
  'llm-router completions zsh > "${fpath[1]}/_llm-router"',
  'llm-router completions fish > ~/.config/fish/completions/llm-router.fish',
];

const flagsOf = ({ options: rows }) => Object.entries(rows).flatMap(([name, { short }]) => [`--${name}`, ...(short ? [`-${short}`] : [])]);
/** Within single quotes of a shell. */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

const bash = (commands) => `_llm_router() {
  local word="\${COMP_WORDS[$COMP_CWORD]}"
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${commands.map(({ name }) => name).join(' ')} help --help --version" -- "$word"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
${commands.map((command) => `    ${command.name}) COMPREPLY=($(compgen -W "${flagsOf(command).join(' ')}" -f -- "$word")) ;;`).join('\n')}
  esac
}
complete -o filenames -F _llm_router llm-router llm-runner-router`;

const zsh = (commands) => `#compdef llm-router llm-runner-router
local -a commands=(
${commands.map(({ name, line }) => `  ${quoted(`${name}:${line}`)}`).join('\n')}
)
if (( CURRENT == 2 )); then
  _describe command commands
  return
fi
case "$words[2]" in
${commands.map((command) => `  ${command.name}) _arguments ${Object.entries(command.options).map(([name, { about: text, value }]) => quoted(`--${name}[${text.replace(/[[\]:]/g, ' ')}]${value ? `:${value}:_files` : ''}`)).join(' ')} '*:file:_files' ;;`).join('\n')}
esac`;

const fish = (commands) => ['llm-router', 'llm-runner-router'].flatMap((program) => [
  ...commands.map(({ name, line }) => `complete -c ${program} -n __fish_use_subcommand -f -a ${name} -d ${quoted(line)}`),
  ...commands.flatMap(({ name, options: rows }) => Object.entries(rows).map(([flag, { short, about: text, value }]) =>
    `complete -c ${program} -n '__fish_seen_subcommand_from ${name}' -l ${flag}${short ? ` -s ${short}` : ''}${value ? ' -r' : ''} -d ${quoted(text)}`)),
]).join('\n');

const SHELLS = { bash, zsh, fish };

export async function run({ positionals: [shell], out }) {
  const { COMMANDS, loadCommand } = await import('./main.js');
  const script = Object.hasOwn(SHELLS, shell) ? SHELLS[shell] : undefined;
  if (!script) throw new UsageError(`There are completions for ${Object.keys(SHELLS).join(', ')}; "${shell}" was given`);
  const commands = await Promise.all(Object.entries(COMMANDS).map(async ([name, line]) => ({ ...(await loadCommand(name)), line })));
  out.print(script(commands));
  return EXIT.ok;
}
