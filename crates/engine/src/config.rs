//! Options, their ranges and their defaults, but for those of sampling: the only home of each.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use llm_kernels::Isa;
use llm_model::HeadMode;

use crate::error::EngineError;
use crate::i2s_layout::I2sLayout;
use crate::kv_budget::KvBudget;
use crate::sampling::SamplingOptions;
use crate::speculation::Speculation;

/// Tokens of an answer when a request does not say.
pub const DEFAULT_MAX_TOKENS: usize = 128;
/// Threads that make sense at all.
const THREADS: RangeInclusive<usize> = 1..=256;

/// Every new piece of text is compared with all stop strings, and as much as the longest may be withheld.
const MAX_STOPS: usize = 64;
const MAX_STOP_BYTES: usize = 4096;

/// Log-probabilities beside each that was chosen, as elsewhere.
const MAX_TOP_LOGPROBS: usize = 20;
/// What may be added to a logit: enough either way to force a token or to rule it out.
const BIAS: RangeInclusive<f32> = -100.0..=100.0;

/// Who computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Driver {
    /// A thread of the engine's own.
    #[default]
    OwnThread,
    /// Whoever calls [`Engine::step`](crate::Engine::step): for places without threads, such as a web worker.
    Caller,
}

/// How an engine is opened.
#[derive(Debug, Clone, Default)]
pub struct EngineConfig {
    /// Threads that compute, 1 to 256. `None`: one per physical core that this process may use.
    pub threads: Option<usize>,
    /// Tokens that prompt and answer may take together, at least 1; above the model's limit, and for `None`, that limit.
    pub context_size: Option<usize>,
    /// Instruction set of the kernels. `None`: the best that this machine has.
    pub isa: Option<Isa>,
    /// How logits are computed.
    pub head: HeadMode,
    /// How I2_S tensors are read.
    pub i2s_layout: Option<I2sLayout>,
    /// The `kernel_config.ini` with the tile sizes of TL1 and TL2 tensors. `None`: the one beside the model, if there is one.
    pub kernel_config: Option<PathBuf>,
    /// Sampling of requests that do not say.
    pub sampling: SamplingOptions,
    /// Speculation of requests that do not say.
    pub speculation: Speculation,
    /// Who computes.
    pub driver: Driver,
    /// Bytes that the weights may take in memory; a model that may need more is refused before it is read. `None`: any.
    pub max_bytes: Option<u64>,
    /// What keys and values may take; engines may share it.
    pub kv_budget: KvBudget,
}

/// The way of computing logits by its name.
///
/// # Errors
/// [`EngineError::InvalidOption`] for a name other than `auto` and `full`.
pub fn head_mode(name: &str) -> Result<HeadMode, EngineError> {
    match name {
        "auto" => Ok(HeadMode::Auto),
        "full" => Ok(HeadMode::Full),
        other => Err(EngineError::invalid_option("head", other, "auto or full")),
    }
}

/// # Errors
/// [`EngineError::InvalidOption`] outside 1 to 256.
pub(crate) fn validate_threads(threads: usize) -> Result<usize, EngineError> {
    if THREADS.contains(&threads) {
        return Ok(threads);
    }
    Err(EngineError::invalid_option(
        "threads",
        threads,
        &format!("from {} to {}", THREADS.start(), THREADS.end()),
    ))
}

/// The context size in force for a model that was made for `limit` tokens: what is wanted, but never more than that. One
/// set of options serves models of different limits so; [`EngineInfo`](crate::EngineInfo) tells both numbers.
///
/// # Errors
/// [`EngineError::InvalidOption`] for 0.
pub(crate) fn effective_context_size(
    wanted: Option<usize>,
    limit: usize,
) -> Result<usize, EngineError> {
    match wanted {
        Some(0) => Err(EngineError::invalid_option("contextSize", 0, "at least 1")),
        // A file that claims 0 must still leave room for a token.
        wanted => Ok(wanted.unwrap_or(limit).min(limit).max(1)),
    }
}

/// # Errors
/// [`EngineError::InvalidOption`] for 0.
pub(crate) fn validate_max_tokens(max_tokens: Option<usize>) -> Result<usize, EngineError> {
    match max_tokens {
        Some(0) => Err(EngineError::invalid_option("maxTokens", 0, "at least 1")),
        Some(n) => Ok(n),
        None => Ok(DEFAULT_MAX_TOKENS),
    }
}

