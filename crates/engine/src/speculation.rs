//! Prompt-lookup speculation: text that repeats itself is decoded several tokens a pass.
//!
//! What followed the last time that the text read as it does now is a guess at what follows next. Such a draft is fed to the
//! model together with the token that is due, and the sequence's own sampler goes over the logits one position after the
//! other, as it would have done without a draft: same logits, same random numbers, same history. While it chooses what the
//! draft says, the next position's logits are the right ones already; the first token that differs ends the pass, and the
//! positions behind it are forgotten. So drafts decide when tokens are computed, never which.
//!
//! Two things keep wrong drafts cheap. Guesses are made for every token and compared with what was chosen, whether they were
//! drafted or not, so drafts begin only where guessing works ([`Drafter::trust`]), for free where it does not. And passes are
//! timed: where one with drafts takes longer than the passes that it stands for, drafting pauses ([`Drafter::account`]).

use std::str::FromStr;

use crate::error::EngineError;

/// Tokens of one pass, all sequences and their drafts together: what the kernels multiply for one read of the weights.
const PASS_TOKENS: usize = 12;

/// Tokens at the end of the text that must have been there before, for a guess.
const MIN_MATCH: usize = 2;

/// A match of so many tokens is as good as a longer one.
const MAX_MATCH: usize = 16;

/// Trust from which on drafts are made: that of one right guess.
const MIN_TRUST: usize = 2;

/// What a right guess adds to trust: a draft is twice as long as what proved right before it.
const TRUST: usize = 2;

/// The most trust, so that a few wrong guesses lose it.
const MAX_TRUST: usize = 64;

/// What a wrong guess divides trust by.
const MISTRUST: usize = 4;

/// Passes whose time drafts may lose before they pause.
const MAX_LOSS: f64 = 2.0;

/// Tokens that the first pause takes; each that follows without a gain between takes twice as many, up to the last.
const PAUSE: std::ops::RangeInclusive<usize> = 32..=1024;

/// Whether answers are speculated on. The text is the same either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Speculation {
    /// Where the text repeats itself and it saves time.
    #[default]
    Auto,
    /// Never: one token a pass.
    Off,
}

impl FromStr for Speculation {
    type Err = EngineError;

    fn from_str(name: &str) -> Result<Self, EngineError> {
        match name {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            other => Err(EngineError::invalid_option(
                "speculation",
                other,
                "auto or off",
            )),
        }
    }
}

/// The most draft tokens of each sequence of a pass in which `sequences` decode.
pub(crate) fn draft_limit(sequences: usize) -> usize {
    PASS_TOKENS.saturating_sub(sequences) / sequences.max(1)
}

/// Guesses one sequence's next tokens.
#[derive(Debug)]
pub(crate) struct Drafter {
    /// Where the text has the token that is guessed next.
    source: Option<usize>,
    /// Grows with right guesses, shrinks with wrong ones; a draft is as long as this.
    trust: usize,
    /// Passes whose time drafts have saved since the last pause; below zero: lost.
    saved: f64,
    /// Tokens without drafts still to come.
    pause: usize,
    /// How long the next pause is.
    next_pause: usize,
}

impl Drafter {
    pub(crate) fn new() -> Self {
        Self {
            source: None,
            trust: 0,
            saved: 0.0,
            pause: 0,
            next_pause: *PAUSE.start(),
        }
    }

    /// Writes to `draft` what may follow `text`, at most `limit` tokens and none of `ends`, behind which nothing follows.
    pub(crate) fn draft(&mut self, text: &[u32], limit: usize, ends: &[u32], draft: &mut Vec<u32>) {
        draft.clear();
        self.source = self.source.or_else(|| find_source(text));
        let Some(source) = self.source else {
            return;
        };
        if self.trust < MIN_TRUST || self.pause > 0 {
            return;
        }
        for at in source..source + limit.min(self.trust) {
            // A source near the end goes on with what it has given: the text repeats in a circle.
            let id = text.get(at).or_else(|| draft.get(at - text.len()));
            match id {
                Some(&id) if !ends.contains(&id) => draft.push(id),
                _ => return,
            }
        }
    }

