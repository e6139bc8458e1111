//! What happens to the logits before a token is drawn: penalties, temperature and filters, each a small function over
//! a reusable list of candidates.
//!
//! Logits stay f32 and every step rounds as the reference does (transformers' processors); probabilities are f64.
//! `exp` comes from `libm`, which gives the same bits on every platform.

use std::cmp::Ordering;
use std::collections::HashMap;

/// How many candidates [`Candidates::top_p`] sorts at first; the list grows fourfold until the mass is reached, so that
/// a peaked distribution over 128,256 ids never pays for a full sort.
const TOP_P_FIRST_SORTED: usize = 256;

/// Logits that [`Candidates::kth_highest`] gathers at least before it thins them out.
const MIN_HIGHEST: usize = 256;

/// A token that may be drawn.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    id: u32,
    logit: f32,
}

/// Highest logit first; equal logits by id, so that the order never depends on the sorting algorithm.
fn best_first(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit
        .partial_cmp(&a.logit)
        .unwrap_or(Ordering::Equal)
        .then(a.id.cmp(&b.id))
}

/// The ids of a text so far, as penalties see them.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Per id: how often it was generated; 0 for an id that only the prompt has.
    generated: HashMap<u32, u32>,
}

impl History {
    /// The history of a text that starts with `prompt`.
    pub(crate) fn new(prompt: &[u32]) -> Self {
        Self {
            generated: prompt.iter().map(|&id| (id, 0)).collect(),
        }
    }

    /// Counts a generated id.
    pub(crate) fn push(&mut self, id: u32) {
        *self.generated.entry(id).or_insert(0) += 1;
    }
}

/// One step of a chain.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Step {
    /// Divides positive logits of ids in the prompt or the answer by the penalty, multiplies negative ones.
    RepetitionPenalty(f32),
    /// Takes `count * frequency + presence` from the logits of ids generated `count > 0` times; the prompt does not count.
    FrequencyPresence { frequency: f32, presence: f32 },
    /// Divides every logit. Must be above 0; a greedy choice needs no chain.
    Temperature(f32),
    /// Keeps the k highest logits, and all that equal the k-th.
    TopK(usize),
    /// Keeps the most probable ids until their sum reaches p; at least one.
    TopP(f64),
    /// Keeps ids at least p times as probable as the most probable one.
    MinP(f64),
}

/// The tokens still in play, in reusable buffers.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    list: Vec<Candidate>,
    /// `exp(logit - max)` of each in the list, valid from [`weigh`](Self::weigh) until the list changes.
    weights: Vec<f64>,
    highest: Vec<f32>,
}

impl Candidates {
    /// Starts over with one candidate per id and logit, the ids rising.
    pub(crate) fn reset(&mut self, logits: impl Iterator<Item = (u32, f32)>) {
        self.list.clear();
        self.list
            .extend(logits.map(|(id, logit)| Candidate { id, logit }));
    }

    /// Adds to the logits of some ids.
    pub(crate) fn add(&mut self, bias: &[(u32, f32)]) {
        for &(id, bias) in bias {
            if let Some(candidate) = self.find(id) {
                candidate.logit += bias;
            }
        }
    }

    /// Takes the other ids out of play.
    pub(crate) fn keep(&mut self, allowed: impl Fn(u32) -> bool) {
        self.list.retain(|candidate| allowed(candidate.id));
    }

    /// Applies one step.
    pub(crate) fn apply(&mut self, step: Step, history: &History) {
        match step {
            Step::RepetitionPenalty(penalty) => self.repetition_penalty(penalty, history),
            Step::FrequencyPresence {
                frequency,
                presence,
            } => {
                self.frequency_presence(frequency, presence, history);
            }
            Step::Temperature(temperature) => self.temperature(temperature),
            Step::TopK(k) => self.top_k(k),
            Step::TopP(p) => self.top_p(p),
            Step::MinP(p) => self.min_p(p),
        }
    }

    fn repetition_penalty(&mut self, penalty: f32, history: &History) {
        for &id in history.generated.keys() {
            if let Some(candidate) = self.find(id) {
                let logit = candidate.logit;
                candidate.logit = if logit < 0.0 {
                    logit * penalty
                } else {
                    logit / penalty
                };
            }
        }
    }

    fn frequency_presence(&mut self, frequency: f32, presence: f32, history: &History) {
        for (&id, &count) in history.generated.iter().filter(|&(_, &count)| count > 0) {
            if let Some(candidate) = self.find(id) {
                candidate.logit -= count as f32 * frequency + presence;
            }
        }
    }

    fn temperature(&mut self, temperature: f32) {
        for candidate in &mut self.list {
            candidate.logit /= temperature;
        }
    }

    fn top_k(&mut self, k: usize) {
        if k == 0 || k >= self.list.len() {
            return;
        }
        let threshold = self.kth_highest(k);
        self.list.retain(|candidate| candidate.logit >= threshold);
        self.list.sort_unstable_by(best_first);
    }

    /// The k-th highest logit, for k from 1 to the number of candidates. One pass keeps the highest seen so far, and
    /// thins them out to k whenever twice as many have come together: for a small k next to no work but the pass.
    fn kth_highest(&mut self, k: usize) -> f32 {
        let descending = |a: &f32, b: &f32| b.total_cmp(a);
        let capacity = (2 * k).max(MIN_HIGHEST);
        let mut floor = f32::NEG_INFINITY;
        self.highest.clear();
        for candidate in &self.list {
            if candidate.logit > floor || self.highest.len() < k {
                self.highest.push(candidate.logit);
                if self.highest.len() == capacity {
                    floor = *self.highest.select_nth_unstable_by(k - 1, descending).1;
                    self.highest.truncate(k);
                }
            }
        }
        *self.highest.select_nth_unstable_by(k - 1, descending).1
    }

