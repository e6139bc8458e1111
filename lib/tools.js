// Functions that a model may call: how they are shown to it, how a call is forced, and how its calls are read.
//
// Models with a chat template for tools get them through it. All others are told in a system message, in the words below; what they
// answer has the same form.
import { randomBytes } from 'node:crypto';
import { ModelError } from './errors.js';
import { show } from './show.js';

const OPEN = '<tool_call>';
const CLOSE = '</tool_call>';

/** White space in forced arguments: as JSON has it, but never endless. */
const JSON_SPACE = '[\\x20\\x0A\\x0D\\x09]{1,40}';

const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);

const refuse = (option, given, allowed) =>
  new ModelError(`Invalid option ${option}: ${show(given)} was given, ${allowed} is allowed`, 'INVALID_ARGUMENT', { option, given, allowed });

/** One tool: `{ type: 'function', function: { name, description, parameters }, execute? }`, or the inner object alone. */
function readTool(given) {
  const { name, description, parameters, execute: inner } = given?.function ?? given ?? {};
  const execute = given?.execute ?? inner;
  const valid = /^[\w.-]{1,64}$/.test(name ?? '') && ['string', 'undefined'].includes(typeof description)
    && ['function', 'undefined'].includes(typeof execute) && (parameters === undefined || isObject(parameters)) && [undefined, 'function'].includes(given.type);
  if (!valid) throw refuse('tools', given, '{ type: "function", function: { name, description, parameters } }, with a name of letters, digits, _, . and -,');
  const schema = typeof parameters?.toJSONSchema === 'function' ? parameters.toJSONSchema() : (parameters ?? { type: 'object', properties: {} });
  const definition = { name, ...(description === undefined ? {} : { description }), parameters: schema };
  return { name, schema, execute, wire: { type: 'function', function: definition } };
}

/**
 * The tools of a call, checked.
 * @returns {{ list: object[], forced: object[] } | undefined} `forced`: those one of which must be called; undefined: no tools
 */
export function readTools({ tools, toolChoice = 'auto' }) {
  if (tools === undefined || tools.length === 0) {
    if (toolChoice !== 'auto' && toolChoice !== 'none') throw refuse('toolChoice', toolChoice, 'no toolChoice without tools');
    return undefined;
  }
  const list = tools.map(readTool);
  const twice = list.find(({ name }, i) => list.findIndex((other) => other.name === name) !== i);
  if (twice) throw refuse('tools', twice.name, 'each name once');
  if (toolChoice === 'none') return undefined;
  if (toolChoice === 'auto') return { list, forced: [] };
  if (toolChoice === 'required') return { list, forced: list };
  const wanted = toolChoice?.function?.name ?? toolChoice?.name ?? (typeof toolChoice === 'string' ? toolChoice : undefined);
  const tool = list.find(({ name }) => name === wanted);
  if (!tool) throw refuse('toolChoice', toolChoice, `"auto", "none", "required" or the name of a tool (${list.map(({ name }) => name).join(', ')})`);
  return { list, forced: [tool] };
}

/** How a chat template shows tools, from what it makes of one: undefined where it ignores them. */
export function templateStyle(render) {
  const probe = { type: 'function', function: { name: 'probe_of_tools', description: 'A probe', parameters: { type: 'object', properties: {} } } };
  let shown;
  try {
    shown = render([{ role: 'user', content: 'Hello' }], [probe]);
  } catch {
    return undefined; // a template that cannot take them
  }
  if (!shown.includes(probe.function.name)) return undefined;
  return { open: shown.includes(OPEN) ? `${OPEN}\n` : '', close: shown.includes(CLOSE) ? `\n${CLOSE}` : '', key: /"parameters": dictionary/.test(shown) ? 'parameters' : 'arguments' };
}

/** The form in which models without a template for tools are asked to call. */
export const PLAIN_STYLE = { open: `${OPEN}\n`, close: `\n${CLOSE}`, key: 'arguments' };

