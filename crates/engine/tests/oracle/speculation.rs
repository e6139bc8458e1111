//! Speculation on real forward passes: what a draft leaves in the caches must be gone when it was wrong.

use llm_engine::{
    Completion, ContextOverflow, Engine, GenerateRequest, Isa, Prompt, SamplingOptions, Speculation,
};

use crate::support::{open, path};

const MODELS: [&str; 4] = [
    "demo/bitnet-demo",
    "testdata/oracle/models/bitnet-2b4t",
    "testdata/oracle/models/falcon3-158",
    "testdata/oracle/models/llama-fp16",
];

/// A prompt of a few tokens over and over: a source of guesses from the first token on.
fn prompt(n: u32) -> Vec<u32> {
    (0..60).map(|i| 20 + i % (3 + n) * 7).collect()
}

/// The lower the temperature, the likelier a model is to go round in circles, and drafts to be right.
fn samplings() -> [SamplingOptions; 5] {
    let base = SamplingOptions {
        temperature: Some(0.0),
        seed: Some(17),
        ..SamplingOptions::default()
    };
    [
        base,
        SamplingOptions {
            repetition_penalty: Some(1.02),
            ..base
        },
        SamplingOptions {
            temperature: Some(0.2),
            ..base
        },
        SamplingOptions {
            temperature: Some(0.6),
            top_k: Some(0),
            min_p: Some(0.02),
            ..base
        },
        SamplingOptions {
            temperature: Some(0.3),
            frequency_penalty: Some(0.02),
            ..base
        },
    ]
}

fn answer(
    engine: &Engine,
    sampling: SamplingOptions,
    n: u32,
    speculation: Speculation,
) -> Completion {
    let request = GenerateRequest {
        max_tokens: Some(160),
        sampling,
        ignore_eos: true,
        context_overflow: ContextOverflow::Shift,
        speculation: Some(speculation),
        ..GenerateRequest::new(Prompt::Tokens(prompt(n)))
    };
    let generation = engine.generate(request).unwrap();
    generation.collect_blocking().unwrap().1
}

#[test]
fn a_seed_gives_the_same_tokens_with_and_without_speculation() {
    let (mut drafted, mut accepted) = (0, 0);
    for model in MODELS {
        let engine = open(&path(model), Isa::best(), 2);
        for (n, sampling) in (0..).zip(samplings()) {
            let plain = answer(&engine, sampling, n, Speculation::Off);
            let found = answer(&engine, sampling, n, Speculation::Auto);
            drafted += found.usage.drafted_tokens;
            accepted += found.usage.accepted_tokens;
            assert_eq!(found.token_ids, plain.token_ids, "{model}: {sampling:?}");
        }
    }
    assert!(
        accepted > 20 && drafted > accepted,
        "{accepted} of {drafted}"
    );
}
