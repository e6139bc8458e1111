// The help texts, made of what the commands say about themselves.
import { EXIT_MEANINGS } from './exit-codes.js';

const columns = (rows) => {
  const width = Math.max(...rows.map(([left]) => left.length)) + 3;
  return rows.map(([left, right]) => `  ${left.padEnd(width)}${right}`).join('\n');
};

const exitCodes = () => `Exit codes:\n${columns(Object.entries(EXIT_MEANINGS))}`;

/** What `llm-router --help` prints. */
export function overview(commands) {
  return `Runs language models on this machine's processor.

llm-router COMMAND [options]

${columns(Object.entries(commands))}

llm-router COMMAND --help tells more. A model is a file, a folder, a Hugging Face id (owner/name) or \`demo\`.

Examples:
  llm-router run demo "What is BitNet?"
  llm-router chat microsoft/BitNet-b1.58-2B-4T
  llm-router doctor

${exitCodes()}`;
}

/** What `llm-router COMMAND --help` prints. */
export function commandHelp({ name, usage, about, options, examples }) {
  const flag = ([option, { short, value }]) => `${short ? `-${short}, ` : ''}--${option}${value ? ` ${value}` : ''}`;
  const rows = Object.entries(options).map(([option, row]) => [flag([option, row]), row.about]);
  return `llm-router ${[name, usage].filter(Boolean).join(' ')} [options]

${about}

Options:
${columns(rows)}

Examples:
${examples.map((example) => `  ${example}`).join('\n')}

${exitCodes()}`;
}
