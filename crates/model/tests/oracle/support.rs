//! The oracle's files, and a model that is fed in chunks.

use std::path::{Path, PathBuf};

use llm_kernels::{Compute, Isa, Kernels};
use llm_model::{BatchEntry, LoadOptions, Logits, LogitsOf, Model, Scratch};
use serde_json::Value;

pub(crate) fn oracle() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/oracle")
}

pub(crate) fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

pub(crate) fn ids_of(value: &Value) -> Vec<u32> {
    let id = |id: &Value| id.as_u64().unwrap() as u32;
    list(value).iter().map(id).collect()
}

pub(crate) fn compute(isa: Isa, threads: usize) -> Compute {
    Compute::new(Kernels::for_isa(isa).unwrap(), threads).unwrap()
}

pub(crate) fn open(path: &Path, compute: &Compute) -> Box<dyn Model> {
    let file = llm_format::open(path).unwrap();
    llm_model::load(&file, compute, &LoadOptions::default(), &mut |_, _| ())
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Logits of the last of `ids`, fed in chunks of `chunk`.
pub(crate) fn last_logits(
    model: &dyn Model,
    compute: &Compute,
    ids: &[u32],
    chunk: usize,
) -> Vec<f32> {
    let (mut cache, mut scratch, mut logits) =
        (model.new_cache(), Scratch::default(), Logits::default());
    let n_chunks = ids.len().div_ceil(chunk);
    for (i, tokens) in ids.chunks(chunk).enumerate() {
        let wanted = if i + 1 == n_chunks {
            LogitsOf::Last
        } else {
            LogitsOf::None
        };
        let entry = BatchEntry {
            tokens,
            cache: &mut cache,
            logits: wanted,
        };
        model
            .forward(compute, &mut scratch, &mut [entry], &mut logits)
            .unwrap();
    }
    logits.all().to_vec()
}

/// Fails unless `output(model, compute, ids, chunk)` is the same bits on every instruction set, thread count and chunking.
pub(crate) fn assert_same_bits(
    path: &Path,
    ids: &[u32],
    output: fn(&dyn Model, &Compute, &[u32], usize) -> Vec<f32>,
) {
    let of = |isa, threads, chunk| {
        let compute = compute(isa, threads);
        output(&*open(path, &compute), &compute, ids, chunk)
    };
    let reference = of(Isa::Scalar, 1, 4096);
    for isa in Isa::available() {
        for (threads, chunk) in [(1, 4096), (2, 7), (3, 1)] {
            assert!(
                of(isa, threads, chunk) == reference,
                "{} on {} with {threads} threads, chunks of {chunk}",
                path.display(),
                isa.name()
            );
        }
    }
}
