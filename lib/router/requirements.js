// What a call demands of the model that answers it, whatever the strategy: candidates without it are not considered.
import { ModelError } from '../errors.js';
import { nearest } from '../options.js';
import { show } from '../show.js';
import { supports } from './strategies.js';

/** No text has more characters to a token than this for long: a prompt above it certainly does not fit. */
const MOST_CHARACTERS_PER_TOKEN = 8;

const isNames = (value) => Array.isArray(value) && value.every((name) => typeof name === 'string');
const isFlags = (value) => value !== null && typeof value === 'object' && Object.values(value).every((flag) => typeof flag === 'boolean');
const isPositive = (value) => typeof value === 'number' && value > 0;

/** name -> [what is allowed, check]. */
const KNOWN = {
  capabilities: ['an array of names, or { name: true }', (value) => isNames(value) || isFlags(value)],
  maxSize: ['a number of parameters above 0', isPositive],
  minContext: ['a number of tokens above 0', isPositive],
  maxPrice: ['a price per million tokens, 0 or above', (value) => typeof value === 'number' && value >= 0],
  format: ['a format name', (value) => typeof value === 'string' && value !== ''],
  remote: ['true or false', (value) => typeof value === 'boolean'],
};

/** Checked requirements, `capabilities` as an array of names. */
export function readRequirements(given = {}) {
  for (const [name, value] of Object.entries(given)) {
    if (!(name in KNOWN)) {
      const near = nearest(name, Object.keys(KNOWN));
      throw new ModelError(
        `Unknown requirement "${name}"${near ? `: did you mean "${near}"?` : ''} Known: ${Object.keys(KNOWN).join(', ')}`,
        'INVALID_OPTION',
        { option: `requirements.${name}`, nearest: near, known: Object.keys(KNOWN) },
      );
    }
    const [allowed, check] = KNOWN[name];
    if (!check(value)) {
      throw new ModelError(`Invalid option requirements.${name}: ${show(value)} was given, ${allowed} is allowed`, 'INVALID_ARGUMENT', {
        option: `requirements.${name}`, given: value, allowed,
      });
    }
  }
  const { capabilities = [] } = given;
  return { ...given, capabilities: isNames(capabilities) ? capabilities : Object.keys(capabilities).filter((name) => capabilities[name]) };
}

/** Characters of a prompt: a text or messages. */
export function lengthOf(prompt) {
  if (typeof prompt === 'string') return prompt.length;
  return prompt.reduce((sum, { content }) => sum + (typeof content === 'string' ? content.length : 0), 0);
}

/**
 * Why a candidate cannot answer; undefined when it can.
 * @param {object} candidate
 * @param {{ requirements: object, characters: number }} request
 */
export function unfit(candidate, { requirements, characters }) {
  const { capabilities, maxSize, minContext, maxPrice, format, remote } = requirements;
  const missing = capabilities.filter((name) => !supports(candidate, name));
  if (missing.length > 0) return `lacks ${missing.join(', ')}`;
  if (maxSize !== undefined && candidate.parameters > maxSize) return `has ${candidate.parameters} parameters`;
  if (minContext !== undefined && candidate.contextSize < minContext) return `has a context of ${candidate.contextSize} tokens`;
  if (maxPrice !== undefined && Math.max(candidate.price.input, candidate.price.output) > maxPrice) return 'is too expensive';
  if (format !== undefined && candidate.format !== format) return `has format ${candidate.format}`;
  if (remote !== undefined && candidate.remote !== remote) return candidate.remote ? 'is remote' : 'is local';
  if (characters > candidate.contextSize * MOST_CHARACTERS_PER_TOKEN) return `has a context of only ${candidate.contextSize} tokens`;
  return undefined;
}
