use std::collections::{HashMap, HashSet};

use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::normalizers::{NormalizerWrapper, Prepend, Replace, Sequence};
use tokenizers::processors::template::{SpecialToken, Template, TemplateProcessing};

use super::pre_tokenizer::PreTokenizer;
use super::sentencepiece::merges_by_score;
use super::{Vocabulary, literal_token};
use crate::decode::{Decoding, byte_token};
use crate::error::TextError;
use crate::guard::catch;

pub(super) const MODEL: &str = "tokenizer.ggml.model";
pub(super) const TOKENS: &str = "tokenizer.ggml.tokens";
pub(super) const SCORES: &str = "tokenizer.ggml.scores";
pub(super) const TOKEN_TYPE: &str = "tokenizer.ggml.token_type";
pub(super) const MERGES: &str = "tokenizer.ggml.merges";
pub(super) const BOS: &str = "tokenizer.ggml.bos_token_id";
pub(super) const EOS: &str = "tokenizer.ggml.eos_token_id";
pub(super) const UNKNOWN: &str = "tokenizer.ggml.unknown_token_id";

/// SentencePiece's stand-in for a space, U+2581.
pub(super) const SPACE_MARKER: &str = "\u{2581}";

/// Values of `tokenizer.ggml.token_type`.
pub(super) mod token_type {
    pub(in super::super) const NORMAL: i32 = 1;
    pub(in super::super) const UNKNOWN: i32 = 2;
    pub(in super::super) const CONTROL: i32 = 3;
    pub(in super::super) const USER_DEFINED: i32 = 4;
    pub(in super::super) const UNUSED: i32 = 5;
    pub(in super::super) const BYTE: i32 = 6;
}

/// The tokenizer keys of a GGUF file. Fields carry the names of their keys (`tokenizer.ggml.*`).
#[derive(Clone, Debug, Default)]
pub struct TokenizerSpec {
    /// `gpt2` (byte-level BPE) or `llama` (SentencePiece).
    pub model: String,
    /// Name of the split rule; only for `gpt2`. Without one, Llama 3's is taken.
    pub pre: Option<String>,
    /// Token strings by id.
    pub tokens: Vec<String>,
    /// Scores by id; `llama` needs them.
    pub scores: Option<Vec<f32>>,
    /// Types by id: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte. Without them all are normal.
    pub token_types: Option<Vec<i32>>,
    /// `left right` pairs in order of rank; `gpt2` needs them.
    pub merges: Option<Vec<String>>,
    /// `bos_token_id`.
    pub bos: Option<u32>,
    /// `eos_token_id`; 2^32-1 means none, as some converters write.
    pub eos: Option<u32>,
    /// `unknown_token_id`.
    pub unknown: Option<u32>,
    /// `add_bos_token`; by default true for `llama` and Llama 3's split rule, else false.
    pub add_bos: Option<bool>,
    /// `add_eos_token`; false by default.
    pub add_eos: Option<bool>,
    /// `add_space_prefix`, only for `llama`; true by default.
    pub add_space_prefix: Option<bool>,
}

pub(super) fn build(mut spec: TokenizerSpec) -> Result<Vocabulary, TextError> {
    for id in [&mut spec.bos, &mut spec.eos, &mut spec.unknown] {
        *id = id.filter(|&id| id != u32::MAX);
    }
    let build = match spec.model.as_str() {
        "gpt2" => byte_level,
        "llama" => sentencepiece,
        other => {
            return Err(TextError::vocabulary(
                MODEL,
                format!("tokenizer model `{other}` is not known; known are gpt2 and llama"),
            ));
        }
    };
    check(&spec)?;
    catch(|| build(&spec)).unwrap_or_else(|reason| Err(TextError::vocabulary(TOKENS, reason)))
}

fn byte_level(spec: &TokenizerSpec) -> Result<Vocabulary, TextError> {
    let pre = PreTokenizer::from_name(spec.pre.as_deref())?;
    let merges = spec
        .merges
        .as_ref()
        .ok_or_else(|| TextError::vocabulary(MERGES, "missing; a gpt2 tokenizer needs it"))?;
    let model = BPE::builder()
        .vocab_and_merges(vocab(&spec.tokens)?, split_merges(merges, &spec.tokens)?)
        .ignore_merges(pre.ignores_merges())
        .build()
        .map_err(|error| TextError::vocabulary(MERGES, error.to_string()))?;
    let mut pipeline = tokenizers::Tokenizer::new(model);
    pipeline.with_pre_tokenizer(Some(pre.build()?));
    let add_bos = spec.add_bos.unwrap_or(pre.adds_bos());
    finish(pipeline, spec, add_bos, Decoding::ByteLevel)
}

