//! Refusal instead of garbage: signs that a model which loads is damaged all the same.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::request::{GenerateRequest, Prompt, TextEvent};
use crate::sampling::SamplingOptions;

/// What a thorough test lets the model continue: plain words, which any model has a next word for.
const PROBE: &str = "The quick brown fox jumps over the";
/// Tokens that it writes.
const PROBE_TOKENS: usize = 16;

const DAMAGED: &str =
    "The file is likely damaged or was converted wrongly: fetch it again, or convert it anew";

impl Engine {
    /// Looks for signs of a damaged model: ternary matrices that are all zero (counted while loading, so this is free). With
    /// `thorough` the model also writes a few tokens, which must be finite and not one and the same. Waits for them.
    ///
    /// # Errors
    /// [`EngineError::SelfTest`] with what was seen; what keeps a generation from running.
    pub fn self_test(&self, thorough: bool) -> Result<(), EngineError> {
        let zero = &self.model.config().all_zero_tensors;
        if let Some(first) = zero.first() {
            return Err(failed(match zero.len() {
                1 => format!("all weights of `{first}` are zero"),
                n => format!("all weights of {n} tensors are zero, the first of them `{first}`"),
            }));
        }
        if thorough { self.probe() } else { Ok(()) }
    }

    /// Lets the model write, greedily.
    fn probe(&self) -> Result<(), EngineError> {
        let prompt = Prompt::Text {
            text: PROBE.to_owned(),
            raw: true,
        };
        let mut answer = self.generate(GenerateRequest {
            max_tokens: Some(PROBE_TOKENS),
            ignore_eos: true,
            sampling: SamplingOptions {
                temperature: Some(0.0),
                ..SamplingOptions::default()
            },
            ..GenerateRequest::new(prompt)
        })?;
        while let Some(event) = self.next_event(&mut answer) {
            match event {
                Ok(TextEvent::Text(_)) => {}
                Ok(TextEvent::Done(completion)) => return judge(&completion.token_ids),
                Err(EngineError::NonFiniteLogits) => {
                    return Err(failed("it computes what is no number".to_owned()));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// One token for ever is what weights look like that were unpacked in the wrong order.
fn judge(tokens: &[u32]) -> Result<(), EngineError> {
    match tokens {
        // Too few to tell: the context is tiny.
        [] | [_] | [_, _] => Ok(()),
        [first, rest @ ..] if rest.iter().all(|token| token == first) => Err(failed(format!(
            "it writes token {first} {} times on end",
            tokens.len()
        ))),
        _ => Ok(()),
    }
}

fn failed(finding: String) -> EngineError {
    EngineError::SelfTest {
        finding,
        cause: DAMAGED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_token_for_ever_fails_and_any_change_passes() {
        assert!(judge(&[7; 16]).is_err());
        assert!(judge(&[7, 7, 7, 8]).is_ok());
        assert!(judge(&[7, 7]).is_ok());
        assert!(judge(&[]).is_ok());
    }
}
