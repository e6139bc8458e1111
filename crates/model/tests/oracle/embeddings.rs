//! The backbones of embedding models against the oracle's golden embeddings, by the acceptance rule of its README: three
//! quarters of the texts within their tolerance in every component, and the direction of all of them.

use llm_kernels::{Compute, Isa};
use llm_model::{BatchEntry, KvCache, LogitsOf, Model, Pooling, Scratch};
use serde_json::Value;

use crate::support::{assert_same_bits, compute, ids_of, list, open, oracle, read};

const SHARE_WITHIN_TOL: f64 = 0.75;
const LEAST_COSINE: f64 = 0.998;

/// The last token's normed hidden state, of tokens fed in chunks of `chunk`.
fn last_state(model: &dyn Model, compute: &Compute, ids: &[u32], chunk: usize) -> Vec<f32> {
    let (mut cache, mut scratch, mut hidden) = (model.new_cache(), Scratch::default(), Vec::new());
    for tokens in ids.chunks(chunk) {
        let entry = BatchEntry {
            tokens,
            cache: &mut cache,
            logits: LogitsOf::Last,
        };
        model
            .hidden_states(compute, &mut scratch, &mut [entry], &mut hidden)
            .unwrap();
    }
    hidden
}

/// What is wrong with the embeddings that `model` gives for the texts of `goldens`.
fn check(model: &dyn Model, goldens: &[Value]) -> Vec<String> {
    let compute = compute(Isa::best(), 2);
    let (mut within, mut wrong) = (0, Vec::new());
    for golden in goldens {
        let hidden = last_state(model, &compute, &ids_of(&golden["ids"]), 512);
        let length = hidden.iter().map(|x| f64::from(x * x)).sum::<f64>().sqrt();
        let found: Vec<f64> = hidden.iter().map(|&x| f64::from(x) / length).collect();
        let expected: Vec<f64> = list(&golden["embedding"])
            .iter()
            .map(|x| x.as_f64().unwrap())
            .collect();
        let pairs = || found.iter().zip(&expected);
        let worst = pairs().map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        let cosine: f64 = pairs().map(|(a, b)| a * b).sum();
        within += usize::from(worst <= golden["tol"].as_f64().unwrap());
        if cosine < LEAST_COSINE {
            wrong.push(format!("{}: cosine {cosine}", golden["text"]));
        }
    }
    if (within as f64) < SHARE_WITHIN_TOL * goldens.len() as f64 {
        wrong.push(format!(
            "only {within} of {} within tolerance",
            goldens.len()
        ));
    }
    wrong
}

#[test]
fn folders_and_gguf_files_give_the_golden_embeddings() {
    let compute = compute(Isa::best(), 2);
    let mut wrong = Vec::new();
    for name in ["qwen3-embed", "gemma3-embed"] {
        let folder = oracle().join("models").join(name);
        let file = oracle().join("gguf").join(format!("{name}.I2_S.gguf"));
        let of_folder = read(&folder.join("goldens.json"));
        let of_file = read(&file.with_extension("goldens.json"));
        for (path, goldens) in [
            (&folder, &of_folder["embeddings"]),
            (&file, &of_file["modes"]["a8"]),
        ] {
            let model = open(path, &compute);
            assert_eq!(
                model.config().pooling,
                Pooling::LastToken,
                "{}",
                path.display()
            );
            assert!(model.config().ternary_parameters > 0, "{}", path.display());
            let found = check(&*model, list(goldens));
            wrong.extend(
                found
                    .into_iter()
                    .map(|text| format!("{}: {text}", path.display())),
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn hidden_states_are_the_same_bits_on_every_isa_thread_count_and_chunking() {
    for name in ["qwen3-embed", "gemma3-embed"] {
        let path = oracle().join("models").join(name);
        let goldens = read(&path.join("goldens.json"));
        let texts = list(&goldens["embeddings"])
            .iter()
            .map(|golden| ids_of(&golden["ids"]));
        // Beyond the window of the local layers.
        let ids = texts.max_by_key(Vec::len).unwrap();
        assert_same_bits(&path, &ids, last_state);
    }
}

#[test]
fn hidden_states_come_in_the_order_of_the_entries_and_of_the_wanted_positions() {
    let compute = compute(Isa::best(), 2);
    let model = open(&oracle().join("models/gemma3-embed"), &compute);
    let texts: [&[u32]; 3] = [&[2, 361, 531], &[2, 278, 276, 1], &[2, 304]];
    let wanted = [LogitsOf::All, LogitsOf::None, LogitsOf::Last];
    let mut caches: Vec<KvCache> = texts.iter().map(|_| model.new_cache()).collect();
    let mut batch: Vec<BatchEntry<'_>> = texts
        .iter()
        .zip(&mut caches)
        .zip(wanted)
        .map(|((tokens, cache), logits)| BatchEntry {
            tokens,
            cache,
            logits,
        })
        .collect();
    let mut hidden = Vec::new();
    model
        .hidden_states(&compute, &mut Scratch::default(), &mut batch, &mut hidden)
        .unwrap();
    let expected: Vec<Vec<f32>> = [&texts[0][..1], &texts[0][..2], texts[0], texts[2]]
        .iter()
        .map(|ids| last_state(&*model, &compute, ids, 64))
        .collect();
    assert!(hidden == expected.concat());
}