    /// Learns that `id` was chosen to follow `text`.
    pub(crate) fn observe(&mut self, text: &[u32], id: u32) {
        self.pause = self.pause.saturating_sub(1);
        let Some(source) = self.source else {
            return;
        };
        if text.get(source) == Some(&id) {
            self.trust = (self.trust + TRUST).min(MAX_TRUST);
            self.source = Some(source + 1);
        } else {
            self.trust /= MISTRUST;
            self.source = None;
        }
    }

    /// Forgets the place in a text that has been cut.
    pub(crate) fn lose_place(&mut self) {
        self.source = None;
    }

    /// No drafts until guesses prove right again.
    pub(crate) fn lose_trust(&mut self) {
        self.trust = 0;
    }

    /// Learns that a pass with a draft saved the time of `passes` passes without; below zero: lost.
    pub(crate) fn account(&mut self, passes: f64) {
        self.saved = (self.saved + passes).min(MAX_LOSS);
        if self.saved >= MAX_LOSS {
            self.next_pause = *PAUSE.start();
        } else if self.saved <= -MAX_LOSS {
            self.saved = 0.0;
            self.pause = self.next_pause;
            self.next_pause = (self.next_pause * 2).min(*PAUSE.end());
        }
    }
}

/// Where `text` has what followed the longest earlier occurrence of its end; of equally long ones the last.
fn find_source(text: &[u32]) -> Option<usize> {
    let (&last, before) = text.split_last()?;
    let (mut longest, mut source) = (MIN_MATCH - 1, None);
    for at in (0..before.len()).rev().filter(|&at| before[at] == last) {
        let earlier = before[..at].iter().rev();
        let same = earlier.zip(before.iter().rev()).take(MAX_MATCH - 1);
        let length = 1 + same.take_while(|(a, b)| a == b).count();
        if length > longest {
            (longest, source) = (length, Some(at + 1));
        }
        if length == MAX_MATCH {
            break;
        }
    }
    source
}

/// How long a pass takes that brings each of some sequences one token.
#[derive(Debug, Default)]
pub(crate) struct PlainPass {
    sequences: usize,
    seconds: f64,
}

impl PlainPass {
    /// What a new measurement counts for.
    const WEIGHT: f64 = 0.25;

    /// The time for so many sequences; `None` when it is not known.
    pub(crate) fn seconds(&self, sequences: usize) -> Option<f64> {
        (self.sequences == sequences && self.seconds > 0.0).then_some(self.seconds)
    }

