// One answer out of the answers of several models. Pure functions of texts and weights.
import { ModelError } from './errors.js';
import { show } from './show.js';

/** Texts that differ in case, spacing or punctuation only are one answer. */
const normalize = (text) => text.toLowerCase().normalize('NFKC').replace(/[^\p{L}\p{N}]+/gu, ' ').trim();

/** How alike two texts are, 0 to 1: the share of words and pairs of words that both have (Dice coefficient over multisets). */
export function similarity(a, b) {
  const [left, right] = [termsOf(a), termsOf(b)];
  const total = sizeOf(left) + sizeOf(right);
  if (total === 0) return 1;
  let common = 0;
  for (const [term, count] of left) common += Math.min(count, right.get(term) ?? 0);
  return (2 * common) / total;
}

function termsOf(text) {
  const words = normalize(text).split(' ').filter(Boolean);
  const terms = new Map();
  words.forEach((word, i) => {
    for (const term of i > 0 ? [word, `${words[i - 1]} ${word}`] : [word]) terms.set(term, (terms.get(term) ?? 0) + 1);
  });
  return terms;
}

const sizeOf = (terms) => [...terms.values()].reduce((sum, count) => sum + count, 0);

/** The answer that most weight stands behind; between equals the heaviest model, then the first. */
function weightedVote(answers) {
  const weights = new Map();
  for (const { text, weight } of answers) weights.set(normalize(text), (weights.get(normalize(text)) ?? 0) + weight);
  return answers.map(({ text }) => weights.get(normalize(text)));
}

/** The answer most like the others, each counting by its weight. One answer alone agrees with itself. */
function consensus(answers) {
  return answers.map((one) => {
    const others = answers.filter((other) => other !== one);
    const weight = others.reduce((sum, other) => sum + other.weight, 0);
    return weight === 0 ? 1 : others.reduce((sum, other) => sum + other.weight * similarity(one.text, other.text), 0) / weight;
  });
}

/**
 * How probable its model held each answer: the mean log-probability of a byte of its text, so that models with other tokens compare,
 * plus the logarithm of the model's weight. An answer without log-probabilities has no chance.
 */
function likelihood(answers) {
  return answers.map(({ text, weight, logprobs }) => {
    if (!logprobs?.length) return -Infinity;
    const total = logprobs.reduce((sum, { logprob }) => sum + logprob, 0);
    return total / Math.max(1, new TextEncoder().encode(text).length) + Math.log(weight);
  });
}

/** How alike the others are to the answer at `index`, by weight. */
const agreementWith = (answers, index) => consensus(answers)[index];

/**
 * Chooses among answers.
 * @param {{ text: string, weight: number, logprobs?: { logprob: number }[] }[]} answers at least one
 * @param {'weighted-vote' | 'consensus' | 'best-logprob'} method
 * @returns {{ index: number, scores: number[], agreement: number }} `agreement`, 0 to 1: the share of the weight behind the chosen answer,
 *   or how much the others are like it
 */
export function combine(answers, method) {
  const score = { consensus, 'best-logprob': likelihood, 'weighted-vote': weightedVote }[method];
  const scores = score(answers);
  const best = Math.max(...scores);
  const index = answers.map((_, i) => i).filter((i) => scores[i] === best).reduce((a, b) => (answers[b].weight > answers[a].weight ? b : a));
  if (method !== 'weighted-vote') return { index, scores, agreement: method === 'consensus' ? best : agreementWith(answers, index) };
  const total = answers.reduce((sum, { weight }) => sum + weight, 0);
  return { index, scores, agreement: total > 0 ? best / total : 1 };
}

/** The members of an ensemble, checked: ids or models, each alone or as `{ model, weight }`. */
export function readMembers(members) {
  const refuse = () =>
    new ModelError(`ensemble() takes a non-empty array of models, or of { model, weight } with weights from 0; ${show(members)} was given`, 'INVALID_ARGUMENT', {
      option: 'models', given: members,
    });
  if (!Array.isArray(members) || members.length === 0) throw refuse();
  return members.map((member) => {
    const { model = member, weight = 1 } = typeof member === 'object' && member !== null ? member : {};
    const named = typeof model === 'string' ? model !== '' : typeof model?.generate === 'function';
    if (!named || typeof weight !== 'number' || !(weight >= 0)) throw refuse();
    return { model, weight };
  });
}

/**
 * Asks all members side by side and combines what they answer. A member that fails has no vote.
 * @param {{ model: string | object, weight: number }[]} members
 * @param {(model: string | object) => Promise<object>} ask
 * @param {{ method: 'weighted-vote' | 'consensus', minAgreement: number }} how
 */
export async function runEnsemble(members, ask, { method, minAgreement }) {
  const settled = await Promise.allSettled(members.map(({ model }) => ask(model)));
  const idOf = ({ model }) => model.id ?? model;
  const votes = settled.map(({ value, reason }, i) => ({
    modelId: value?.modelId ?? idOf(members[i]),
    weight: members[i].weight,
    ...(value ? { text: value.text } : { error: { code: reason?.code, message: reason?.message ?? String(reason) } }),
  }));
  const answered = settled.flatMap(({ value }, i) => (value ? [{ value, vote: votes[i] }] : []));
  if (answered.length === 0) {
    const list = votes.map(({ modelId, error }) => `${modelId}: ${error.message}`).join('; ');
    throw new ModelError(`All models failed: ${list}`, 'ALL_MODELS_FAILED', { attempts: votes }, { cause: settled[0].reason });
  }
  const { index, scores, agreement } = combine(answered.map(({ vote, value }) => ({ ...vote, logprobs: value.logprobs })), method);
  answered.forEach(({ vote }, i) => (vote.score = scores[i]));
  if (agreement < minAgreement) {
    throw new ModelError(`The models do not agree: ${agreement.toFixed(2)} of ${minAgreement} (minAgreement)`, 'NO_CONSENSUS', { votes, agreement });
  }
  return { ...answered[index].value, ensemble: { method, agreement, votes } };
}
