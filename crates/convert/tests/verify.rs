//! Whether files hold the same weights.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use llm_convert::{ConvertError, ConvertOptions, OutputType, compare, convert};
use llm_kernels::DenseType;

fn oracle(place: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../testdata/oracle")
        .join(place)
}

fn go<T>(_: &T) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn a_converted_model_has_the_weights_of_its_origin_and_a_rounded_one_tells_how_far_it_is_off() {
    let folder = tempfile::tempdir().unwrap();
    for (index, (place, to)) in [
        ("models/bitnet-2b4t", OutputType::Tq1_0),
        ("models/llama3-158", OutputType::Tl1),
        ("models/gemma3-embed", OutputType::I2S),
        ("models/qwen3-embed", OutputType::Tiles),
    ]
    .into_iter()
    .enumerate()
    {
        let output = folder.path().join(format!("{index}.gguf"));
        let options = ConvertOptions {
            to: Some(to),
            ..ConvertOptions::default()
        };
        convert(&oracle(place), &output, &options, &mut go).unwrap();
        let found = compare(&oracle(place), &output, &mut go).unwrap();
        assert_eq!(found.differences, [], "{place}");
        assert!(found.compared > 10, "{place}");
        let rounded = folder.path().join(format!("{index}-rounded.gguf"));
        let options = ConvertOptions {
            embedding: Some(DenseType::Q8_0),
            ..options
        };
        convert(&oracle(place), &rounded, &options, &mut go).unwrap();
        let found = compare(&oracle(place), &rounded, &mut go).unwrap();
        let [first, ..] = found.differences.as_slice() else {
            panic!("{place}: no difference");
        };
        assert!(first.name.contains("embed"), "{place}: {first:?}");
        let largest = first.largest.unwrap();
        assert!(largest > 0.0 && largest < 0.1, "{place}: {largest}");
    }
}

#[test]
fn tiles_that_were_written_once_hold_the_weights_of_their_origin_for_ever() {
    let kept = oracle("../../fuzz/corpus/tiles/ok");
    let found = compare(&oracle("malformed/gguf/ok_i2s.gguf"), &kept, &mut go).unwrap();
    assert_eq!((found.compared, found.differences), (13, vec![]));
}

#[test]
fn dense_rows_that_change_places_are_found_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("model.gguf");
    let input = oracle("models/llama-fp16");
    convert(&input, &output, &ConvertOptions::default(), &mut go).unwrap();
    let found = compare(&input, &output, &mut go).unwrap();
    assert_eq!(found.differences, []);
}

#[test]
fn other_models_differ_and_a_comparison_can_be_stopped() {
    let [a, b] = [
        oracle("models/bitnet-2b4t"),
        oracle("models/bitnet-2b4t-bf16"),
    ];
    let found = compare(&a, &b, &mut go).unwrap();
    assert!(found.differences.len() > 10);
    let stopped = compare(&a, &b, &mut |_| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(ConvertError::Cancelled)));
    let found = compare(&a, &oracle("models/llama3-158"), &mut go).unwrap();
    let says = |text: &str| found.differences.iter().any(|d| d.what.contains(text));
    assert!(says("shapes") || says("only in the second"));
}