fn sentencepiece(spec: &TokenizerSpec) -> Result<Vocabulary, TextError> {
    let scores = spec
        .scores
        .as_ref()
        .ok_or_else(|| TextError::vocabulary(SCORES, "missing; a llama tokenizer needs it"))?;
    let pieces: HashMap<&str, f32> = (0_usize..)
        .zip(&spec.tokens)
        .zip(scores)
        .filter(|((id, token), _)| is_piece(spec, *id, token))
        .map(|((_, token), &score)| (token.as_str(), score))
        .collect();
    let mut builder = BPE::builder()
        .vocab_and_merges(vocab(&spec.tokens)?, merges_by_score(&pieces))
        .byte_fallback(true)
        .fuse_unk(true);
    if let Some(unknown) = unknown_token(spec) {
        builder = builder.unk_token(unknown.to_owned());
    }
    let model = builder
        .build()
        .map_err(|error| TextError::vocabulary(TOKENS, error.to_string()))?;
    let mut pipeline = tokenizers::Tokenizer::new(model);
    let space_prefix = spec.add_space_prefix.unwrap_or(true);
    pipeline
        .with_normalizer(Some(space_marker_normalizer(space_prefix)?))
        .map_err(|error| TextError::vocabulary(MODEL, error.to_string()))?;
    let add_bos = spec.add_bos.unwrap_or(true);
    let decoding = Decoding::sentencepiece(SPACE_MARKER, space_prefix);
    finish(pipeline, spec, add_bos, decoding)
}

/// Adds the special tokens and what stands around a prompt.
fn finish(
    mut pipeline: tokenizers::Tokenizer,
    spec: &TokenizerSpec,
    add_bos: bool,
    decoding: Decoding,
) -> Result<Vocabulary, TextError> {
    let types = spec.token_types.as_deref().unwrap_or_default();
    let named = [spec.bos, spec.eos, unknown_id(spec)];
    let added: Vec<_> = (0_u32..)
        .zip(&spec.tokens)
        .zip(
            types
                .iter()
                .copied()
                .chain(std::iter::repeat(token_type::NORMAL)),
        )
        .filter_map(|((id, token), kind)| {
            let special = matches!(kind, token_type::CONTROL | token_type::UNKNOWN)
                || named.contains(&Some(id));
            let literal = special || kind == token_type::USER_DEFINED;
            (literal && !token.is_empty()).then(|| literal_token(token, special))
        })
        .collect();
    pipeline
        .add_tokens(added)
        .map_err(|error| TextError::vocabulary(TOKENS, error.to_string()))?;
    let bos = spec.bos.filter(|_| add_bos);
    let eos = spec.eos.filter(|_| spec.add_eos.unwrap_or(false));
    pipeline.with_post_processor(Some(prompt_frame(bos, eos, &spec.tokens)?));
    Ok(Vocabulary {
        decoding,
        clean_up: false,
        pipeline,
        bos: spec.bos,
        eos: spec.eos,
    })
}

/// A post-processor that puts `bos` before the text and `eos` after it.
fn prompt_frame(
    bos: Option<u32>,
    eos: Option<u32>,
    tokens: &[String],
) -> Result<TemplateProcessing, TextError> {
    let special = |name: &str, id: Option<u32>| {
        let id = id?;
        let token = tokens.get(usize::try_from(id).ok()?)?.clone();
        SpecialToken::new(name.to_owned(), vec![id], vec![token]).ok()
    };
    let mut specials = Vec::new();
    let mut pieces = Vec::new();
    if let Some(token) = special("bos", bos) {
        specials.push(token);
        pieces.push("bos");
    }
    pieces.push("$A");
    if let Some(token) = special("eos", eos) {
        specials.push(token);
        pieces.push("eos");
    }
    let invalid = |reason: String| TextError::vocabulary(BOS, reason);
    TemplateProcessing::builder()
        .single(Template::try_from(pieces).map_err(invalid)?)
        .special_tokens(specials)
        .build()
        .map_err(|error| invalid(error.to_string()))
}

