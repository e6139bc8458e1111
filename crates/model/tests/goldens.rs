//! The forward pass against the oracle's golden logits, by the acceptance rules of its README: the share of prompts
//! within their tolerance, all within the widest one, the top token wherever its margin is safe.

use std::path::{Path, PathBuf};

use llm_kernels::{Compute, Isa, Kernels};
use llm_model::{BatchEntry, HeadMode, LoadOptions, Logits, LogitsOf, LogitsRow, Model, Scratch};
use serde_json::Value;

fn oracle() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/oracle")
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn compute(isa: Isa, threads: usize) -> Compute {
    Compute::new(Kernels::for_isa(isa).unwrap(), threads).unwrap()
}

fn open(path: &Path, compute: &Compute) -> Box<dyn Model> {
    let file = llm_format::open(path).unwrap();
    llm_model::load(&file, compute, &LoadOptions::default(), &mut |_, _| ())
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Logits of the last of `ids`, fed in chunks of `chunk`.
fn last_logits(model: &dyn Model, compute: &Compute, ids: &[u32], chunk: usize) -> Vec<f32> {
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

fn ids_of(value: &Value) -> Vec<u32> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|id| id.as_u64().unwrap() as u32)
        .collect()
}

/// The largest difference to the golden logits of a prompt, and whether its top token must and does agree.
fn compare(logits: &[f32], golden: &Value, positions: &[u32], tol: f64) -> (f64, bool) {
    let mut worst = 0f64;
    let top = golden["top"].as_array().unwrap();
    for pair in top {
        let id = pair[0].as_u64().unwrap() as usize;
        worst = worst.max((f64::from(logits[id]) - pair[1].as_f64().unwrap()).abs());
    }
    for (&id, value) in positions.iter().zip(golden["sample"].as_array().unwrap()) {
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
            golden["prompts"].as_array().unwrap(),
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
        let prompts = golden["prompts"].as_array().unwrap();
        let ids = prompts
            .iter()
            .map(|prompt| ids_of(&prompt["ids"]))
            .max_by_key(Vec::len)
            .unwrap();
        let base = compute(Isa::Scalar, 1);
        let reference = last_logits(&*open(&path, &base), &base, &ids, 4096);
        for isa in Isa::available() {
            for (threads, chunk) in [(1, 4096), (2, 7), (3, 1)] {
                let compute = compute(isa, threads);
                let logits = last_logits(&*open(&path, &compute), &compute, &ids, chunk);
                assert!(
                    logits == reference,
                    "{name} on {} with {threads} threads, chunks of {chunk}",
                    isa.name()
                );
            }
        }
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

/// The oracle's vocabularies are too small to be searched, so this writes a model with a large one.
#[test]
fn the_searched_head_gives_the_largest_logits_of_the_whole_head() {
    let folder = tempfile::tempdir().unwrap();
    let (vocab, embd) = (9001, 64);
    write_large_vocabulary(folder.path(), vocab, embd);
    for isa in Isa::available() {
        let compute = compute(isa, 2);
        let file = llm_format::open(folder.path()).unwrap();
        let open = |head| {
            let options = LoadOptions {
                head,
                ..LoadOptions::default()
            };
            llm_model::load(&file, &compute, &options, &mut |_, _| ()).unwrap()
        };
        let (searched, whole) = (open(HeadMode::Auto), open(HeadMode::Full));
        let (with_copy, without) = (searched.config(), whole.config());
        assert!(with_copy.head_searched && !without.head_searched);
        assert!(with_copy.resident_bytes >= without.resident_bytes + (vocab * embd) as u64);
        assert!(with_copy.weight_bytes < without.weight_bytes);
        let mut found_by_search = 0;
        for first in 0..20 {
            let ids: Vec<u32> = (0..9)
                .map(|i| (first * 431 + i * 97) % vocab as u32)
                .collect();
            let all = last_logits(&*whole, &compute, &ids, 4);
            for k in [1, 40] {
                let (mut cache, mut logits) = (searched.new_cache(), Logits::default());
                let entry = BatchEntry {
                    tokens: &ids,
                    cache: &mut cache,
                    logits: LogitsOf::Top(k),
                };
                searched
                    .forward(&compute, &mut Scratch::default(), &mut [entry], &mut logits)
                    .unwrap();
                let Some(LogitsRow::Top(top)) = logits.rows().next() else {
                    continue;
                };
                found_by_search += 1;
                let mut order: Vec<u32> = (0..vocab as u32).collect();
                order.sort_by(|&a, &b| all[b as usize].total_cmp(&all[a as usize]));
                for &id in &order[..k] {
                    assert!(
                        top.contains(&(id, all[id as usize])),
                        "{isa:?}: {id} of the {k} largest is missing"
                    );
                }
                assert!(top.iter().all(|&(id, logit)| all[id as usize] == logit));
            }
        }
        assert!(
            found_by_search > 20,
            "{isa:?}: the search gave up too often"
        );
    }
}

#[test]
fn each_token_s_largest_logits_are_those_that_it_has_as_the_last_one() {
    let folder = tempfile::tempdir().unwrap();
    write_large_vocabulary(folder.path(), 9001, 64);
    let compute = compute(Isa::best(), 2);
    let model = open(folder.path(), &compute);
    let ids: Vec<u32> = (0..14).map(|i| i * 613 % 9001).collect();
    let rows_of = |tokens: &[u32], wanted| {
        let (mut cache, mut logits) = (model.new_cache(), Logits::default());
        let entry = BatchEntry {
            tokens,
            cache: &mut cache,
            logits: wanted,
        };
        model
            .forward(&compute, &mut Scratch::default(), &mut [entry], &mut logits)
            .unwrap();
        let row = |row| match row {
            LogitsRow::Top(top) => top.to_vec(),
            LogitsRow::All(all) => (0..).zip(all.iter().copied()).collect(),
        };
        logits.rows().map(row).collect::<Vec<_>>()
    };
    let mut searched = 0;
    for wanted in [LogitsOf::Top(1), LogitsOf::Top(40), LogitsOf::Last] {
        let each = rows_of(&ids, wanted.of_each());
        assert_eq!(each.len(), ids.len());
        searched += usize::from(each[0].len() < 9001);
        for (n, row) in (1..).zip(&each) {
            let last = rows_of(&ids[..n], wanted).remove(0);
            // Where one of the rows cannot be searched, all come whole.
            let agree = |(id, logit): &(u32, f32)| {
                row.iter()
                    .find(|(other, _)| other == id)
                    .is_some_and(|(_, other)| other == logit)
            };
            assert!(last.iter().all(agree), "{wanted:?} after {n}");
        }
    }
    assert!(searched > 0, "the search gave up each time");
}

/// A dense one-layer Llama of random weights, in the layout of a Hugging Face folder.
fn write_large_vocabulary(folder: &Path, vocab: usize, embd: usize) {
    let config = serde_json::json!({
        "architectures": ["LlamaForCausalLM"], "hidden_size": embd, "intermediate_size": embd, "num_hidden_layers": 1,
        "num_attention_heads": 2, "vocab_size": vocab, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
        "tie_word_embeddings": true
    });
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let mut shapes = vec![
        ("model.embed_tokens".to_owned(), vec![vocab, embd]),
        ("model.norm".to_owned(), vec![embd]),
    ];
    for name in ["q_proj", "k_proj", "v_proj", "o_proj"] {
        shapes.push((format!("model.layers.0.self_attn.{name}"), vec![embd, embd]));
    }
    for name in ["gate_proj", "up_proj", "down_proj"] {
        shapes.push((format!("model.layers.0.mlp.{name}"), vec![embd, embd]));
    }
    for name in ["input_layernorm", "post_attention_layernorm"] {
        shapes.push((format!("model.layers.0.{name}"), vec![embd]));
    }
    let (mut header, mut data, mut state) = (serde_json::Map::new(), Vec::new(), 1u32);
    for (name, shape) in shapes {
        let begin = data.len();
        for _ in 0..shape.iter().product::<usize>() {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let value = if shape.len() == 1 {
                1.0
            } else {
                (state >> 8) as f32 / (1 << 24) as f32 - 0.5
            };
            data.extend_from_slice(&value.to_le_bytes());
        }
        let entry = serde_json::json!({ "dtype": "F32", "shape": shape, "data_offsets": [begin, data.len()] });
        header.insert(format!("{name}.weight"), entry);
    }
    let header = Value::Object(header).to_string();
    let file = [
        &(header.len() as u64).to_le_bytes(),
        header.as_bytes(),
        &data,
    ]
    .concat();
    std::fs::write(folder.join("model.safetensors"), file).unwrap();
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
