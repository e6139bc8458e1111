//! From logits to the next token.
//!
//! The order of the steps is that of transformers' `generate()`, with the two OpenAI-style penalties after the
//! repetition penalty: repetition, frequency and presence, temperature, top-k, top-p, min-p. Before them all come what is added to
//! logits and what a grammar forbids.

#[cfg(test)]
mod golden_tests;
mod logprobs;
mod steps;

use llm_model::{LogitsOf, LogitsRow};
pub(crate) use logprobs::Record;
pub(crate) use steps::History;
use steps::{Candidates, Step};

use crate::constraint::Constraint;
use crate::error::EngineError;
use crate::rng::Rng;
use crate::sampling::Sampling;

/// What a request asks of the choice besides sampling.
#[derive(Debug, Default)]
pub(crate) struct Guidance {
    /// The form of the answer.
    pub(crate) constraint: Option<Constraint>,
    /// Added to the logits of these ids.
    pub(crate) bias: Vec<(u32, f32)>,
    /// Log-probabilities are kept, and with each those of so many of the likeliest tokens.
    pub(crate) logprobs: Option<usize>,
}

impl Guidance {
    /// Whether only all logits will do.
    fn needs_all(&self) -> bool {
        self.constraint.is_some() || !self.bias.is_empty() || self.logprobs.is_some()
    }
}

/// Chooses tokens for one sequence.
#[derive(Debug)]
pub(crate) struct Sampler {
    guidance: Guidance,
    logprobs: Vec<Record>,
    steps: Vec<Step>,
    greedy: bool,
    rng: Rng,
    candidates: Candidates,
}

impl Sampler {
    /// A sampler with validated settings. Temperature 0 chooses the highest logit after the penalties; the seed is not
    /// used then.
    pub(crate) fn new(sampling: &Sampling, guidance: Guidance) -> Self {
        let greedy = sampling.temperature == 0.0;
        let mut steps = Vec::new();
        if sampling.repetition_penalty != 1.0 {
            steps.push(Step::RepetitionPenalty(sampling.repetition_penalty as f32));
        }
        if sampling.frequency_penalty != 0.0 || sampling.presence_penalty != 0.0 {
            steps.push(Step::FrequencyPresence {
                frequency: sampling.frequency_penalty as f32,
                presence: sampling.presence_penalty as f32,
            });
        }
        if !greedy {
            steps.push(Step::Temperature(sampling.temperature as f32));
            if sampling.top_k > 0 {
                steps.push(Step::TopK(sampling.top_k));
            }
            if sampling.top_p < 1.0 {
                steps.push(Step::TopP(sampling.top_p));
            }
            if sampling.min_p > 0.0 {
                steps.push(Step::MinP(sampling.min_p));
            }
        }
        Self {
            guidance,
            logprobs: Vec::new(),
            steps,
            greedy,
            rng: Rng::new(sampling.seed),
            candidates: Candidates::default(),
        }
    }

    /// Which logits decide: the largest one for a greedy choice, the `k` largest where top-k comes first, else all. Penalties can
    /// lift any id, so with them all are needed, and so they are for guidance.
    pub(crate) fn wanted_logits(&self) -> LogitsOf {
        match self.steps.as_slice() {
            _ if self.guidance.needs_all() => LogitsOf::Last,
            [] if self.greedy => LogitsOf::Top(1),
            [Step::Temperature(_), Step::TopK(k), ..] => LogitsOf::Top(*k),
            _ => LogitsOf::Last,
        }
    }

    /// The next token after `logits`, which hold at least what [`wanted_logits`](Self::wanted_logits) asks for.
    ///
    /// # Errors
    /// [`EngineError::NonFiniteLogits`] when a logit is NaN or infinite, or penalties made it so; [`EngineError::Grammar`] when the
    /// grammar turns out to be too complex.
    pub(crate) fn sample(
        &mut self,
        logits: LogitsRow<'_>,
        history: &History,
    ) -> Result<u32, EngineError> {
        match logits {
            LogitsRow::All(logits) => {
                check_finite(logits.iter().copied())?;
                self.candidates.reset((0..).zip(logits.iter().copied()));
            }
            LogitsRow::Top(logits) => {
                check_finite(logits.iter().map(|&(_, logit)| logit))?;
                self.candidates.reset(logits.iter().copied());
            }
        }
        self.candidates.add(&self.guidance.bias);
        if let Some(constraint) = &mut self.guidance.constraint {
            let allowed = constraint.allowed()?;
            self.candidates.keep(|id| allowed.is_allowed(id));
        }
        for &step in &self.steps {
            self.candidates.apply(step, history);
        }
        let chosen = if self.greedy {
            self.candidates.best()
        } else {
            self.candidates.draw(self.rng.next_f64())
        };
        let id = chosen.ok_or(EngineError::NonFiniteLogits)?;
        if let Some(constraint) = &mut self.guidance.constraint {
            constraint.accept(id)?;
        }
        if let (Some(top), LogitsRow::All(logits)) = (self.guidance.logprobs, logits) {
            self.logprobs.push(logprobs::record(logits, id, top));
        }
        Ok(id)
    }

