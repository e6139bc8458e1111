//! Which block order the I2_S tensors of a file have. Nothing in the file tells, but only one makes sense of a text.

use std::str::FromStr;

use llm_format::{Dtype, ModelFile};
use llm_kernels::Compute;
use llm_model::{BatchEntry, I2sOrder, Logits, LogitsOf, Model, Scratch};
use llm_text::Tokenizer;

use crate::error::EngineError;
use crate::job::negative_log_likelihood;

/// Plain words that every language model has seen, in sentences that go on as expected.
const PROBE: &str = "The sun rises in the east and sets in the west. Water boils at one hundred degrees. \
                     There are seven days in a week: Monday, Tuesday, Wednesday, Thursday, Friday, Saturday and Sunday.";

/// Nats a token by which the right order must be better. A wrong one leaves a model with next to no idea.
const LEAST_DIFFERENCE: f64 = 0.5;

/// How the I2_S tensors of a file are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum I2sLayout {
    /// As all published files are, and those that bitnet.cpp writes on x86-64.
    X86,
    /// As bitnet.cpp writes them on ARM64 since November 2025.
    Arm,
    /// In the order in which the model predicts a text better. Takes two loads.
    Detect,
}

impl FromStr for I2sLayout {
    type Err = EngineError;

    fn from_str(name: &str) -> Result<Self, EngineError> {
        match name {
            "x86" => Ok(Self::X86),
            "arm" => Ok(Self::Arm),
            "detect" => Ok(Self::Detect),
            other => Err(EngineError::invalid_option(
                "i2sLayout",
                other,
                "x86, arm or detect",
            )),
        }
    }
}

/// The model in the order that `layout` says; `load` reads it in one of them.
pub(crate) fn load_in_order(
    layout: Option<I2sLayout>,
    file: &ModelFile,
    compute: &Compute,
    tokenizer: impl FnOnce() -> Result<Tokenizer, EngineError>,
    mut load: impl FnMut(Option<I2sOrder>) -> Result<Box<dyn Model>, EngineError>,
) -> Result<Box<dyn Model>, EngineError> {
    let is_asked =
        layout == Some(I2sLayout::Detect) && file.tensors().any(|t| t.dtype == Dtype::I2S);
    if !is_asked {
        return load(match layout {
            None => None,
            Some(I2sLayout::Arm) => Some(I2sOrder::Arm),
            Some(I2sLayout::X86 | I2sLayout::Detect) => Some(I2sOrder::X86),
        });
    }
    let ids = tokenizer()?.encode(PROBE, true)?;
    let (usual, other) = (load(Some(I2sOrder::X86))?, load(Some(I2sOrder::Arm))?);
    let difference = surprise(&*usual, compute, &ids)? - surprise(&*other, compute, &ids)?;
    if difference.abs() < LEAST_DIFFERENCE || difference.is_nan() {
        return Err(EngineError::I2sLayoutUnclear);
    }
    Ok(if difference > 0.0 { other } else { usual })
}

/// Mean negative log-likelihood of the tokens of a text, in nats.
fn surprise(model: &dyn Model, compute: &Compute, ids: &[u32]) -> Result<f64, EngineError> {
    let (mut cache, mut logits) = (model.new_cache(), Logits::default());
    let entry = BatchEntry {
        tokens: ids,
        cache: &mut cache,
        logits: LogitsOf::All,
    };
    model.forward(compute, &mut Scratch::default(), &mut [entry], &mut logits)?;
    let rows = logits.all().chunks_exact(model.config().n_vocab);
    let nll: Vec<f64> = rows
        .zip(ids.iter().skip(1))
        .map(|(row, &id)| negative_log_likelihood(row, id))
        .collect();
    Ok(nll.iter().sum::<f64>() / nll.len() as f64)
}
