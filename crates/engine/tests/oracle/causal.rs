//! Model folders.

use llm_engine::{Engine, EngineError, Isa, Message, RenderOptions};
use serde_json::Value;

use crate::support::{
    argmax, assert_none, best_id, continue_greedily, distance, ids, list, number, open, path,
    read_json, text,
};

const MODELS: [&str; 8] = [
    "bitnet-2b4t",
    "bitnet-2b4t-bf16",
    "bitnet-2b4t-bf16-packed",
    "bitnet158-legacy",
    "falcon3-158",
    "llama-bf16-sharded",
    "llama-fp16",
    "llama3-158",
];

/// Of the positions of a prompt, how many must predict the same token in a model with int8 activations: a flipped
/// rounding exchanges two tokens that were close.
const SHARE_OF_POSITIONS: f64 = 0.9;

/// Prompts longer than this are left to the fastest kernels.
const SHORT: usize = 200;

struct Case {
    name: &'static str,
    goldens: Value,
}

impl Case {
    fn all() -> impl Iterator<Item = Self> {
        MODELS.into_iter().map(|name| {
            let goldens = path(&format!("testdata/oracle/models/{name}/goldens.json"));
            Self {
                name,
                goldens: read_json(&goldens),
            }
        })
    }

    fn open(&self, isa: Isa, threads: usize) -> Engine {
        open(
            &path(&format!("testdata/oracle/models/{}", self.name)),
            isa,
            threads,
        )
    }

    fn prompts(&self) -> &[Value] {
        list(&self.goldens["prompts"])
    }

    fn acceptance(&self, key: &str) -> f64 {
        number(&self.goldens["acceptance"][key])
    }

    fn has_int8_activations(&self) -> bool {
        self.goldens["acceptance"]["a8"].as_bool().unwrap()
    }
}

#[test]
fn prompts_become_the_reference_tokens() {
    let mut complaints = Vec::new();
    for case in Case::all() {
        let engine = case.open(Isa::best(), 2);
        for prompt in case.prompts() {
            let found = engine.tokenize(text(&prompt["text"]), true).unwrap();
            if found != ids(&prompt["ids"]) {
                complaints.push(format!("{}, {}: {found:?}", case.name, prompt["id"]));
            }
            if found.is_empty() {
                let refused = engine.forward(&found, false).map(drop);
                assert!(matches!(refused, Err(EngineError::EmptyPrompt)));
            }
        }
    }
    assert_none(&complaints);
}

#[test]
fn chats_are_rendered_and_encoded_as_by_the_reference() {
    let mut complaints = Vec::new();
    for case in Case::all() {
        let engine = case.open(Isa::best(), 2);
        for chat in list(&case.goldens["chat"]) {
            let complain = |what: String| format!("{}, {}: {what}", case.name, chat["id"]);
            let messages: Vec<Message> = serde_json::from_value(chat["messages"].clone()).unwrap();
            let rendered = engine.apply_chat_template(&messages, &render_options(chat));
            match (rendered, chat.get("rendered")) {
                (Ok(found), Some(expected)) if found == text(expected) => {
                    let found = engine.tokenize(&found, false).unwrap();
                    if found != ids(&chat["ids"]) {
                        complaints.push(complain(format!("ids {found:?}")));
                    }
                }
                (Err(_), None) => {}
                (found, _) => complaints.push(complain(format!("{found:?}"))),
            }
        }
    }
    assert_none(&complaints);
}

/// The goldens render the default template whatever the variables, so `tools` is one of them.
fn render_options(chat: &Value) -> RenderOptions {
    RenderOptions {
        add_generation_prompt: chat["add_generation_prompt"].as_bool().unwrap(),
        extra: chat
            .get("kwargs")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default(),
        ..RenderOptions::default()
    }
}

#[test]
fn last_logits_agree_with_the_reference() {
    let mut complaints = Vec::new();
    for case in Case::all() {
        let engine = case.open(Isa::best(), 2);
        let sample_positions = ids(&case.goldens["sample_positions"]);
        let (mut within, mut of) = (0, 0);
        for prompt in case
            .prompts()
            .iter()
            .filter(|prompt| !prompt["logits"].is_null())
        {
            let row = engine
                .forward(&ids(&prompt["ids"]), false)
                .unwrap()
                .wait()
                .unwrap();
            let (golden, tol) = (&prompt["logits"], number(&prompt["tol"]));
            let off = distance(&row, golden, &sample_positions);
            of += 1;
            within += usize::from(off <= tol);
            let decided = number(&golden["margin"]) > 2.0 * tol;
            let best = best_id(golden);
            if off > case.acceptance("all_within") || decided && argmax(&row) != best {
                complaints.push(format!("{}, {}: off by {off}", case.name, prompt["id"]));
            }
        }
        if (within as f64) < case.acceptance("share_within_tol") * of as f64 {
            complaints.push(format!(
                "{}: only {within} of {of} within their tolerance",
                case.name
            ));
        }
    }
    assert_none(&complaints);
}

