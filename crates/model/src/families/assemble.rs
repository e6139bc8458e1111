//! From a recipe and a file to a decoder.

use std::sync::Arc;

use llm_format::ModelFile;
use llm_kernels::Compute;

use super::{BlockNames, Recipe, TensorNames};
use crate::LoadOptions;
use crate::config::ModelConfig;
use crate::decoder::{Decoder, Layer};
use crate::error::ModelError;
use crate::head::Head;
use crate::kv_cache::KvShape;
use crate::linear::DenseTensor;
use crate::rope::RopeTable;
use crate::weights::{Tally, WeightReader};

pub(super) fn decoder(
    recipe: Recipe,
    file: &ModelFile,
    compute: &Compute,
    options: &LoadOptions,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Decoder, ModelError> {
    let Recipe {
        mut config,
        names,
        sub_norms,
        rule,
        tied,
        rope_factors,
    } = recipe;
    let mut reader = WeightReader::new(file, compute, rule, progress);
    if config.n_vocab == 0 {
        config.n_vocab = reader.rows_of(&weight(names.embedding))?;
    }
    let embedding = reader.matrix(&weight(names.embedding), config.n_vocab, config.n_embd)?;
    let factors = match rope_factors {
        Some(name) if reader.has(name) => {
            Some(rope_factor_values(&mut reader, name, config.head_dim)?)
        }
        _ => None,
    };
    let mut layers: Vec<Layer> = Vec::new();
    for index in 0..config.n_layer {
        let prefix = format!("{}{index}.", names.block_prefix);
        layers.push(layer(
            &mut reader,
            &prefix,
            names.block,
            sub_norms,
            &config,
        )?);
    }
    let output_norm = reader.vector(&weight(names.output_norm), config.n_embd)?;
    let head = head(&mut reader, &names, tied, &embedding, &config)?;
    let tied = head.is_same(&embedding);
    let head = Head::new(head, options.head, compute);
    let rope = RopeTable::new(
        config.head_dim,
        config.rope_theta,
        config.rope_pairing,
        &config.rope_scaling,
        factors.as_deref(),
    );
    fill_counts(
        &mut config,
        reader.tally,
        (!tied).then_some(&embedding),
        &head,
    );
    let kv_shape = KvShape {
        n_kv_head: config.n_kv_head,
        head_dim: config.head_dim,
        ternary: layers
            .iter()
            .map(|layer| [layer.wk.is_ternary(), layer.wv.is_ternary()])
            .collect(),
    };
    Ok(Decoder {
        config,
        kv_shape: Arc::new(kv_shape),
        rope,
        embedding,
        layers,
        output_norm,
        head,
    })
}

fn weight(module: &str) -> String {
    format!("{module}.weight")
}

fn layer(
    reader: &mut WeightReader<'_>,
    prefix: &str,
    names: &BlockNames,
    sub_norms: bool,
    config: &ModelConfig,
) -> Result<Layer, ModelError> {
    let ModelConfig {
        n_embd,
        n_ff,
        n_head,
        n_kv_head,
        head_dim,
        ..
    } = *config;
    let (q_width, kv_width) = (n_head * head_dim, n_kv_head * head_dim);
    let module = |name: &str| format!("{prefix}{name}");
    let norm = |name: &str| weight(&module(name));
    Ok(Layer {
        attn_norm: reader.vector(&norm(names.attn_norm), n_embd)?,
        wq: reader.linear(&module(names.q), q_width, n_embd)?,
        wk: reader.linear(&module(names.k), kv_width, n_embd)?,
        wv: reader.linear(&module(names.v), kv_width, n_embd)?,
        attn_sub_norm: sub_norms
            .then(|| reader.vector(&norm(names.attn_sub_norm), q_width))
            .transpose()?,
        wo: reader.linear(&module(names.o), n_embd, q_width)?,
        ffn_norm: reader.vector(&norm(names.ffn_norm), n_embd)?,
        gate: reader.linear(&module(names.gate), n_ff, n_embd)?,
        up: reader.linear(&module(names.up), n_ff, n_embd)?,
        ffn_sub_norm: sub_norms
            .then(|| reader.vector(&norm(names.ffn_sub_norm), n_ff))
            .transpose()?,
        down: reader.linear(&module(names.down), n_embd, n_ff)?,
    })
}

/// The head: a matrix of its own, or the embedding.
fn head(
    reader: &mut WeightReader<'_>,
    names: &TensorNames,
    tied: Option<bool>,
    embedding: &DenseTensor,
    config: &ModelConfig,
) -> Result<DenseTensor, ModelError> {
    let name = weight(names.head);
    if tied.unwrap_or_else(|| !reader.has(&name)) {
        Ok(embedding.clone())
    } else {
        reader.matrix(&name, config.n_vocab, config.n_embd)
    }
}

fn rope_factor_values(
    reader: &mut WeightReader<'_>,
    name: &str,
    head_dim: usize,
) -> Result<Vec<f32>, ModelError> {
    let factors = reader.vector(name, head_dim / 2)?;
    match factors.iter().find(|&&factor| factor <= 0.0) {
        Some(bad) => Err(ModelError::TensorValue {
            name: name.to_owned(),
            found: format!("a factor of {bad}"),
        }),
        None => Ok(factors),
    }
}

/// `apart`: the embedding, where it is not the head as well.
fn fill_counts(config: &mut ModelConfig, tally: Tally, apart: Option<&DenseTensor>, head: &Head) {
    config.parameters = tally.parameters;
    config.ternary_parameters = tally.ternary_parameters;
    config.head_searched = head.is_searched();
    config.resident_bytes = tally.resident_bytes + head.coarse_bytes() as u64;
    config.bits_per_weight = tally.stored_bytes as f64 * 8.0 / tally.parameters.max(1) as f64;
    // A decoded token reads everything but the embedding, of which it reads one row, and what its head reads.
    let dense = head.weight_bytes() + apart.map_or(0, DenseTensor::n_bytes);
    config.weight_bytes = tally.stored_bytes - dense as u64 + head.bytes_per_token() as u64;
    config.weight_types = format!(
        "projections {}, head {}",
        tally.projection_types.join("+"),
        head.describe()
    );
    config.all_zero_tensors = tally.all_zero;
}
