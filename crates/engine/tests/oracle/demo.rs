//! The model that ships with the package.

use llm_engine::{
    ContextOverflow, Engine, EngineConfig, EngineError, FinishReason, GenerateRequest, Isa,
    LoadPhase, Message, Prompt, RenderOptions, SamplingOptions,
};
use serde_json::Value;

use crate::support::{assert_none, ids, list, number, open, path, read_json, text};

/// How far a flipped rounding of an activation may move a logit of this model: an answer whose margin is below may
/// differ from the reference.
const LARGEST_FLIP: f64 = 0.25;

fn engine() -> Engine {
    open(&path("demo/bitnet-demo"), Isa::best(), 2)
}

fn goldens() -> Value {
    read_json(&path("demo/demo-goldens.json"))
}

fn messages(chat: &Value) -> Vec<Message> {
    serde_json::from_value(chat["messages"].clone()).unwrap()
}

/// A request that leaves all but the prompt to the model.
fn ask(messages: Vec<Message>) -> GenerateRequest {
    let options = RenderOptions {
        add_generation_prompt: true,
        ..RenderOptions::default()
    };
    GenerateRequest {
        max_tokens: Some(96),
        ..GenerateRequest::new(Prompt::Messages { messages, options })
    }
}

#[test]
fn chats_are_answered_as_by_the_reference() {
    let (engine, mut complaints) = (engine(), Vec::new());
    for chat in list(&goldens()["chats"]) {
        let options = RenderOptions {
            add_generation_prompt: true,
            ..RenderOptions::default()
        };
        let rendered = engine
            .apply_chat_template(&messages(chat), &options)
            .unwrap();
        assert_eq!(rendered, text(&chat["prompt"]));
        assert_eq!(
            engine.tokenize(&rendered, false).unwrap(),
            ids(&chat["prompt_ids"])
        );
        let (answer, end) = engine
            .generate(ask(messages(chat)))
            .unwrap()
            .collect_blocking()
            .unwrap();
        let same = answer == text(&chat["text"])
            && end.token_ids == ids(&chat["output_ids"])
            && (end.finish_reason == FinishReason::Stop) == chat["stopped"].as_bool().unwrap();
        if !same && number(&chat["min_margin"]) > LARGEST_FLIP {
            complaints.push(format!(
                "{}: {answer:?}, {:?}",
                chat["messages"], end.finish_reason
            ));
        }
    }
    assert_none(&complaints);
}

#[test]
fn a_text_is_asked_as_one_message() {
    let engine = engine();
    let as_text = Prompt::Text {
        text: "What is BitNet?".to_owned(),
        raw: false,
    };
    let as_text = GenerateRequest {
        max_tokens: Some(96),
        ..GenerateRequest::new(as_text)
    };
    let as_message = ask(vec![Message::new("user", "What is BitNet?")]);
    let answer = |request| {
        engine
            .generate(request)
            .unwrap()
            .collect_blocking()
            .unwrap()
            .0
    };
    assert_eq!(answer(as_text), answer(as_message));
}

#[test]
fn a_second_question_reuses_the_first_and_gets_the_answer_of_a_fresh_engine() {
    let first = Message::new("user", "What is BitNet?");
    let engine_with_history = engine();
    let ask_on = |engine: &Engine, messages: Vec<Message>| {
        engine
            .generate(ask(messages))
            .unwrap()
            .collect_blocking()
            .unwrap()
    };
    let (answer, end) = ask_on(&engine_with_history, vec![first.clone()]);
    let conversation = vec![
        first,
        Message::new("assistant", answer),
        Message::new("user", "Do I need a GPU?"),
    ];
    let (second, second_end) = ask_on(&engine_with_history, conversation.clone());
    let known = end.usage.prompt_tokens + end.usage.completion_tokens - 1;
    assert_eq!(second_end.usage.cached_tokens, known);
    let (fresh, fresh_end) = ask_on(&engine(), conversation);
    assert_eq!(fresh_end.usage.cached_tokens, 0);
    assert_eq!((second, second_end.token_ids), (fresh, fresh_end.token_ids));
}