#[test]
fn every_position_predicts_the_reference_token() {
    let mut complaints = Vec::new();
    for case in Case::all() {
        let engine = case.open(Isa::best(), 2);
        let n_vocab = engine.info().n_vocab;
        let (mut same, mut of) = (0, 0);
        for prompt in case
            .prompts()
            .iter()
            .filter(|prompt| prompt["argmax_by_position"].is_array())
        {
            let logits = engine
                .forward(&ids(&prompt["ids"]), true)
                .unwrap()
                .wait()
                .unwrap();
            let found: Vec<u32> = logits.chunks(n_vocab).map(argmax).collect();
            let expected = ids(&prompt["argmax_by_position"]);
            assert_eq!(found.len(), expected.len());
            of += expected.len();
            same += found.iter().zip(&expected).filter(|(a, b)| a == b).count();
        }
        let share = if case.has_int8_activations() {
            SHARE_OF_POSITIONS
        } else {
            1.0
        };
        if (same as f64) < share * of as f64 {
            complaints.push(format!("{}: {same} of {of} positions", case.name));
        }
    }
    assert_none(&complaints);
}

#[test]
fn greedy_continuations_agree_with_the_reference() {
    let mut complaints = Vec::new();
    for case in Case::all() {
        let engine = case.open(Isa::best(), 2);
        let (mut agree, mut of) = (0, 0);
        for prompt in case
            .prompts()
            .iter()
            .filter(|prompt| prompt["greedy"].is_object())
        {
            let golden = &prompt["greedy"];
            let (expected, stable) = (
                ids(&golden["ids"]),
                number(&golden["stable_steps"]) as usize,
            );
            let (found_text, found) =
                continue_greedily(&engine, ids(&prompt["ids"]), expected.len());
            of += 1;
            agree += usize::from(found.token_ids[..stable] == expected[..stable]);
            // Golden text shows special tokens, streamed text leaves them out.
            let shown = engine.detokenize(&expected, false);
            let streamed = engine.detokenize(&found.token_ids, true);
            if shown != text(&golden["text"]) || streamed != found_text {
                let what = format!("{shown:?}, streamed {found_text:?}");
                complaints.push(format!("{}, {}: {what}", case.name, prompt["id"]));
            }
        }
        if (agree as f64) < case.acceptance("share_greedy") * of as f64 {
            complaints.push(format!("{}: only {agree} of {of} continuations", case.name));
        }
    }
    assert_none(&complaints);
}

#[test]
fn perplexities_agree_with_the_reference() {
    let mut complaints = Vec::new();
    for case in Case::all() {
        let engine = case.open(Isa::best(), 2);
        for golden in list(&case.goldens["nll"]) {
            let found = engine
                .perplexity(text(&golden["text"]))
                .unwrap()
                .wait()
                .unwrap();
            let expected: Vec<f64> = list(&golden["nll"]).iter().map(number).collect();
            assert_eq!(found.nll.len(), expected.len());
            let off = found
                .nll
                .iter()
                .zip(&expected)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f64::max);
            let mean_off = (found.mean_nll - number(&golden["mean"])).abs();
            let (tol, mean_tol) = (number(&golden["tol_position"]), number(&golden["tol_mean"]));
            if off > tol || mean_off > mean_tol {
                let what = format!("off by {off} (allowed {tol}), mean by {mean_off} ({mean_tol})");
                complaints.push(format!("{}: {what}", case.name));
            }
        }
    }
    assert_none(&complaints);
}

#[test]
fn every_instruction_set_and_thread_count_gives_the_same_bits() {
    let mut complaints = Vec::new();
    for case in Case::all() {
        let mut reference: Option<Vec<Vec<u32>>> = None;
        for isa in Isa::available() {
            for threads in [1, 2] {
                let engine = case.open(isa, threads);
                let prompts = case.prompts().iter().map(|prompt| ids(&prompt["ids"]));
                let runs = prompts
                    .filter(|ids| (1..=SHORT).contains(&ids.len()))
                    .map(|ids| bits(&engine.forward(&ids, true).unwrap().wait().unwrap()))
                    .collect();
                match &reference {
                    None => reference = Some(runs),
                    Some(reference) if *reference == runs => {}
                    Some(_) => complaints.push(format!("{}: {isa}, {threads} threads", case.name)),
                }
            }
        }
    }
    assert_none(&complaints);
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|logit| logit.to_bits()).collect()
}

/// The prompt is read in chunks and the answer token by token, both from the cache; reading all at once gives the same.
#[test]
fn an_answer_is_what_reading_it_at_once_predicts() {
    let mut complaints = Vec::new();
    for case in Case::all() {
        let engine = case.open(Isa::best(), 1);
        let n_vocab = engine.info().n_vocab;
        for prompt in case.prompts() {
            let prompt_ids = ids(&prompt["ids"]);
            if !(1..=SHORT).contains(&prompt_ids.len()) {
                continue;
            }
            let answer = continue_greedily(&engine, prompt_ids.clone(), 12)
                .1
                .token_ids;
            let whole = [&prompt_ids[..], &answer[..11]].concat();
            let logits = engine.forward(&whole, true).unwrap().wait().unwrap();
            let rows = logits.chunks(n_vocab).skip(prompt_ids.len() - 1);
            let predicted: Vec<u32> = rows.map(argmax).collect();
            if predicted != answer {
                complaints.push(format!("{}, {}", case.name, prompt["id"]));
            }
        }
    }
    assert_none(&complaints);
}