const instructions = (list) =>
  [
    'You can call these functions, each described by JSON:',
    ...list.map(({ wire }) => JSON.stringify(wire.function)),
    'To call one, answer with its name and arguments as JSON between these tags, and with nothing else:',
    `${OPEN}\n{"name": "the name", "arguments": {}}\n${CLOSE}`,
    'Its result comes back to you. Where no function helps, answer as usual.',
  ].join('\n');

/** Arguments of a call, as an object where they are one. */
function argumentsOf(given) {
  if (typeof given !== 'string') return given ?? {};
  try {
    return JSON.parse(given);
  } catch {
    return given;
  }
}

const written = ({ function: { name, arguments: given } }) => `${OPEN}\n${JSON.stringify({ name, arguments: argumentsOf(given) })}\n${CLOSE}`;

/** Messages for a template that knows neither tools nor calls nor results: all of it as text. */
export function plainMessages(messages, list) {
  const turns = messages.map((message) => {
    if (message.role === 'tool') return { role: 'user', content: `<tool_response>\n${message.content}\n</tool_response>` };
    if (!message.tool_calls) return message;
    return { role: message.role, content: [message.content, ...message.tool_calls.map(written)].filter(Boolean).join('\n') };
  });
  const [first, ...rest] = turns;
  if (first?.role === 'system') return [{ role: 'system', content: `${first.content}\n\n${instructions(list)}` }, ...rest];
  return [{ role: 'system', content: instructions(list) }, ...turns];
}

/** Messages for a template that knows tools: arguments of calls as objects, as templates want them. */
export function templateMessages(messages) {
  const asObjects = (call) => ({ ...call, function: { ...call.function, arguments: argumentsOf(call.function?.arguments) } });
  return messages.map((message) => (Array.isArray(message.tool_calls) ? { ...message, tool_calls: message.tool_calls.map(asObjects) } : message));
}

/** The grammar of a call to one of `tools`: each one's arguments by its own schema. */
export function callGrammar(tools, { open, close, key }) {
  const text = (value) => (value === '' ? '' : `${JSON.stringify(value)} `);
  const rules = tools.flatMap(({ name, schema }, i) => {
    if ('x-guidance' in schema) throw refuse('tools', schema, 'a schema without x-guidance');
    return [
      `call${i}: ${JSON.stringify(`{"name": ${JSON.stringify(name)}, "${key}": `)} arguments${i} "}"`,
      `arguments${i}: %json ${JSON.stringify({ ...schema, 'x-guidance': { whitespace_pattern: JSON_SPACE } })}`,
    ];
  });
  return [`start: ${text(open)}(${tools.map((_, i) => `call${i}`).join(' | ')}) ${text(close)}`.trim(), ...rules].join('\n');
}

function tryParse(json) {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

/** A call as results and messages have it. */
export const toolCall = (name, given, id = `call_${randomBytes(6).toString('hex')}`) => ({ id, type: 'function', function: { name, arguments: given } });

/** The call that a value of JSON is; undefined where it names no tool of the list. `absent`: what missing arguments are. */
function callOf(value, list, absent) {
  if (!isObject(value) || !list.some(({ name }) => name === value.name)) return undefined;
  const given = value.arguments ?? value.parameters ?? absent;
  return isObject(given) ? toolCall(value.name, given) : undefined;
}

/**
 * The calls in an answer and the text beside them. What looks like a call and is none, by its JSON or its name, stays text.
 * @param {string} answer
 * @param {{ name: string }[]} list
 * @returns {{ text: string, toolCalls: object[] }}
 */
export function readCalls(answer, list) {
  const toolCalls = [];
  const text = answer.replace(/<tool_call>([^]*?)(?:<\/tool_call>|$)/g, (whole, body) => {
    const call = callOf(tryParse(body.trim()), list, {});
    if (call) toolCalls.push(call);
    return call ? '' : whole;
  });
  if (toolCalls.length > 0) return { text: text.trim(), toolCalls };
  // Some templates ask for the bare JSON.
  const value = tryParse(answer.trim());
  const bare = [value].flat().map((one) => callOf(one, list));
  return bare.length > 0 && bare.every(Boolean) ? { text: '', toolCalls: bare } : { text: answer, toolCalls: [] };
}
