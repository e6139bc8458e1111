//! From a recipe and a file to a decoder.

use std::sync::Arc;

use llm_format::ModelFile;
use llm_kernels::Compute;

use super::{ProjectionNorms, Recipe, TensorNames};
use crate::LoadOptions;
use crate::config::{ModelConfig, RopeScaling};
use crate::decoder::{Decoder, Layer};
use crate::error::ModelError;
use crate::head::Head;
use crate::kv_cache::KvShape;
use crate::linear::{DenseTensor, InputNorm, Projection};
use crate::rope::RopeTable;
use crate::weights::{Tally, WeightReader};

pub(super) fn decoder(
    mut recipe: Recipe,
    file: &ModelFile,
    compute: &Compute,
    options: &LoadOptions,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Decoder, ModelError> {
    let mut reader = WeightReader::new(file, compute, recipe.rule.clone(), progress);
    if recipe.config.n_vocab == 0 {
        recipe.config.n_vocab = reader.rows_of(&weight(recipe.names.embedding))?;
    }
    let Recipe {
        config,
        names,
        tied,
        ..
    } = &recipe;
    let embedding = reader.matrix(&weight(names.embedding), config.n_vocab, config.n_embd)?;
    let ropes = ropes(&mut reader, &recipe)?;
    let layers = (0..config.n_layer).map(|index| layer(&mut reader, index, &recipe));
    let layers: Vec<Layer> = layers.collect::<Result<_, _>>()?;
    let output_norm = norm(&mut reader, &recipe, names.output_norm, config.n_embd)?;
    let head = head(&mut reader, names, *tied, &embedding, config)?;
    let tied = head.is_same(&embedding);
    let head = Head::new(head, options.head, compute);
    let mut config = recipe.config;
    fill_counts(
        &mut config,
        reader.tally,
        (!tied).then_some(&embedding),
        &head,
    );
    let kv_shape = KvShape {
        n_kv_head: config.n_kv_head,
        head_dim: config.head_dim,
        ternary: layers.iter().flat_map(Layer::kv_are_products).collect(),
    };
    Ok(Decoder {
        config,
        kv_shape: Arc::new(kv_shape),
        ropes,
        embedding,
        layers,
        output_norm,
        head,
    })
}

fn weight(module: &str) -> String {
    format!("{module}.weight")
}

/// The weights of a norm, `[len]`, whole whatever the file stores.
fn norm(
    reader: &mut WeightReader<'_>,
    recipe: &Recipe,
    module: &str,
    len: usize,
) -> Result<Vec<f32>, ModelError> {
    let mut values = reader.vector(&weight(module), len)?;
    if recipe.norms.less_one {
        values.iter_mut().for_each(|value| *value += 1.0);
    }
    Ok(values)
}

fn layer(
    reader: &mut WeightReader<'_>,
    index: usize,
    recipe: &Recipe,
) -> Result<Layer, ModelError> {
    let ModelConfig {
        n_embd,
        n_ff,
        n_head,
        n_kv_head,
        head_dim,
        ..
    } = recipe.config;
    let (q_width, kv_width) = (n_head * head_dim, n_kv_head * head_dim);
    let (names, norms) = (recipe.names.block, recipe.norms);
    let module = |name: &str| format!("{}{index}.{name}", recipe.names.block_prefix);
    let mut some_norm = |there: bool, name: &str, len| {
        there
            .then(|| norm(reader, recipe, &module(name), len))
            .transpose()
    };
    let q_norm = some_norm(norms.q_and_k, names.q_norm, head_dim)?;
    let k_norm = some_norm(norms.q_and_k, names.k_norm, head_dim)?;
    let attn_sub_norm = some_norm(norms.sub, names.attn_sub_norm, q_width)?;
    let attn_post_norm = some_norm(norms.post, names.attn_post_norm, n_embd)?;
    let ffn_sub_norm = some_norm(norms.sub, names.ffn_sub_norm, n_ff)?;
    let ffn_post_norm = some_norm(norms.post, names.ffn_post_norm, n_embd)?;
    let attn_norm = norm(reader, recipe, &module(names.attn_norm), n_embd)?;
    let ffn_norm = norm(reader, recipe, &module(names.ffn_norm), n_embd)?;
    let mut projection = |name: &str, rows, cols| {
        projection(reader, &module(name), recipe.projection_norms, rows, cols)
    };
    Ok(Layer {
        attn_norm,
        wq: projection(names.q, q_width, n_embd)?,
        wk: projection(names.k, kv_width, n_embd)?,
        wv: projection(names.v, kv_width, n_embd)?,
        q_norm,
        k_norm,
        attn_sub_norm,
        wo: projection(names.o, n_embd, q_width)?,
        attn_post_norm,
        ffn_norm,
        gate: projection(names.gate, n_ff, n_embd)?,
        up: projection(names.up, n_ff, n_embd)?,
        ffn_sub_norm,
        down: projection(names.down, n_embd, n_ff)?,
        ffn_post_norm,
        window: recipe.local.as_ref().and_then(|local| local.window(index)),
        rope: recipe.local.as_ref().map_or(0, |local| local.rope(index)),
    })
}

fn projection(
    reader: &mut WeightReader<'_>,
    module: &str,
    norms: Option<ProjectionNorms>,
    rows: usize,
    cols: usize,
) -> Result<Projection, ModelError> {
    let norm = match norms {
        Some(ProjectionNorms { suffix, eps }) => Some(InputNorm {
            weight: reader.vector(&format!("{module}{suffix}"), cols)?,
            eps,
        }),
        None => None,
    };
    Ok(Projection {
        linear: reader.linear(module, rows, cols)?,
        norm,
    })
}

/// The rotary table of all layers, and behind it the one of the local layers that have their own.
fn ropes(reader: &mut WeightReader<'_>, recipe: &Recipe) -> Result<Vec<RopeTable>, ModelError> {
    let config = &recipe.config;
    let factors = match recipe.rope_factors {
        Some(name) if reader.has(name) => Some(rope_factor_values(reader, name, config.head_dim)?),
        _ => None,
    };
    let mut ropes = vec![RopeTable::new(
        config.head_dim,
        config.rope_theta,
        config.rope_pairing,
        &config.rope_scaling,
        factors.as_deref(),
    )];
    if let Some(theta) = recipe.local.as_ref().and_then(|local| local.rope_theta) {
        // Only the layers that see everything are stretched for long contexts.
        ropes.push(RopeTable::new(
            config.head_dim,
            theta,
            config.rope_pairing,
            &RopeScaling::None,
            None,
        ));
    }
    Ok(ropes)
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
