//! The searched head against the whole one. The oracle's vocabularies are too small to be searched, so these tests write a model
//! with a large one.

use std::path::Path;

use llm_kernels::Isa;
use llm_model::{BatchEntry, HeadMode, LoadOptions, Logits, LogitsOf, LogitsRow, Scratch};
use serde_json::Value;

use crate::support::{compute, last_logits, open};

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