#[test]
fn a_seed_gives_the_same_tokens_on_every_instruction_set_and_thread_count() {
    let sampling = SamplingOptions {
        temperature: Some(1.2),
        top_p: Some(0.99),
        repetition_penalty: Some(1.1),
        frequency_penalty: Some(0.1),
        presence_penalty: Some(0.1),
        min_p: Some(0.001),
        seed: Some(42),
        ..SamplingOptions::default()
    };
    let prompt = || Prompt::Text {
        text: "Tell me about".to_owned(),
        raw: true,
    };
    let mut answers = Vec::new();
    for isa in Isa::available() {
        for threads in [1, 2, 3] {
            let engine = open(&path("demo/bitnet-demo"), isa, threads);
            let request = GenerateRequest {
                sampling,
                ignore_eos: true,
                ..GenerateRequest::new(prompt())
            };
            answers.push(
                engine
                    .generate(request)
                    .unwrap()
                    .collect_blocking()
                    .unwrap()
                    .1
                    .token_ids,
            );
        }
    }
    assert_eq!(answers[0].len(), 128);
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
}

#[test]
fn answers_side_by_side_are_those_of_one_after_the_other() {
    let (engine, goldens) = (engine(), goldens());
    let chats = list(&goldens["chats"]);
    let running: Vec<_> = chats
        .iter()
        .map(|chat| engine.generate(ask(messages(chat))).unwrap())
        .collect();
    let together: Vec<String> = running
        .into_iter()
        .map(|generation| generation.collect_blocking().unwrap().0)
        .collect();
    for (chat, together) in chats.iter().zip(together) {
        let alone = engine
            .generate(ask(messages(chat)))
            .unwrap()
            .collect_blocking()
            .unwrap()
            .0;
        assert_eq!(together, alone);
    }
}

#[test]
fn a_text_beyond_the_context_goes_on_when_shifting_is_asked_for() {
    let config = EngineConfig {
        context_size: Some(48),
        ..EngineConfig::default()
    };
    let engine = Engine::open(&path("demo/bitnet-demo"), &config, &mut |_| {}).unwrap();
    let prompt = Prompt::Text {
        text: "Ternary weights are".to_owned(),
        raw: true,
    };
    let request = GenerateRequest {
        max_tokens: Some(150),
        ignore_eos: true,
        context_overflow: ContextOverflow::Shift,
        ..GenerateRequest::new(prompt)
    };
    let (_, end) = engine
        .generate(request)
        .unwrap()
        .collect_blocking()
        .unwrap();
    assert_eq!(
        (end.token_ids.len(), end.finish_reason),
        (150, FinishReason::Length)
    );
}

#[test]
fn loading_reports_its_phases_in_order_and_info_tells_what_is_loaded() {
    let mut phases = Vec::new();
    let mut report = |progress: llm_engine::LoadProgress| {
        assert!(progress.done <= progress.total, "{progress:?}");
        if phases.last() != Some(&progress.phase) {
            phases.push(progress.phase);
        }
    };
    let engine = Engine::open(
        &path("demo/bitnet-demo"),
        &EngineConfig::default(),
        &mut report,
    )
    .unwrap();
    assert_eq!(
        phases,
        [
            LoadPhase::Open,
            LoadPhase::Weights,
            LoadPhase::Tokenizer,
            LoadPhase::Ready
        ]
    );
    let info = engine.info();
    assert_eq!(info.architecture, "BitNetForCausalLM");
    assert_eq!((info.n_vocab, info.n_layer, info.n_embd), (2048, 6, 256));
    assert_eq!((info.context_length, info.context_size), (512, 512));
    assert_eq!(
        (info.parameters, info.ternary_parameters),
        (4_071_168, 3_538_944)
    );
    assert!(info.has_chat_template);
    assert!(
        info.memory.weights_bytes > 0 && info.memory.mapped_bytes > 1_900_000,
        "{info:?}"
    );
}

#[test]
fn an_instruction_set_that_is_not_there_is_refused_with_those_that_are() {
    let foreign = if cfg!(target_arch = "aarch64") {
        Isa::Avx2
    } else {
        Isa::Neon
    };
    let config = EngineConfig {
        isa: Some(foreign),
        ..EngineConfig::default()
    };
    let error = Engine::open(&path("demo/bitnet-demo"), &config, &mut |_| {}).unwrap_err();
    assert!(
        matches!(error, EngineError::IsaUnavailable { .. }),
        "{error}"
    );
    let message = error.to_string();
    assert!(
        message.contains(foreign.name()) && message.contains("scalar"),
        "{message}"
    );
}
