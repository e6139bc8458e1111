// The form of an answer: what callers give, in the words of several libraries, as the engine and the wire take it.
import { ModelError } from './errors.js';
import { show } from './show.js';

const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);

const refuse = (given, allowed) =>
  new ModelError(`Invalid option responseFormat: ${show(given)} was given, ${allowed} is allowed`, 'INVALID_ARGUMENT', {
    option: 'responseFormat', given, allowed,
  });

/** A JSON schema: as it is, or made by an object that can (zod and others have toJSONSchema()). */
function schemaOf(given, schema) {
  const made = typeof schema?.toJSONSchema === 'function' ? schema.toJSONSchema() : schema;
  if (isObject(made) || made === true) return { type: 'json_schema', schema: made };
  throw refuse(given, 'a JSON schema under schema');
}

/** The source of a regular expression that is to match the whole answer. */
function patternOf(given, pattern) {
  if (pattern instanceof RegExp && /[^du]/.test(pattern.flags)) throw refuse(given, 'a pattern without flags');
  const source = pattern instanceof RegExp ? pattern.source : pattern;
  if (typeof source !== 'string' || source === '') throw refuse(given, 'a regular expression under pattern');
  // It matches from beginning to end anyway, and the engine knows no anchors.
  return { type: 'regex', pattern: source.replace(/^\^/, '').replace(/(?<!\\)((?:\\\\)*)\$$/, '$1') };
}

/**
 * What a caller gives, in one form: ours, OpenAI's (`json_schema.schema`), the AI SDK's (`json`) or Ollama's (`'json'`, or a bare schema).
 * @returns {{ type: 'json_object' } | { type: 'json_schema', schema: object | true, name?: string } | { type: 'regex', pattern: string }
 *   | { type: 'grammar', grammar: string } | undefined} undefined: any text
 */
export function readResponseFormat(given) {
  if (given === undefined || given === 'text') return undefined;
  if (given === 'json' || given === 'json_object') return { type: 'json_object' };
  if (!isObject(given)) throw refuse(given, '{ type, ... }');
  switch (given.type) {
    case 'text': return undefined;
    case 'json_object': return { type: 'json_object' };
    case 'json': return given.schema === undefined ? { type: 'json_object' } : schemaOf(given, given.schema);
    case 'json_schema': {
      const { name } = given.json_schema ?? given;
      return { ...schemaOf(given, given.json_schema?.schema ?? given.schema), ...(name === undefined ? {} : { name }) };
    }
    case 'regex': return patternOf(given, given.pattern);
    case 'grammar':
      if (typeof given.grammar === 'string' && given.grammar !== '') return { type: 'grammar', grammar: given.grammar };
      throw refuse(given, 'a grammar in the syntax of Lark under grammar');
    default:
      if (given.properties || given.$ref || typeof given.toJSONSchema === 'function') return schemaOf(given, given);
      throw refuse(given, 'a type of json_schema, json_object, regex, grammar or text');
  }
}

/** Formats that an OpenAI-compatible endpoint has a word for, as it says them; undefined for others. */
export function wireFormat(format) {
  if (format?.type === 'json_object') return { type: 'json_object' };
  if (format?.type !== 'json_schema') return undefined;
  return { type: 'json_schema', json_schema: { name: format.name ?? 'answer', schema: format.schema, strict: true } };
}

/** The value of an answer that is JSON; undefined where it is none, or was cut off. */
export function parsedAnswer(format, text) {
  if (!format?.type.startsWith('json')) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // cut off, as finishReason says
  }
}
