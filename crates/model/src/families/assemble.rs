//! From a recipe and a file to a decoder.

use std::sync::Arc;

use llm_format::ModelFile;
use llm_kernels::Compute;

use super::Recipe;
use crate::LoadOptions;
use crate::config::{ModelConfig, RopeScaling};
use crate::decoder::{Decoder, Layer};
use crate::error::ModelError;
use crate::head::Head;
use crate::kv_cache::KvShape;
use crate::linear::{DenseTensor, InputNorm, Projection};
use crate::roles::{NormKind, ProjectionKind, Role};
use crate::rope::RopeTable;
use crate::weights::{Tally, WeightReader};

pub(super) fn decoder(
    recipe: Recipe,
    file: &ModelFile,
    compute: &Compute,
    options: &LoadOptions,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Decoder, ModelError> {
    let mut reader = WeightReader::new(file, compute, options, recipe.rule.clone(), progress);
    let (config, names) = (&recipe.config, &recipe.names);
    let embedding = reader.matrix(&names.of(Role::Embedding), config.n_vocab, config.n_embd)?;
    let ropes = ropes(&mut reader, &recipe)?;
    let layers = (0..config.n_layer).map(|index| layer(&mut reader, index, &recipe));
    let layers: Vec<Layer> = layers.collect::<Result<_, _>>()?;
    let output_norm = recipe.norm(&mut reader, Role::OutputNorm)?;
    let head = if recipe.is_tied {
        embedding.clone()
    } else {
        reader.matrix(&names.of(Role::Head), config.n_vocab, config.n_embd)?
    };
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

fn layer(
    reader: &mut WeightReader<'_>,
    index: usize,
    recipe: &Recipe,
) -> Result<Layer, ModelError> {
    let norms = recipe.norms;
    let mut norm = |kind| recipe.norm(reader, Role::Norm(index, kind));
    let attn_norm = norm(NormKind::Attention)?;
    let ffn_norm = norm(NormKind::FeedForward)?;
    let mut some_norm = |there: bool, kind| there.then(|| norm(kind)).transpose();
    let q_norm = some_norm(norms.q_and_k, NormKind::Query)?;
    let k_norm = some_norm(norms.q_and_k, NormKind::Key)?;
    let attn_sub_norm = some_norm(norms.sub, NormKind::AttentionSub)?;
    let attn_post_norm = some_norm(norms.post, NormKind::AttentionPost)?;
    let ffn_sub_norm = some_norm(norms.sub, NormKind::FeedForwardSub)?;
    let ffn_post_norm = some_norm(norms.post, NormKind::FeedForwardPost)?;
    let mut projection = |kind| projection(reader, recipe, index, kind);
    Ok(Layer {
        attn_norm,
        wq: projection(ProjectionKind::Query)?,
        wk: projection(ProjectionKind::Key)?,
        wv: projection(ProjectionKind::Value)?,
        q_norm,
        k_norm,
        attn_sub_norm,
        wo: projection(ProjectionKind::Output)?,
        attn_post_norm,
        ffn_norm,
        gate: projection(ProjectionKind::Gate)?,
        up: projection(ProjectionKind::Up)?,
        ffn_sub_norm,
        down: projection(ProjectionKind::Down)?,
        ffn_post_norm,
        window: recipe.local.as_ref().and_then(|local| local.window(index)),
        rope: recipe.local.as_ref().map_or(0, |local| local.rope(index)),
    })
}

fn projection(
    reader: &mut WeightReader<'_>,
    recipe: &Recipe,
    layer: usize,
    kind: ProjectionKind,
) -> Result<Projection, ModelError> {
    let [rows, cols] = kind.shape(&recipe.config);
    let norm = match recipe.projection_norms {
        Some(eps) => Some(InputNorm {
            weight: reader.vector(&recipe.names.of(Role::InputNorm(layer, kind)), cols)?,
            eps,
        }),
        None => None,
    };
    Ok(Projection {
        linear: reader.linear(&recipe.names.module(layer, kind), rows, cols)?,
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
        &config.rope_scaling,
        factors.as_deref(),
    )];
    if let Some(theta) = recipe.local.as_ref().and_then(|local| local.rope_theta) {
        // Only the layers that see everything are stretched for long contexts.
        ropes.push(RopeTable::new(
            config.head_dim,
            theta,
            &RopeScaling::None,
            None,
        ));
    }
    Ok(ropes)
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