    fn top_p(&mut self, p: f64) {
        if p >= 1.0 {
            return;
        }
        let max = self.max();
        let wanted = self.weigh() * p;
        let (mut mass, mut sorted, mut end) = (0.0, 0, TOP_P_FIRST_SORTED);
        while sorted < self.list.len() {
            end = end.min(self.list.len());
            if end < self.list.len() {
                self.list[sorted..].select_nth_unstable_by(end - sorted, best_first);
            }
            self.list[sorted..end].sort_unstable_by(best_first);
            for i in sorted..end {
                if i > 0 && mass >= wanted {
                    self.list.truncate(i);
                    return;
                }
                mass += weight(self.list[i].logit, max);
            }
            (sorted, end) = (end, end * 4);
        }
    }

    fn min_p(&mut self, p: f64) {
        self.weigh();
        let mut weights = self.weights.iter();
        // The most probable id has the weight exp(0) = 1.
        self.list
            .retain(|_| weights.next().is_some_and(|&weight| weight >= p));
    }

    /// The id that has the highest logit; of equal ones the lowest. `None` when there is none above -inf.
    pub(crate) fn best(&self) -> Option<u32> {
        let best = self.list.iter().min_by(|a, b| best_first(a, b))?;
        (best.logit > f32::NEG_INFINITY).then_some(best.id)
    }

    /// The id at the share `u`, in `[0, 1)`, of the probability mass. `None` when no finite mass is left.
    pub(crate) fn draw(&mut self, u: f64) -> Option<u32> {
        let total = self.weigh();
        if !(total.is_finite() && total > 0.0) {
            return None;
        }
        let mut left = total * u;
        let mut last = None;
        for (candidate, &weight) in self.list.iter().zip(&self.weights) {
            if weight > 0.0 {
                last = Some(candidate.id);
                left -= weight;
                if left < 0.0 {
                    break;
                }
            }
        }
        last
    }

    fn max(&self) -> f32 {
        self.list
            .iter()
            .fold(f32::NEG_INFINITY, |max, candidate| max.max(candidate.logit))
    }

    /// Fills the weights and returns their sum, which is not a number when no logit is finite.
    fn weigh(&mut self) -> f64 {
        let max = self.max();
        self.weights.clear();
        self.weights.extend(
            self.list
                .iter()
                .map(|candidate| weight(candidate.logit, max)),
        );
        self.weights.iter().sum()
    }

    /// The candidate of `id`, before any filter but [`keep`](Self::keep): while the ids rise.
    fn find(&mut self, id: u32) -> Option<&mut Candidate> {
        let at = match self.list.get(id as usize) {
            Some(candidate) if candidate.id == id => id as usize,
            _ => self
                .list
                .binary_search_by_key(&id, |candidate| candidate.id)
                .ok()?,
        };
        self.list.get_mut(at)
    }

    /// Ids and probabilities of what is left.
    #[cfg(test)]
    pub(crate) fn probabilities(&mut self) -> Vec<(u32, f64)> {
        let total = self.weigh();
        let weighted = self.list.iter().zip(&self.weights);
        weighted
            .map(|(candidate, weight)| (candidate.id, weight / total))
            .collect()
    }
}

/// The probability of a logit, relative to that of the highest one, `max`.
fn weight(logit: f32, max: f32) -> f64 {
    libm::exp(f64::from(logit) - f64::from(max))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn top_k_keeps_what_a_full_sort_keeps_with_ties_at_the_border() {
        let mut rng = Rng::new(1);
        // 3,000 logits of 200 values, so that every border lies among equals.
        let logits: Vec<f32> = (0..3000)
            .map(|_| (rng.next_f64() * 200.0).floor() as f32 / 8.0 - 9.0)
            .collect();
        let mut sorted: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).collect();
        sorted.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        for k in [1, 2, 15, 40, 127, 128, 129, 500, 2999, 3000, 9000] {
            let threshold = sorted[k.min(3000) - 1].1;
            let mut expected: Vec<u32> = sorted
                .iter()
                .filter(|(_, logit)| *logit >= threshold)
                .map(|&(id, _)| id)
                .collect();
            let mut candidates = Candidates::default();
            candidates.reset((0..).zip(logits.iter().copied()));
            candidates.apply(Step::TopK(k), &History::default());
            let mut kept: Vec<u32> = candidates
                .list
                .iter()
                .map(|candidate| candidate.id)
                .collect();
            if k >= 3000 {
                // Nothing is filtered, so nothing is sorted.
                expected.sort_unstable();
                kept.sort_unstable();
            }
            assert_eq!(kept, expected, "k = {k}");
        }
    }

    #[test]
    fn top_p_keeps_the_fewest_that_reach_the_mass() {
        let logits: Vec<f32> = (0..2000)
            .map(|i| ((i * 7919) % 2000) as f32 * 0.002)
            .collect();
        for p in [1e-9, 0.01, 0.3, 0.7, 0.95, 0.999] {
            let mut candidates = Candidates::default();
            candidates.reset((0..).zip(logits.iter().copied()));
            let mut all = candidates.probabilities();
            all.sort_by(|a, b| b.1.total_cmp(&a.1));
            let mut mass = 0.0;
            let mut expected = Vec::new();
            for (id, probability) in all {
                if mass < p {
                    expected.push(id);
                }
                mass += probability;
            }
            candidates.apply(Step::TopP(p), &History::default());
            let mut kept: Vec<u32> = candidates
                .list
                .iter()
                .map(|candidate| candidate.id)
                .collect();
            expected.sort_unstable();
            kept.sort_unstable();
            assert_eq!(kept, expected, "p = {p}");
        }
    }
}
