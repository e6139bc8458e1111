//! Converted models give the logits, tokens and texts of those that they were made of, bit for bit.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use llm_convert::{ConvertError, ConvertOptions, Converted, I2sOrder, OutputType, convert};
use llm_engine::{
    Engine, EngineConfig, GenerateRequest, I2sLayout, Message, Prompt, RenderOptions,
    SamplingOptions,
};
use llm_format::{Dtype, ModelFile};
use llm_kernels::DenseType;
use tempfile::TempDir;

/// Folders and files with ternary weights.
const TERNARY: [&str; 10] = [
    "models/bitnet-2b4t",
    "models/bitnet-2b4t-bf16",
    "models/bitnet-2b4t-bf16-packed",
    "models/bitnet158-legacy",
    "models/falcon3-158",
    "models/llama3-158",
    "gguf/bitnet-2b4t.I2_S.gguf",
    "gguf/bitnet-2b4t.TQ1_0.gguf",
    "gguf/bitnet158-legacy.I2_S.gguf",
    "gguf/llama3-158.I2_S.gguf",
];

const TEXTS: [&str; 3] = ["hello world", "El niño corrió 42 km", "  two\n\nlines\t🚀"];

fn oracle(place: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../testdata/oracle")
        .join(place)
}

fn open(path: &Path) -> Engine {
    let config = EngineConfig {
        threads: Some(2),
        ..EngineConfig::default()
    };
    Engine::open(path, &config, &mut |_| {}).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn run(input: &Path, output: &Path, options: &ConvertOptions) -> Result<Converted, ConvertError> {
    convert(input, output, options, &mut |_| ControlFlow::Continue(()))
}

fn to(output: OutputType) -> ConvertOptions {
    ConvertOptions {
        to: Some(output),
        threads: Some(2),
        ..ConvertOptions::default()
    }
}

/// What two models make of the texts must be the same.
#[track_caller]
fn assert_same(a: &Engine, b: &Engine, case: &str) {
    for text in TEXTS {
        let ids = a.tokenize(text, true).unwrap();
        assert_eq!(ids, b.tokenize(text, true).unwrap(), "{case}: {text}");
        assert_eq!(
            a.detokenize(&ids, false),
            b.detokenize(&ids, false),
            "{case}: {text}"
        );
        let logits = |engine: &Engine| engine.forward(&ids, true).unwrap().wait().unwrap();
        assert!(logits(a) == logits(b), "{case}: other logits for {text:?}");
    }
    // Sampled as the model recommends.
    let answer = |engine: &Engine| {
        let request = GenerateRequest {
            max_tokens: Some(16),
            ignore_eos: true,
            sampling: SamplingOptions {
                seed: Some(3),
                ..SamplingOptions::default()
            },
            ..GenerateRequest::new(Prompt::Text {
                text: TEXTS[0].to_owned(),
                raw: true,
            })
        };
        let (_, done) = engine
            .generate(request)
            .unwrap()
            .collect_blocking()
            .unwrap();
        done.token_ids
    };
    assert_eq!(answer(a), answer(b), "{case}: other tokens");
    let messages = [Message::new("user", "Hello!")];
    let options = RenderOptions {
        add_generation_prompt: true,
        ..RenderOptions::default()
    };
    let rendered = |engine: &Engine| engine.apply_chat_template(&messages, &options).ok();
    assert_eq!(rendered(a), rendered(b), "{case}: chat");
}

#[test]
fn every_ternary_model_keeps_its_logits_in_every_type_that_takes_its_shapes() {
    let mut counts = [0; OutputType::ALL.len()];
    for place in TERNARY {
        let before = open(&oracle(place));
        for (count, output) in counts.iter_mut().zip(OutputType::ALL) {
            let folder = TempDir::new().unwrap();
            let path = folder.path().join("out");
            let case = format!("{place} as {}", output.name());
            match run(&oracle(place), &path, &to(output)) {
                Ok(converted) => {
                    assert_eq!(converted.ternary, Some(output), "{case}");
                    assert_same(&before, &open(&path), &case);
                    *count += 1;
                }
                Err(error) => {
                    assert_ne!(output, OutputType::Tiles, "{case}: {error}");
                    let message = error.to_string();
                    let is_shape = message.contains("cannot store the shape")
                        || message.contains("no tiles")
                        || message.contains("in fours");
                    assert!(is_shape, "{case}: {message}");
                    assert_eq!(
                        std::fs::read_dir(folder.path()).unwrap().count(),
                        0,
                        "{case}"
                    );
                }
            }
        }
    }
    for (count, output) in counts.into_iter().zip(OutputType::ALL) {
        assert!(count >= 3, "{}: only {count} models", output.name());
    }
}

#[test]
fn a_model_comes_back_from_a_round_of_all_types() {
    let folder = TempDir::new().unwrap();
    for place in ["models/bitnet-2b4t", "models/llama3-158"] {
        let before = open(&oracle(place));
        let mut input = oracle(place);
        let rounds = [
            OutputType::Tl1,
            OutputType::HuggingFace,
            OutputType::Iq1Bn,
            OutputType::I2S,
            OutputType::HuggingFace,
        ];
        for (step, output) in rounds.into_iter().enumerate() {
            let path = folder
                .path()
                .join(format!("{}-{step}", place.replace('/', "-")));
            run(&input, &path, &to(output))
                .unwrap_or_else(|error| panic!("{place}, {}: {error}", output.name()));
            input = path;
        }
        assert_same(&before, &open(&input), place);
    }
}

#[test]
fn dense_models_keep_their_logits() {
    let folder = TempDir::new().unwrap();
    for (place, name) in [
        ("models/llama-fp16", "a.gguf"),
        ("models/llama-bf16-sharded", "b.gguf"),
        ("gguf/llama-bf16-sharded.BF16.gguf", "c"),
        ("gguf/llama-fp16.Q8_0.gguf", "d"),
        ("gguf/llama-fp16.Q4_K_M.gguf", "e.gguf"),
        ("gguf/bitnet-2b4t-bf16-packed.F16.gguf", "f"),
    ] {
        let path = folder.path().join(name);
        let converted = run(&oracle(place), &path, &ConvertOptions::default())
            .unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!(converted.ternary, None, "{place}");
        let (before, after) = (open(&oracle(place)), open(&path));
        if place.contains("rope") || place == "gguf/llama-bf16-sharded.BF16.gguf" {
            // The file's divisors are rounded; config.json states what they were made of.
            let ids = before.tokenize(TEXTS[0], true).unwrap();
            let logits = |engine: &Engine| engine.forward(&ids, true).unwrap().wait().unwrap();
            let far = logits(&before)
                .iter()
                .zip(logits(&after))
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            assert!(far < 1e-3, "{place}: {far}");
        } else {
            assert_same(&before, &after, place);
        }
    }
}

#[test]
fn embedding_models_keep_their_vectors() {
    let folder = TempDir::new().unwrap();
    for (index, (place, output)) in [
        ("models/qwen3-embed", OutputType::I2S),
        ("models/gemma3-embed", OutputType::I2S),
        ("models/qwen3-embed", OutputType::HuggingFace),
        ("models/gemma3-embed", OutputType::HuggingFace),
        ("gguf/qwen3-embed.I2_S.gguf", OutputType::HuggingFace),
        ("gguf/gemma3-embed.I2_S.gguf", OutputType::HuggingFace),
        ("gguf/gemma3-embed.I2_S.gguf", OutputType::Iq2Bn),
    ]
    .into_iter()
    .enumerate()
    {
        let path = folder.path().join(index.to_string());
        run(&oracle(place), &path, &to(output)).unwrap_or_else(|error| panic!("{place}: {error}"));
        let (before, after) = (open(&oracle(place)), open(&path));
        assert!(after.info().embeds, "{place}");
        let vectors = |engine: &Engine| engine.embed(&TEXTS).unwrap().wait().unwrap();
        assert!(
            vectors(&before) == vectors(&after),
            "{place} as {}",
            output.name()
        );
    }
}

/// Raw bytes of the ternary tensors, up to and with their scale, beside those that an independent writer made.
#[test]
fn i2_s_tensors_have_the_bytes_of_the_reference_writer() {
    let folder = TempDir::new().unwrap();
    for name in ["bitnet-2b4t", "llama3-158", "bitnet158-legacy"] {
        let path = folder.path().join(format!("{name}.gguf"));
        run(
            &oracle(&format!("models/{name}")),
            &path,
            &to(OutputType::I2S),
        )
        .unwrap();
        let (ours, theirs) = (
            llm_format::open(&path).unwrap(),
            llm_format::open(&oracle(&format!("gguf/{name}.I2_S.gguf"))).unwrap(),
        );
        let mut count = 0;
        for tensor in theirs.tensors().filter(|tensor| tensor.dtype == Dtype::I2S) {
            let ours = ours
                .tensor(&tensor.name)
                .unwrap_or_else(|| panic!("{name}: {}", tensor.name));
            let codes = tensor.bytes.len() - 32;
            assert_eq!(ours.shape, tensor.shape, "{name}: {}", tensor.name);
            assert!(
                ours.bytes[..codes] == tensor.bytes[..codes],
                "{name}: {}",
                tensor.name
            );
            let scale =
                |bytes: &[u8]| f32::from_le_bytes(bytes[codes..codes + 4].try_into().unwrap());
            let (ours, theirs) = (scale(&ours.bytes), scale(&tensor.bytes));
            assert!(
                (ours - theirs).abs() <= 1e-6 * theirs.abs(),
                "{name}: {} {ours} {theirs}",
                tensor.name
            );
            count += 1;
        }
        assert!(count >= 14, "{name}: {count} tensors");
    }
}

#[test]
fn embeddings_take_the_type_that_is_asked_for() {
    let folder = TempDir::new().unwrap();
    for (dtype, expected) in [
        (DenseType::F16, Dtype::F16),
        (DenseType::Bf16, Dtype::Bf16),
        (DenseType::Q8_0, Dtype::Q8_0),
        (DenseType::Q6K, Dtype::Q6K),
    ] {
        let path = folder.path().join(format!("{expected}.gguf"));
        let options = ConvertOptions {
            embedding: Some(dtype),
            ..to(OutputType::I2S)
        };
        let input = oracle("models/llama3-158");
        match run(&input, &path, &options) {
            Ok(_) => {
                let file = llm_format::open(&path).unwrap();
                for name in ["token_embd.weight", "output.weight"] {
                    assert_eq!(file.tensor(name).unwrap().dtype, expected, "{name}");
                }
                open(&path)
                    .forward(&[1, 2, 3], false)
                    .unwrap()
                    .wait()
                    .unwrap();
            }
            Err(error) => assert!(
                error.to_string().contains("cannot store the shape"),
                "{error}"
            ),
        }
    }
    // K-quants take rows of 256 numbers only, which this model has.
    let options = ConvertOptions {
        embedding: Some(DenseType::Q6K),
        ..to(OutputType::I2S)
    };
    let path = folder.path().join("q6.gguf");
    run(&oracle("models/bitnet-2b4t"), &path, &options).unwrap();
    let file = llm_format::open(&path).unwrap();
    assert_eq!(file.tensor("token_embd.weight").unwrap().dtype, Dtype::Q6K);
}

#[test]
fn arm_files_are_read_as_such_when_they_say_so_or_it_is_said_or_found_out() {
    let folder = TempDir::new().unwrap();
    let [usual, arm, foreign] =
        ["x86", "arm", "foreign"].map(|name| folder.path().join(format!("{name}.gguf")));
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/bitnet-demo");
    run(&demo, &usual, &to(OutputType::I2S)).unwrap();
    let options = ConvertOptions {
        output_i2s_order: I2sOrder::Arm,
        ..to(OutputType::I2S)
    };
    run(&usual, &arm, &options).unwrap();
    // A file of bitnet.cpp does not state its order: rename the key under which ours does.
    let mut bytes = std::fs::read(&arm).unwrap();
    let key = llm_model::I2S_ARM_KEY.as_bytes();
    let mut places = bytes.windows(key.len());
    let at = places.position(|window| window == key).unwrap();
    bytes[at..at + 3].copy_from_slice(b"xxx");
    std::fs::write(&foreign, bytes).unwrap();
    let open_as = |path: &Path, i2s_layout| {
        let config = EngineConfig {
            threads: Some(1),
            i2s_layout,
            ..EngineConfig::default()
        };
        Engine::open(path, &config, &mut |_| {}).unwrap()
    };
    let expected = open_as(&usual, None);
    let ids = expected.tokenize("What is BitNet?", true).unwrap();
    let logits = |engine: &Engine| engine.forward(&ids, true).unwrap().wait().unwrap();
    let expected = logits(&expected);
    for (path, layout, is_right) in [
        (&arm, None, true),
        (&arm, Some(I2sLayout::Arm), true),
        (&arm, Some(I2sLayout::X86), false),
        (&foreign, None, false),
        (&foreign, Some(I2sLayout::Arm), true),
        (&foreign, Some(I2sLayout::Detect), true),
        (&usual, Some(I2sLayout::Detect), true),
    ] {
        let found = logits(&open_as(path, layout));
        assert_eq!(found == expected, is_right, "{path:?} {layout:?}");
    }
    // What is made of it is in the usual order again, and says nothing else.
    let [back, again] = ["back", "again"].map(|name| folder.path().join(name));
    run(&arm, &back, &to(OutputType::I2S)).unwrap();
    run(&usual, &again, &to(OutputType::I2S)).unwrap();
    assert!(std::fs::read(back).unwrap() == std::fs::read(again).unwrap());
}

#[test]
fn the_order_of_arm_is_refused_where_no_i2_s_is_written() {
    let folder = TempDir::new().unwrap();
    for output in [OutputType::Tq2_0, OutputType::HuggingFace] {
        let options = ConvertOptions {
            output_i2s_order: I2sOrder::Arm,
            ..to(output)
        };
        let path = folder.path().join("out");
        let refused = run(&oracle("models/bitnet-2b4t"), &path, &options).unwrap_err();
        assert!(refused.to_string().contains("outputI2sLayout"), "{refused}");
        assert!(!path.exists());
    }
}

#[test]
fn a_dense_model_is_rounded_only_when_that_is_asked_for() {
    let folder = TempDir::new().unwrap();
    let input = oracle("models/llama-fp16");
    let options = ConvertOptions {
        ternarize: true,
        ..to(OutputType::HuggingFace)
    };
    let rounded = folder.path().join("rounded");
    let made = run(&input, &rounded, &options).unwrap();
    assert_eq!(made.ternary, Some(OutputType::HuggingFace));
    let (before, after) = (open(&input), open(&rounded));
    assert!(after.info().ternary_parameters > 0 && before.info().ternary_parameters == 0);
    let ids = before.tokenize(TEXTS[0], true).unwrap();
    let logits = |engine: &Engine| engine.forward(&ids, true).unwrap().wait().unwrap();
    assert!(logits(&before) != logits(&after));
    // Masters that were trained for it are rounded the same way with or without.
    let trained = oracle("models/bitnet-2b4t-bf16");
    let path = folder.path().join("trained");
    run(&trained, &path, &options).unwrap();
    assert_same(&open(&trained), &open(&path), "trained");
}

#[test]
fn what_is_cancelled_or_refused_leaves_nothing() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out.gguf");
    let input = oracle("models/bitnet-2b4t");
    let mut seen = 0;
    let cancelled = convert(&input, &path, &ConvertOptions::default(), &mut |progress| {
        seen += 1;
        assert!(progress.done <= progress.total);
        if seen == 5 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert!(matches!(cancelled, Err(ConvertError::Cancelled)));
    let dense = run(&oracle("models/llama-fp16"), &path, &to(OutputType::Tq2_0));
    assert!(matches!(
        dense,
        Err(ConvertError::NotTernary { wanted: "tq2_0" })
    ));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    std::fs::write(&path, "mine").unwrap();
    let there = run(&input, &path, &ConvertOptions::default());
    assert!(matches!(there, Err(ConvertError::OutputExists { .. })));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
}

#[test]
fn tl_files_of_others_need_their_kernel_configuration() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("tl1.gguf");
    run(&oracle("models/bitnet-2b4t"), &path, &to(OutputType::Tl1)).unwrap();
    // A file of bitnet.cpp does not state its tiles: rename the key under which ours does.
    let ModelFile::Gguf(gguf) = llm_format::open(&path).unwrap() else {
        panic!("a GGUF file");
    };
    let tiles = gguf
        .metadata()
        .u32s(llm_model::TILES_KEY)
        .unwrap()
        .unwrap()
        .to_vec();
    drop(gguf);
    let mut bytes = std::fs::read(&path).unwrap();
    let key = llm_model::TILES_KEY.as_bytes();
    let at = bytes
        .windows(key.len())
        .position(|window| window == key)
        .unwrap();
    bytes[at..at + 3].copy_from_slice(b"xxx");
    std::fs::write(&path, bytes).unwrap();
    let refused = Engine::open(&path, &EngineConfig::default(), &mut |_| {}).unwrap_err();
    assert!(refused.to_string().contains("kernelConfig"), "{refused}");
    let sections = tiles.as_chunks::<5>().0.iter().enumerate();
    let ini: String = sections
        .map(|(i, [m, k, bm, bk, bmm])| {
            format!("[Kernels_{i}]\nm = {m}\nk = {k}\nbm = {bm}\nbk = {bk}\nbmm = {bmm}\n\n")
        })
        .collect();
    // Beside the model it is found, elsewhere it is named.
    let elsewhere = folder.path().join("other.ini");
    std::fs::write(&elsewhere, &ini).unwrap();
    let config = EngineConfig {
        kernel_config: Some(elsewhere),
        ..EngineConfig::default()
    };
    let named = Engine::open(&path, &config, &mut |_| {}).unwrap();
    std::fs::write(folder.path().join("kernel_config.ini"), &ini).unwrap();
    let before = open(&oracle("models/bitnet-2b4t"));
    assert_same(&before, &named, "named");
    assert_same(&before, &open(&path), "beside");
}
