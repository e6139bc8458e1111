// The eight ways of choosing a model. Each is a pure function: candidates (at least one, in the order of loading) and what is
// asked, in; a score for each, higher is better, and the reason in words, out. Equal scores keep the order of loading.

/** Assumed of a model that has not answered yet: weights read at this many bytes a ms, and 1.58 bits a parameter. */
const ASSUMED = { bytesPerMs: 1e7, bytesPerParameter: 0.25, remoteTtftMs: 500, remoteTokensPerSecond: 50 };

/** What quality-first takes for the quality of a model that nobody has rated: 0 at a million parameters, 1 at a trillion. */
function assumedQuality(parameters) {
  if (!(parameters > 0)) return 0.5;
  return Math.min(1, Math.max(0, (Math.log10(parameters) - 6) / 6));
}

const qualityOf = (candidate) => candidate.quality ?? assumedQuality(candidate.parameters);

/** Price of the call in the currency of the price list; local models cost nothing unless they were given a price. */
export const costOf = ({ price }, { promptTokens, maxTokens }) => (promptTokens * price.input + maxTokens * price.output) / 1e6;

/** Milliseconds until the answer is there: measured, else assumed; calls that are under way share the model. */
export function expectedMs(candidate, { maxTokens }) {
  const { remote, parameters = 1e9, tokensPerSecond, ttftMs, running, waiting } = candidate;
  const assumedToken = remote ? 1000 / ASSUMED.remoteTokensPerSecond : (parameters * ASSUMED.bytesPerParameter) / ASSUMED.bytesPerMs;
  const perToken = tokensPerSecond > 0 ? 1000 / tokensPerSecond : assumedToken;
  const first = ttftMs ?? (remote ? ASSUMED.remoteTtftMs : perToken);
  return (first + perToken * maxTokens) * (1 + running + waiting);
}

const highest = (candidates, scores) => candidates[scores.indexOf(Math.max(...scores))];
const round = (value, digits = 3) => Number(value.toPrecision(digits));

/** Each part between 0 and 1 before it is weighed. */
const BALANCE = { quality: 0.4, cost: 0.3, speed: 0.3 };

function balanced(candidates, request) {
  const costs = candidates.map((candidate) => costOf(candidate, request));
  const times = candidates.map((candidate) => expectedMs(candidate, request));
  const [dearest, fastest] = [Math.max(...costs), Math.min(...times)];
  const scores = candidates.map((candidate, i) =>
    BALANCE.quality * qualityOf(candidate) + BALANCE.cost * (dearest > 0 ? 1 - costs[i] / dearest : 1) + BALANCE.speed * (fastest / times[i]));
  const best = highest(candidates, scores);
  const at = candidates.indexOf(best);
  return { scores, reason: `best of quality ${round(qualityOf(best))}, cost ${round(costs[at])} and ${round(times[at])} ms expected, weighed 4:3:3` };
}

function qualityFirst(candidates) {
  const scores = candidates.map(qualityOf);
  const best = highest(candidates, scores);
  const source = best.quality !== undefined ? 'declared' : 'assumed from its parameters';
  return { scores, reason: `highest quality: ${round(qualityOf(best))}, ${source}` };
}

function costOptimized(candidates, request) {
  const costs = candidates.map((candidate) => costOf(candidate, request));
  const least = Math.min(...costs);
  // Where several cost the same, the one that computes least is the cheaper one to run.
  const sizes = candidates.map(({ parameters = 0 }) => parameters);
  const largest = Math.max(1, ...sizes);
  const step = Math.min(1, ...costs.map((cost) => cost - least).filter((difference) => difference > 0)) / 2;
  const scores = costs.map((cost, i) => -cost - (step * sizes[i]) / largest);
  return { scores, reason: `lowest price: ${round(least)} for about ${request.promptTokens} + ${request.maxTokens} tokens` };
}

function speedPriority(candidates, request) {
  const times = candidates.map((candidate) => expectedMs(candidate, request));
  const scores = times.map((ms) => -ms);
  const best = highest(candidates, scores);
  const source = best.tokensPerSecond > 0 ? `${round(best.tokensPerSecond)} tokens/s measured` : 'not measured yet';
  return { scores, reason: `shortest expected time: ${round(-Math.max(...scores))} ms (${source})` };
}

/** @param {{ random?: () => number }} request */
function random(candidates, { random: draw = Math.random }) {
  return { scores: candidates.map(() => draw()), reason: `drawn from ${candidates.length}` };
}

/** The one chosen longest ago, so that models may come and go between two rounds. */
function roundRobin(candidates) {
  return { scores: candidates.map(({ lastPicked }) => -lastPicked), reason: 'chosen longest ago' };
}

function leastLoaded(candidates) {
  const scores = candidates.map(({ running, waiting }) => 0 - running - waiting);
  return { scores, reason: `fewest calls under way: ${0 - Math.max(...scores)}` };
}

function capabilityMatch(candidates, { capabilities }) {
  const scores = candidates.map((candidate) => capabilities.filter((name) => supports(candidate, name)).length);
  return { scores, reason: `has ${Math.max(...scores)} of ${capabilities.length} capabilities asked for` };
}

/** True when a candidate has a capability; models may say so with a method or a table. */
export function supports({ model, capabilities }, name) {
  return typeof model?.supports === 'function' ? model.supports(name) === true : capabilities?.[name] === true;
}

/** name -> strategy, in the order in which the original listed them. */
export const STRATEGIES = {
  'quality-first': qualityFirst,
  'cost-optimized': costOptimized,
  'speed-priority': speedPriority,
  balanced,
  random,
  'round-robin': roundRobin,
  'least-loaded': leastLoaded,
  'capability-match': capabilityMatch,
};