    /// Whether the form of the answer lets nothing follow.
    pub(crate) fn is_complete(&self) -> bool {
        let constraint = self.guidance.constraint.as_ref();
        constraint.is_some_and(Constraint::is_complete)
    }

    /// The log-probabilities of what was chosen, if they were asked for.
    pub(crate) fn into_logprobs(self) -> Option<Vec<Record>> {
        self.guidance.logprobs.map(|_| self.logprobs)
    }
}

/// # Errors
/// [`EngineError::NonFiniteLogits`] when a logit is NaN or infinite.
pub(crate) fn check_finite(logits: impl Iterator<Item = f32>) -> Result<(), EngineError> {
    // The largest magnitude by its bits, which compilers turn into vector instructions; NaN lies above infinity.
    let largest = logits.fold(0, |max, logit| max.max(logit.abs().to_bits()));
    if f32::from_bits(largest).is_finite() {
        Ok(())
    } else {
        Err(EngineError::NonFiniteLogits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampling() -> Sampling {
        Sampling {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            seed: 11,
        }
    }

    #[test]
    fn the_greedy_choice_is_the_lowest_of_the_highest_ids() {
        let mut sampler = Sampler::new(
            &Sampling {
                temperature: 0.0,
                ..sampling()
            },
            Guidance::default(),
        );
        let none = History::default();
        assert_eq!(
            sampler
                .sample(LogitsRow::All(&[0.0, -0.0, -1.0]), &none)
                .unwrap(),
            0
        );
        assert_eq!(
            sampler
                .sample(LogitsRow::All(&[-3.0, 2.0, 1.0, 2.0]), &none)
                .unwrap(),
            1
        );
    }

    #[test]
    fn penalties_change_the_greedy_choice() {
        let mut repetition = Sampler::new(
            &Sampling {
                temperature: 0.0,
                repetition_penalty: 2.0,
                ..sampling()
            },
            Guidance::default(),
        );
        assert_eq!(
            repetition
                .sample(LogitsRow::All(&[1.0, 1.5]), &History::new(&[1]))
                .unwrap(),
            0
        );
        let mut presence = Sampler::new(
            &Sampling {
                temperature: 0.0,
                presence_penalty: 1.0,
                ..sampling()
            },
            Guidance::default(),
        );
        let mut history = History::new(&[1]);
        assert_eq!(
            presence
                .sample(LogitsRow::All(&[1.0, 1.5]), &history)
                .unwrap(),
            1,
            "the prompt does not count"
        );
        history.push(1);
        assert_eq!(
            presence
                .sample(LogitsRow::All(&[1.0, 1.5]), &history)
                .unwrap(),
            0
        );
    }

    #[test]
    fn logits_that_are_not_finite_are_an_error_and_never_a_token() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for temperature in [0.0, 1.0] {
                let mut sampler = Sampler::new(
                    &Sampling {
                        temperature,
                        ..sampling()
                    },
                    Guidance::default(),
                );
                let result = sampler.sample(LogitsRow::All(&[0.0, bad, 1.0]), &History::default());
                assert!(
                    matches!(result, Err(EngineError::NonFiniteLogits)),
                    "{bad} at {temperature}"
                );
            }
        }
    }

    #[test]
    fn a_seed_repeats_its_tokens_and_another_gives_others() {
        let logits: Vec<f32> = (0..64).map(|i| (i % 7) as f32 * 0.3).collect();
        let draw = |seed| {
            let mut sampler = Sampler::new(&Sampling { seed, ..sampling() }, Guidance::default());
            (0..32)
                .map(|_| {
                    sampler
                        .sample(LogitsRow::All(&logits), &History::default())
                        .unwrap()
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(5), draw(5));
        assert_ne!(draw(5), draw(6));
    }

    #[test]
    fn frequencies_of_drawn_tokens_follow_the_probabilities() {
        let logits = [0.1f32.ln(), 0.2f32.ln(), 0.7f32.ln()];
        let mut sampler = Sampler::new(&sampling(), Guidance::default());
        let mut counts = [0u32; 3];
        for _ in 0..20_000 {
            counts[sampler
                .sample(LogitsRow::All(&logits), &History::default())
                .unwrap() as usize] += 1;
        }
        for (count, expected) in counts.into_iter().zip([2_000.0, 4_000.0, 14_000.0]) {
            let off = (f64::from(count) - expected).abs();
            assert!(off < 4.0 * f64::sqrt(expected), "{counts:?}");
        }
    }

    #[test]
    fn filters_leave_their_id_whatever_the_seed() {
        let cases = [
            Sampling {
                top_k: 1,
                ..sampling()
            },
            Sampling {
                top_p: 1e-6,
                ..sampling()
            },
            Sampling {
                min_p: 1.0,
                ..sampling()
            },
            Sampling {
                temperature: 1e-3,
                ..sampling()
            },
        ];
        for case in cases {
            for seed in 0..50 {
                let mut sampler = Sampler::new(&Sampling { seed, ..case }, Guidance::default());
                let id = sampler
                    .sample(LogitsRow::All(&[0.0, 0.5, 0.4]), &History::default())
                    .unwrap();
                assert_eq!(id, 1, "{case:?} with seed {seed}");
            }
        }
    }
}