/// Checks everything that the builders rely on, so that a broken file is named by its key.
fn check(spec: &TokenizerSpec) -> Result<(), TextError> {
    if spec.tokens.is_empty() {
        return Err(TextError::vocabulary(TOKENS, "missing or empty"));
    }
    let count = spec.tokens.len();
    let lengths = [
        (SCORES, spec.scores.as_ref().map(Vec::len)),
        (TOKEN_TYPE, spec.token_types.as_ref().map(Vec::len)),
    ];
    for (key, length) in lengths {
        if let Some(length) = length.filter(|&length| length != count) {
            return Err(TextError::vocabulary(
                key,
                format!("{length} entries for {count} tokens"),
            ));
        }
    }
    for (key, id) in [(BOS, spec.bos), (EOS, spec.eos), (UNKNOWN, spec.unknown)] {
        if let Some(id) = id.filter(|&id| usize::try_from(id).is_ok_and(|id| id >= count)) {
            return Err(TextError::vocabulary(
                key,
                format!("id {id} is outside the vocabulary of {count} tokens"),
            ));
        }
    }
    Ok(())
}

/// Ids by token; every token must have one id of its own.
fn vocab(tokens: &[String]) -> Result<Vocab, TextError> {
    let vocab: Vocab = tokens.iter().cloned().zip(0_u32..).collect();
    if vocab.len() == tokens.len() {
        return Ok(vocab);
    }
    let mut seen = HashSet::new();
    let twice = tokens.iter().find(|token| !seen.insert(token.as_str()));
    Err(TextError::vocabulary(
        TOKENS,
        format!(
            "token {:?} occurs more than once",
            twice.map_or("", |token| token)
        ),
    ))
}

/// Cuts `left right` merges. The model checks that they are made of its tokens; it relies on none being longer than the
/// longest token.
fn split_merges(merges: &[String], tokens: &[String]) -> Result<Merges, TextError> {
    let longest = tokens.iter().map(String::len).max().unwrap_or(0);
    let split = |merge: &String| {
        // A token may itself begin with a space, so the separator is looked for after the first character.
        let first = merge.chars().next()?.len_utf8();
        let at = merge[first..].find(' ')? + first;
        let (left, right) = (&merge[..at], &merge[at + 1..]);
        (left.len() + right.len() <= longest).then(|| (left.to_owned(), right.to_owned()))
    };
    merges
        .iter()
        .map(|merge| {
            split(merge).ok_or_else(|| {
                TextError::vocabulary(
                    MERGES,
                    format!("merge {merge:?} is not made of two tokens that make a third"),
                )
            })
        })
        .collect()
}

/// Whether a token takes part in merging: normal tokens, no bytes, no special tokens.
fn is_piece(spec: &TokenizerSpec, id: usize, token: &str) -> bool {
    match spec.token_types.as_ref().and_then(|types| types.get(id)) {
        Some(&kind) => kind == token_type::NORMAL,
        None => byte_token(token).is_none(),
    }
}

/// The unknown token: the one named, else the first of that type.
fn unknown_id(spec: &TokenizerSpec) -> Option<u32> {
    spec.unknown.or_else(|| {
        let types = spec.token_types.as_ref()?;
        let at = types.iter().position(|&kind| kind == token_type::UNKNOWN)?;
        u32::try_from(at).ok()
    })
}

fn unknown_token(spec: &TokenizerSpec) -> Option<&str> {
    let id = usize::try_from(unknown_id(spec)?).ok()?;
    spec.tokens.get(id).map(String::as_str)
}

fn space_marker_normalizer(prefix: bool) -> Result<NormalizerWrapper, TextError> {
    let replace = Replace::new(" ", SPACE_MARKER)
        .map_err(|error| TextError::vocabulary(MODEL, error.to_string()))?;
    Ok(if prefix {
        let prepend = Prepend::new(SPACE_MARKER.to_owned());
        Sequence::new(vec![prepend.into(), replace.into()]).into()
    } else {
        replace.into()
    })
}
