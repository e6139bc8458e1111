//! The forward pass against the oracle's golden logits, by the acceptance rules of its README: the share of prompts
//! within their tolerance, all within the widest one, the top token wherever its margin is safe.

use llm_kernels::Isa;
use llm_model::{BatchEntry, Logits, LogitsOf, Model, Scratch};
use serde_json::Value;

use crate::support::{assert_same_bits, compute, ids_of, last_logits, list, open, oracle, read};

/// The largest difference to the golden logits of a prompt, and whether its top token must and does agree.
fn compare(logits: &[f32], golden: &Value, positions: &[u32], tol: f64) -> (f64, bool) {
    let mut worst = 0f64;
    let top = list(&golden["top"]);
    for pair in top {
        let id = pair[0].as_u64().unwrap() as usize;
        worst = worst.max((f64::from(logits[id]) - pair[1].as_f64().unwrap()).abs());
    }
    for (&id, value) in positions.iter().zip(list(&golden["sample"])) {
        worst = worst.max((f64::from(logits[id as usize]) - value.as_f64().unwrap()).abs());
    }
    let best = (0..logits.len())
        .max_by(|&a, &b| logits[a].total_cmp(&logits[b]))
        .unwrap();
    let same_top = best as u64 == top[0][0].as_u64().unwrap();
    (
        worst,
        same_top || golden["margin"].as_f64().unwrap() <= 2.0 * tol,
    )
}

/// Checks the prompts of a golden list; returns what is wrong.
fn check(
    model: &dyn Model,
    prompts: &[Value],
    positions: &[u32],
    share: f64,
    all_within: f64,
) -> Vec<String> {
    let compute = compute(Isa::best(), 2);
    let (mut within, mut total, mut wrong) = (0, 0, Vec::new());
    let mut worsts = Vec::new();
    for prompt in prompts.iter().filter(|prompt| !prompt["logits"].is_null()) {
        let ids = ids_of(&prompt["ids"]);
        let tol = prompt["tol"].as_f64().unwrap();
        let logits = last_logits(model, &compute, &ids, 512);
        let (worst, top_ok) = compare(&logits, &prompt["logits"], positions, tol);
        total += 1;
        within += usize::from(worst <= tol);
        worsts.push(format!("{} {worst:.2e} (tol {tol})", prompt["id"]));
        if worst > all_within || !top_ok {
            wrong.push(format!(
                "{}: off by {worst}, top token right: {top_ok}",
                prompt["id"]
            ));
        }
    }
    if (within as f64) < share * total as f64 {
        wrong.push(format!(
            "only {within} of {total} within tolerance: {}",
            worsts.join(", ")
        ));
    }
    wrong
}

const FOLDERS: [&str; 8] = [
    "bitnet-2b4t",
    "bitnet-2b4t-bf16",
    "bitnet-2b4t-bf16-packed",
    "bitnet158-legacy",
    "falcon3-158",
    "llama-bf16-sharded",
    "llama-fp16",
    "llama3-158",
];