/// # Errors
/// [`EngineError::InvalidOption`] for an empty string, one above [`MAX_STOP_BYTES`], or too many of them.
pub(crate) fn validate_stop(stop: &[String]) -> Result<(), EngineError> {
    if stop.len() > MAX_STOPS {
        return Err(EngineError::invalid_option(
            "stop",
            format!("{} strings", stop.len()),
            &format!("at most {MAX_STOPS} strings"),
        ));
    }
    match stop
        .iter()
        .find(|stop| stop.is_empty() || stop.len() > MAX_STOP_BYTES)
    {
        Some(wrong) => {
            let allowed = format!("strings of 1 to {MAX_STOP_BYTES} bytes");
            Err(EngineError::invalid_option(
                "stop",
                format!("one of {} bytes", wrong.len()),
                &allowed,
            ))
        }
        None => Ok(()),
    }
}

/// # Errors
/// [`EngineError::InvalidOption`] for more log-probabilities than [`MAX_TOP_LOGPROBS`], or a bias outside [`BIAS`] or for an id
/// beyond the vocabulary.
pub(crate) fn validate_guidance(
    logprobs: Option<usize>,
    bias: &[(u32, f32)],
    n_vocab: usize,
) -> Result<(), EngineError> {
    if let Some(top) = logprobs.filter(|&top| top > MAX_TOP_LOGPROBS) {
        let allowed = format!("from 0 to {MAX_TOP_LOGPROBS}");
        return Err(EngineError::invalid_option("topLogprobs", top, &allowed));
    }
    for &(id, bias) in bias {
        if id as usize >= n_vocab {
            return Err(EngineError::TokenOutOfRange { id, n_vocab });
        }
        if !BIAS.contains(&bias) {
            let allowed = format!("from {} to {}", BIAS.start(), BIAS.end());
            return Err(EngineError::invalid_option("logitBias", bias, &allowed));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::ContextOverflow;

    #[test]
    fn options_that_are_names_take_those_of_their_variants_and_no_others() {
        assert_eq!(head_mode("auto").unwrap(), HeadMode::default());
        assert_eq!(head_mode("full").unwrap(), HeadMode::Full);
        let speculation = |name: &str| name.parse::<Speculation>();
        assert_eq!(speculation("auto").unwrap(), Speculation::default());
        assert_eq!(speculation("off").unwrap(), Speculation::Off);
        let overflow = |name: &str| name.parse::<ContextOverflow>();
        assert_eq!(overflow("error").unwrap(), ContextOverflow::default());
        assert_eq!(overflow("shift").unwrap(), ContextOverflow::Shift);
        assert_eq!(overflow("truncate").unwrap(), ContextOverflow::Truncate);
        let refusals = [
            (head_mode("none").unwrap_err(), "head"),
            (speculation("on").unwrap_err(), "speculation"),
            (overflow("Shift").unwrap_err(), "contextOverflow"),
        ];
        for (error, option) in refusals {
            let EngineError::InvalidOption { name, .. } = error else {
                panic!("{error:?}");
            };
            assert_eq!(name, option);
        }
    }

    #[test]
    fn a_context_size_beyond_the_model_is_the_model_s_own() {
        assert_eq!(effective_context_size(Some(9000), 4096).unwrap(), 4096);
        assert_eq!(effective_context_size(Some(100), 4096).unwrap(), 100);
        assert_eq!(effective_context_size(None, 4096).unwrap(), 4096);
        assert!(effective_context_size(Some(0), 4096).is_err());
        assert_eq!(effective_context_size(None, 0).unwrap(), 1);
    }

    #[test]
    fn thread_counts_and_answer_lengths_have_a_lower_bound() {
        assert!(validate_threads(0).is_err() && validate_threads(257).is_err());
        assert_eq!(validate_threads(256).unwrap(), 256);
        assert!(validate_max_tokens(Some(0)).is_err());
        assert_eq!(validate_max_tokens(None).unwrap(), DEFAULT_MAX_TOKENS);
    }
}