    /// Takes a measurement in.
    pub(crate) fn record(&mut self, sequences: usize, seconds: f64) {
        let known = self.seconds(sequences).unwrap_or(seconds);
        self.sequences = sequences;
        self.seconds = known + Self::WEIGHT * (seconds - known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A drafter that has been right before.
    fn trusted(trust: usize) -> Drafter {
        Drafter {
            trust,
            ..Drafter::new()
        }
    }

    fn draft(drafter: &mut Drafter, text: &[u32], limit: usize) -> Vec<u32> {
        let mut draft = vec![99];
        drafter.draft(text, limit, &[7], &mut draft);
        draft
    }

    #[test]
    fn the_source_follows_the_longest_match_and_of_equals_the_last() {
        let cases: [(&[u32], Option<usize>); 8] = [
            (&[], None),
            (&[1], None),
            (&[1, 2, 3, 2], None),
            (&[1, 2, 3, 1, 2], Some(2)),
            (&[1, 2, 3, 1, 2, 4, 1, 2], Some(5)),
            (&[5, 1, 2, 3, 1, 2, 4, 5, 1, 2], Some(3)),
            (&[4, 4, 4], Some(2)),
            (&[1, 2, 1, 2], Some(2)),
        ];
        for (text, expected) in cases {
            assert_eq!(find_source(text), expected, "{text:?}");
        }
        let long: Vec<u32> = (0..40).chain(0..40).chain(0..40).collect();
        assert_eq!(find_source(&long), Some(80));
    }

    #[test]
    fn a_draft_repeats_what_followed_and_goes_round_at_the_end_of_the_text() {
        let text = [1, 2, 3, 4, 1, 2];
        assert_eq!(draft(&mut trusted(64), &text, 2), [3, 4]);
        assert_eq!(draft(&mut trusted(64), &text, 7), [3, 4, 1, 2, 3, 4, 1]);
        assert_eq!(draft(&mut trusted(64), &[5, 5, 5], 3), [5, 5, 5]);
        assert!(draft(&mut trusted(64), &text, 0).is_empty());
        assert!(draft(&mut trusted(64), &[1, 2, 3, 4], 5).is_empty());
    }

    #[test]
    fn a_draft_stops_before_a_token_that_ends_the_answer() {
        assert_eq!(draft(&mut trusted(64), &[1, 2, 3, 7, 4, 1, 2], 5), [3]);
        assert!(draft(&mut trusted(64), &[1, 2, 7, 4, 1, 2], 5).is_empty());
    }

    #[test]
    fn drafts_begin_after_right_guesses_grow_with_them_and_stop_after_wrong_ones() {
        let mut drafter = Drafter::new();
        let mut text = vec![1, 2, 3, 4, 5, 6, 1, 2];
        let mut lengths = Vec::new();
        for id in [3, 4, 5, 6, 9, 8] {
            lengths.push(draft(&mut drafter, &text, 11).len());
            drafter.observe(&text, id);
            text.push(id);
        }
        // After the wrong guess nothing matches.
        assert_eq!(lengths, [0, 2, 4, 6, 8, 0]);
        assert_eq!(drafter.trust, 2);
        drafter.observe(&[8], 8);
        assert_eq!(drafter.trust, 2, "nothing was guessed");
    }

    #[test]
    fn a_long_copy_survives_one_difference() {
        let mut drafter = trusted(40);
        let mut text: Vec<u32> = (0..20).chain(0..10).collect();
        for id in [10, 50, 12, 13] {
            draft(&mut drafter, &text, 11);
            drafter.observe(&text, id);
            text.push(id);
        }
        assert_eq!(draft(&mut drafter, &text, 5), [14, 15, 16, 17, 18]);
    }

    #[test]
    fn drafts_that_cost_time_pause_longer_and_longer_until_they_save_some() {
        let text = [1, 2, 3, 1, 2];
        let mut drafter = trusted(8);
        let pause_of = |drafter: &mut Drafter| {
            (0..4).for_each(|_| drafter.account(-0.5));
            let mut pause = 0;
            while draft(drafter, &text, 4).is_empty() {
                drafter.source = None;
                drafter.observe(&text, 0);
                pause += 1;
            }
            pause
        };
        assert_eq!(pause_of(&mut drafter), 32);
        assert_eq!(pause_of(&mut drafter), 64);
        drafter.account(3.0);
        drafter.account(-2.0);
        assert!(!draft(&mut drafter, &text, 4).is_empty());
        assert_eq!(pause_of(&mut drafter), 32);
        for _ in 0..8 {
            assert!(pause_of(&mut drafter) <= 1024);
        }
    }

    #[test]
    fn the_pass_is_shared_among_the_sequences() {
        assert_eq!(
            [0, 1, 2, 3, 4, 6, 7, 12, 16].map(draft_limit),
            [12, 11, 5, 3, 2, 1, 0, 0, 0]
        );
    }

    #[test]
    fn plain_passes_are_averaged_for_the_same_number_of_sequences() {
        let mut plain = PlainPass::default();
        assert_eq!(plain.seconds(1), None);
        plain.record(1, 8.0);
        plain.record(1, 4.0);
        assert_eq!((plain.seconds(1), plain.seconds(2)), (Some(7.0), None));
        plain.record(2, 3.0);
        assert_eq!((plain.seconds(1), plain.seconds(2)), (None, Some(3.0)));
    }
}
