//! The module's host, without WebAssembly: the demo model, asked as a worker asks.

use llm_engine::{Engine, EngineConfig, GenerateRequest, Prompt, SamplingOptions, TextEvent};
use llm_wasm::Host;
use serde_json::{Value, json};

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../demo/bitnet-demo");

fn ask(host: &mut Host, request: &Value) -> Result<Value, (String, String)> {
    let answer = host.handle(request.to_string().as_bytes(), &mut |_| {});
    let answer: Value = serde_json::from_slice(&answer.json).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    match answer.get("error") {
        Some(error) => Err((text(&error["code"]), text(&error["message"]))),
        None => Ok(answer["ok"].clone()),
    }
}

fn opened() -> Host {
    let mut host = Host::default();
    ask(&mut host, &json!({ "op": "open", "path": DEMO })).unwrap();
    host
}

/// Reads a generation to its end: its text and its last event.
fn read(host: &mut Host, generation: &Value) -> (String, Value) {
    let mut text = String::new();
    loop {
        let event = ask(host, &json!({ "op": "next", "generation": generation })).unwrap();
        if let Some(piece) = event["text"].as_str() {
            text += piece;
        } else if event["pending"] == true {
            let _ = host.step();
        } else {
            return (text, event["done"].clone());
        }
    }
}

#[test]
fn an_answer_computed_step_by_step_is_the_one_of_the_engine_s_own_thread() {
    let mut host = opened();
    let call = json!({ "op": "generate", "text": "What is BitNet?", "maxTokens": 24, "sampling": { "temperature": 0 } });
    let generation = ask(&mut host, &call).unwrap();
    let (text, done) = read(&mut host, &generation);

    let engine = Engine::open(DEMO.as_ref(), &EngineConfig::default(), &mut |_| {}).unwrap();
    let prompt = Prompt::Text {
        text: "What is BitNet?".to_owned(),
        raw: false,
    };
    let mut answer = engine
        .generate(GenerateRequest {
            max_tokens: Some(24),
            sampling: SamplingOptions {
                temperature: Some(0.0),
                ..SamplingOptions::default()
            },
            ..GenerateRequest::new(prompt)
        })
        .unwrap();
    let mut expected = String::new();
    while let Some(event) = answer.next_blocking() {
        match event.unwrap() {
            TextEvent::Text(piece) => expected += &piece,
            TextEvent::Done(completion) => {
                assert_eq!(done["tokenIds"], json!(completion.token_ids))
            }
        }
    }
    assert!(!text.is_empty());
    assert_eq!(text, expected);
    assert!(!host.step(), "nothing is left to do");
}

#[test]
fn tasks_give_their_result_once_it_is_computed() {
    let mut host = opened();
    let ids = ask(
        &mut host,
        &json!({ "op": "tokenize", "text": "Hello there", "addSpecial": true }),
    )
    .unwrap();
    let task = ask(
        &mut host,
        &json!({ "op": "forward", "ids": ids, "all": false }),
    )
    .unwrap();
    let result = json!({ "op": "result", "task": task });
    assert_eq!(ask(&mut host, &result).unwrap(), json!({ "pending": true }));
    while host.step() {}
    let answer = host.handle(result.to_string().as_bytes(), &mut |_| {});
    let vocabulary = ask(&mut host, &json!({ "op": "info" })).unwrap()["vocabSize"].as_u64();
    assert_eq!(Some(answer.floats.len() as u64), vocabulary);
    assert!(answer.floats.iter().all(|logit| logit.is_finite()));
    assert_eq!(ask(&mut host, &result).unwrap_err().0, "INVALID_ARGUMENT");

    let perplexities = [
        json!({ "op": "perplexity", "text": "Hello there" }),
        json!({ "op": "perplexityOf", "ids": ids }),
    ]
    .map(|request| {
        let task = ask(&mut host, &request).unwrap();
        while host.step() {}
        ask(&mut host, &json!({ "op": "result", "task": task })).unwrap()
    });
    assert!(perplexities[0]["perplexity"].as_f64().unwrap() > 1.0);
    assert_eq!(perplexities[0], perplexities[1]);
}

#[test]
fn a_cancelled_generation_ends_with_aborted_and_computes_no_more() {
    let mut host = opened();
    let call = json!({ "op": "generate", "text": "Count", "maxTokens": 500, "ignoreEos": true });
    let generation = ask(&mut host, &call).unwrap();
    assert!(host.step());
    ask(
        &mut host,
        &json!({ "op": "cancelGeneration", "generation": generation }),
    )
    .unwrap();
    let next = json!({ "op": "next", "generation": generation });
    assert_eq!(ask(&mut host, &next).unwrap_err().0, "ABORTED");
    let _ = host.step();
    assert!(!host.step());
}

#[test]
fn what_cannot_be_is_refused_with_a_code() {
    let mut host = Host::default();
    let refused = |host: &mut Host, request: Value| ask(host, &request).unwrap_err();
    assert_eq!(
        refused(&mut host, json!({ "op": "info" })).0,
        "MODEL_NOT_LOADED"
    );
    assert_eq!(
        refused(&mut host, json!({ "op": "open", "path": "/nowhere" })).0,
        "MODEL_NOT_FOUND"
    );
    for (option, given, names) in [
        ("threadz", json!(2), ["threadz", "contextSize"]),
        ("isa", json!("x99"), ["x99", "avx2"]),
        ("head", json!("x99"), ["head", "auto or full"]),
        ("speculation", json!("x99"), ["speculation", "auto or off"]),
    ] {
        let mut open = json!({ "op": "open", "path": DEMO });
        open[option] = given;
        let (code, message) = refused(&mut host, open);
        assert_eq!(code, "INVALID_ARGUMENT");
        assert!(names.iter().all(|name| message.contains(name)), "{message}");
    }
    let mut host = opened();
    for call in [
        json!({ "op": "generate", "text": "" , "raw": true, "maxTokens": 0 }),
        json!({ "op": "generate", "text": "a", "contextOverflow": "x99" }),
        json!({ "op": "generate", "messages": "no JSON" }),
        json!({ "op": "generate", "messages": "[]", "variables": "[]" }),
        json!({ "op": "generate", "text": "a", "responseFormat": "{}" }),
    ] {
        assert_eq!(refused(&mut host, call).0, "INVALID_ARGUMENT");
    }
    ask(&mut host, &json!({ "op": "selfTest", "thorough": true })).unwrap();
}
