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

/// A token that may be drawn.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    id: u32,
    logit: f32,
    /// `exp(logit - max)`, valid after [`Candidates::weigh`].
    weight: f64,
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

/// The tokens still in play, in one reusable buffer.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    list: Vec<Candidate>,
}

impl Candidates {
    /// Starts over with one candidate per logit; the position is the id.
    pub(crate) fn reset(&mut self, logits: &[f32]) {
        self.list.clear();
        self.list
            .extend((0u32..).zip(logits).map(|(id, &logit)| Candidate {
                id,
                logit,
                weight: 0.0,
            }));
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
        let (_, kth, _) = self.list.select_nth_unstable_by(k - 1, best_first);
        let threshold = kth.logit;
        self.list.retain(|candidate| candidate.logit >= threshold);
        self.list.sort_unstable_by(best_first);
    }

    fn top_p(&mut self, p: f64) {
        if p >= 1.0 {
            return;
        }
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
                mass += self.list[i].weight;
            }
            (sorted, end) = (end, end * 4);
        }
    }

    fn min_p(&mut self, p: f64) {
        self.weigh();
        // The most probable id has the weight exp(0) = 1.
        self.list.retain(|candidate| candidate.weight >= p);
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
        for candidate in self.list.iter().filter(|candidate| candidate.weight > 0.0) {
            last = Some(candidate.id);
            left -= candidate.weight;
            if left < 0.0 {
                break;
            }
        }
        last
    }

    /// Sets every weight to `exp(logit - max)`; returns their sum. Not a number when no logit is finite.
    fn weigh(&mut self) -> f64 {
        let max = self
            .list
            .iter()
            .fold(f32::NEG_INFINITY, |max, candidate| max.max(candidate.logit));
        let mut total = 0.0;
        for candidate in &mut self.list {
            candidate.weight = libm::exp(f64::from(candidate.logit) - f64::from(max));
            total += candidate.weight;
        }
        total
    }

    /// The candidate of `id`. Before any filter the position is the id.
    fn find(&mut self, id: u32) -> Option<&mut Candidate> {
        let at = match self.list.get(id as usize) {
            Some(candidate) if candidate.id == id => id as usize,
            _ => self.list.iter().position(|candidate| candidate.id == id)?,
        };
        self.list.get_mut(at)
    }

    /// Ids and probabilities of what is left.
    #[cfg(test)]
    pub(crate) fn probabilities(&mut self) -> Vec<(u32, f64)> {
        let total = self.weigh();
        self.list
            .iter()
            .map(|candidate| (candidate.id, candidate.weight / total))
            .collect()
    }
}