#[test]
fn folders_give_the_golden_logits() {
    let mut wrong = Vec::new();
    for name in FOLDERS {
        let path = oracle().join("models").join(name);
        let golden = read(&path.join("goldens.json"));
        let model = open(&path, &compute(Isa::best(), 2));
        let rule = &golden["acceptance"];
        let positions = ids_of(&golden["sample_positions"]);
        let found = check(
            &*model,
            list(&golden["prompts"]),
            &positions,
            rule["share_within_tol"].as_f64().unwrap(),
            rule["all_within"].as_f64().unwrap(),
        );
        wrong.extend(found.into_iter().map(|text| format!("{name}: {text}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// I2_S and TQ files run with int8 activations (`a8`), all others with f32 ones.
#[test]
fn gguf_files_give_the_golden_logits() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for entry in std::fs::read_dir(oracle().join("gguf")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".gguf") || name.contains("embed") {
            continue;
        }
        seen += 1;
        let golden = read(&path.with_extension("goldens.json"));
        let model = open(&path, &compute(Isa::best(), 2));
        let ternary = model.config().ternary_parameters > 0;
        let (mode, share, all_within) = if ternary {
            ("a8", 0.6, 1.5)
        } else {
            ("f32", 1.0, f64::INFINITY)
        };
        let prompts = golden["modes"][mode]
            .as_array()
            .unwrap_or_else(|| panic!("{name} lacks {mode}"));
        let found = check(
            &*model,
            prompts,
            &ids_of(&golden["sample_positions"]),
            share,
            all_within,
        );
        wrong.extend(found.into_iter().map(|text| format!("{name}: {text}")));
    }
    assert_eq!(seen, 17, "oracle GGUF files");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn logits_are_the_same_bits_on_every_isa_thread_count_and_chunking() {
    for name in ["bitnet-2b4t", "llama-fp16", "falcon3-158"] {
        let path = oracle().join("models").join(name);
        let golden = read(&path.join("goldens.json"));
        let prompts = list(&golden["prompts"]);
        let ids = prompts
            .iter()
            .map(|prompt| ids_of(&prompt["ids"]))
            .max_by_key(Vec::len)
            .unwrap();
        assert_same_bits(&path, &ids, last_logits);
    }
}

#[test]
fn sequences_in_one_batch_do_not_touch_each_other() {
    let compute = compute(Isa::best(), 2);
    let model = open(&oracle().join("models/bitnet-2b4t"), &compute);
    let (a, b) = ([500, 39, 354, 75], [500, 7, 8, 9, 10, 11]);
    let alone = [
        last_logits(&*model, &compute, &a, 64),
        last_logits(&*model, &compute, &b, 64),
    ]
    .concat();
    let (mut first, mut second) = (model.new_cache(), model.new_cache());
    let (mut scratch, mut logits) = (Scratch::default(), Logits::default());
    let mut batch = [
        BatchEntry {
            tokens: &a,
            cache: &mut first,
            logits: LogitsOf::Last,
        },
        BatchEntry {
            tokens: &b,
            cache: &mut second,
            logits: LogitsOf::Last,
        },
    ];
    model
        .forward(&compute, &mut scratch, &mut batch, &mut logits)
        .unwrap();
    assert!(logits.all() == alone);
}

#[test]
fn a_truncated_cache_goes_on_as_if_the_rest_had_never_been() {
    let compute = compute(Isa::best(), 1);
    let model = open(&oracle().join("models/bitnet-2b4t"), &compute);
    let (mut cache, mut scratch, mut logits) =
        (model.new_cache(), Scratch::default(), Logits::default());
    for tokens in [&[500u32, 39, 354, 75][..], &[1, 2, 3]] {
        let entry = BatchEntry {
            tokens,
            cache: &mut cache,
            logits: LogitsOf::Last,
        };
        model
            .forward(&compute, &mut scratch, &mut [entry], &mut logits)
            .unwrap();
    }
    cache.truncate(4);
    let entry = BatchEntry {
        tokens: &[9],
        cache: &mut cache,
        logits: LogitsOf::Last,
    };
    model
        .forward(&compute, &mut scratch, &mut [entry], &mut logits)
        .unwrap();
    assert!(logits.all() == last_logits(&*model, &compute, &[500, 39, 354, 75, 9], 64));
}

#[test]
fn a_token_outside_the_vocabulary_is_refused_and_the_cache_kept() {
    let compute = compute(Isa::best(), 1);
    let model = open(&oracle().join("models/bitnet-2b4t"), &compute);
    let (mut cache, mut scratch, mut logits) =
        (model.new_cache(), Scratch::default(), Logits::default());
    let entry = BatchEntry {
        tokens: &[1, 512],
        cache: &mut cache,
        logits: LogitsOf::Last,
    };
    let error = model
        .forward(&compute, &mut scratch, &mut [entry], &mut logits)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "token id 512 is outside the model's vocabulary of 512"
    );
    assert!(cache.is_empty());
}

/// A prompt that is read in chunks, over more than one block of 64 positions.
#[test]
fn keys_and_values_take_16_bits_in_ternary_models_and_32_in_dense_ones() {
    for (name, bits) in [("bitnet-2b4t", 16), ("llama3-158", 16), ("llama-fp16", 32)] {
        let compute = compute(Isa::best(), 2);
        let model = open(&oracle().join("models").join(name), &compute);
        let (mut cache, mut logits) = (model.new_cache(), Logits::default());
        for _ in 0..5 {
            let entry = BatchEntry {
                tokens: &[3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3],
                cache: &mut cache,
                logits: LogitsOf::None,
            };
            model
                .forward(&compute, &mut Scratch::default(), &mut [entry], &mut logits)
                .unwrap();
        }
        let config = model.config();
        let rows = 128 * config.n_layer;
        // Values are padded to whole vectors, keys to whole pairs.
        let padded = [2, 32].map(|to| config.head_dim.next_multiple_of(to));
        let numbers = rows * config.n_kv_head * padded.iter().sum::<usize>();
        let factors = if bits == 16 { 2 * 4 * rows } else { 0 };
        assert_eq!(cache.bytes(), numbers * bits / 8 + factors, "{name}");
    }
}
