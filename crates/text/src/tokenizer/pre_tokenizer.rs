use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::normalizer::SplitDelimiterBehavior;

use crate::error::TextError;

const PRE: &str = "tokenizer.ggml.pre";

/// How a byte-level vocabulary cuts text into words before merging, as `tokenizer.ggml.pre` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PreTokenizer {
    /// Llama 3 and everything that behaves like it.
    Llama3,
    /// The same patterns, but words go through the merges whether or not they are in the vocabulary.
    Llama3Merged,
    Qwen2,
    Gpt2,
    /// The first Falcon models.
    Falcon,
    /// What llama.cpp falls back to when a converter knew no rule.
    Default,
}

impl PreTokenizer {
    /// The rule for a name. Files without one come from converters for Llama 3 vocabularies (the official I2_S file of
    /// BitNet 2B-4T among them).
    pub(crate) fn from_name(name: Option<&str>) -> Result<Self, TextError> {
        match name {
            None | Some("llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "falcon_e") => {
                Ok(Self::Llama3)
            }
            Some("smaug-bpe" | "dbrx") => Ok(Self::Llama3Merged),
            Some("qwen2") => Ok(Self::Qwen2),
            Some("gpt-2") => Ok(Self::Gpt2),
            Some("falcon") => Ok(Self::Falcon),
            Some("default") => Ok(Self::Default),
            Some(other) => Err(TextError::vocabulary(
                PRE,
                format!(
                    "pre-tokenizer `{other}` is not known; known are llama-bpe, llama3, llama-v3, falcon3, falcon_e, \
                     smaug-bpe, dbrx, qwen2, gpt-2, falcon and default"
                ),
            )),
        }
    }

    /// The name by which files call the rule.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Llama3 => "llama-bpe",
            Self::Llama3Merged => "smaug-bpe",
            Self::Qwen2 => "qwen2",
            Self::Gpt2 => "gpt-2",
            Self::Falcon => "falcon",
            Self::Default => "default",
        }
    }

    /// The rule of these patterns, one pass each.
    pub(crate) fn from_patterns(patterns: &[&str], ignores_merges: bool) -> Option<Self> {
        let all = [
            Self::Llama3,
            Self::Llama3Merged,
            Self::Qwen2,
            Self::Gpt2,
            Self::Falcon,
            Self::Default,
        ];
        all.into_iter()
            .find(|rule| rule.patterns() == patterns && rule.ignores_merges() == ignores_merges)
    }

    /// A word that is itself in the vocabulary is taken whole, whatever the merges say.
    pub(crate) fn ignores_merges(self) -> bool {
        self == Self::Llama3
    }

    /// BOS is put first when the file does not say.
    pub(crate) fn adds_bos(self) -> bool {
        self == Self::Llama3
    }

    pub(crate) fn build(self) -> Result<PreTokenizerWrapper, TextError> {
        let mut steps = self
            .patterns()
            .iter()
            .map(|pattern| {
                Split::new(
                    SplitPattern::Regex((*pattern).to_owned()),
                    SplitDelimiterBehavior::Isolated,
                    false,
                )
                .map(PreTokenizerWrapper::from)
                .map_err(|error| TextError::vocabulary(PRE, error.to_string()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        steps.push(ByteLevel::new(false, true, false).into());
        Ok(Sequence::new(steps).into())
    }

    /// Split rules, one pass each (llama.cpp's `llama-vocab.cpp` keeps the same table).
    pub(crate) fn patterns(self) -> &'static [&'static str] {
        match self {
            Self::Llama3 | Self::Llama3Merged => &[
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            ],
            Self::Qwen2 => &[
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            ],
            Self::Gpt2 => &[GPT2_PATTERN],
            Self::Default => &[
                r"[\p{P}\$\+<=>\^~\|]+",
                GPT2_PATTERN,
                r"\p{N}+",
                r"[0-9][0-9][0-9]",
            ],
            Self::Falcon => &[r"[\p{P}\$\+<=>\^~\|`]+", GPT2_PATTERN, r"[0-9][0-9][0-9]"],
        }
    }
}

const GPT2_PATTERN: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)";
