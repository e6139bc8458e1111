// From what a caller gives (text, messages, a system prompt, kept turns) to what the engine takes.
import { ModelError } from './errors.js';
import { isMessages } from './options.js';
import { show } from './show.js';
import { plainMessages, templateMessages } from './tools.js';

/** Stop strings of the plain transcript below: the model must not speak for the user. */
const TRANSCRIPT_STOP = ['\nUser:'];

/** Refuses what is neither text nor messages. */
export function checkPrompt(prompt) {
  if (typeof prompt === 'string' || isMessages(prompt)) return prompt;
  throw new ModelError(
    `The prompt must be a string or a non-empty array of { role, content } messages; ${show(prompt)} was given`,
    'INVALID_ARGUMENT',
    { option: 'prompt', given: prompt },
  );
}

const invalid = (name, value, allowed) =>
  new ModelError(`Invalid ${name}: ${show(value)} was given, ${allowed} is allowed`, 'INVALID_ARGUMENT', { option: name, given: value, allowed });

/** Any chat that a template may be asked to render: what it makes of it is its own affair. */
export function checkChat(messages) {
  if (Array.isArray(messages) && messages.every((message) => message !== null && typeof message === 'object')) return messages;
  throw invalid('messages', messages, 'an array of { role, content }');
}

export function checkText(text, name) {
  if (typeof text === 'string') return text;
  throw invalid(name, text, 'a string');
}

export function checkTexts(texts) {
  if (Array.isArray(texts) && texts.every((text) => typeof text === 'string')) return texts;
  throw invalid('texts', texts, 'an array of strings');
}

/** Token ids as an array; the native half would wrap what is no 32-bit number. */
export function checkIds(ids) {
  const array = ids?.[Symbol.iterator] && typeof ids !== 'string' ? Array.from(ids) : undefined;
  if (array?.every((id) => Number.isInteger(id) && id >= 0 && id < 2 ** 32)) return array;
  throw invalid('ids', ids, 'an array of token ids');
}

/** Messages and template variables cross the border as JSON. */
export function toJson(value, name) {
  try {
    return JSON.stringify(value);
  } catch (error) {
    throw new ModelError(`Invalid ${name}: ${error.message}`, 'INVALID_ARGUMENT', { option: name }, { cause: error });
  }
}

/** Puts the prompt in place of the first `{prompt}` of a template. A function keeps `$` in the prompt as it is. */
export function fillTemplate(template, prompt) {
  return template === undefined || typeof prompt !== 'string' ? prompt : template.replace('{prompt}', () => prompt);
}

/** What the option echo says before an answer. */
export function echoOf(asked, { echo, template }) {
  if (!echo) return '';
  if (typeof asked === 'string') return fillTemplate(template, asked);
  throw new ModelError('Option echo says a text again: it cannot be used with messages', 'INVALID_ARGUMENT', { option: 'echo' });
}

const textOf = (content) =>
  typeof content === 'string' ? content : Array.isArray(content) ? content.map((part) => part?.text ?? '').join('') : String(content);

/** A chat for a model without a chat template, in the form that base models have seen most. */
export function transcript(messages) {
  const names = { user: 'User', assistant: 'Assistant', system: 'System' };
  const lines = messages.map(({ role, content }) => `${names[role] ?? role}: ${textOf(content)}`);
  return `${lines.join('\n')}\nAssistant:`;
}

/**
 * The prompt of one request for the engine: `{ text, raw }` or `{ messages }` (JSON), with stop strings that it needs.
 * @param {string | object[]} prompt
 * @param {{ raw?: boolean, systemPrompt?: string, template?: string }} options
 * @param {object[] | null} turns kept turns of a conversation, or null where none are kept
 * @param {boolean} hasChatTemplate
 * @param {{ list: object[], style?: object }} [tools] `style`: how the chat template shows them, if it does
 */
export function enginePrompt(prompt, options, turns, hasChatTemplate, tools) {
  const filled = fillTemplate(options.template, prompt);
  const system = options.systemPrompt === undefined ? [] : [{ role: 'system', content: options.systemPrompt }];
  if (options.raw && tools) {
    throw new ModelError('Option raw completes a text: it cannot be used with tools', 'INVALID_ARGUMENT', { option: 'raw' });
  }
  if (typeof filled === 'string' && !tools) {
    if (options.raw) return { text: [...system.map((message) => message.content), filled].join('\n\n'), raw: true, stop: [] };
    if (turns === null && !hasChatTemplate) {
      return { text: [...system.map((message) => message.content), filled].join('\n\n'), raw: true, stop: [] };
    }
    if (turns === null && system.length === 0) return { text: filled, raw: false, stop: [] };
  } else if (options.raw) {
    throw new ModelError('Option raw completes a text: it cannot be used with messages', 'INVALID_ARGUMENT', { option: 'raw' });
  }
  const asked = typeof filled === 'string' ? [...(turns ?? []), { role: 'user', content: filled }] : filled;
  const messages = [...system, ...asked];
  if (tools?.style) {
    const variables = toJson({ tools: tools.list.map(({ wire }) => wire) }, 'tools');
    return { messages: toJson(templateMessages(messages), 'messages'), variables, stop: [] };
  }
  return chatPrompt(tools ? plainMessages(messages, tools.list) : messages, hasChatTemplate);
}

/** Messages for the chat template of the model, or as a transcript where it has none. */
function chatPrompt(messages, hasChatTemplate) {
  return hasChatTemplate ? { messages: toJson(messages, 'messages'), stop: [] } : { text: transcript(messages), raw: true, stop: TRANSCRIPT_STOP };
}
