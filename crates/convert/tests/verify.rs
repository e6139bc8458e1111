//! Whether files hold the same weights.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use llm_convert::{
    Comparison, ConvertError, ConvertOptions, I2sOrder, OutputType, Progress, Side, convert,
};
use llm_kernels::DenseType;

fn oracle(place: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../testdata/oracle")
        .join(place)
}

fn go<T>(_: &T) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn compare(
    first: &Path,
    second: &Path,
    progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Comparison, ConvertError> {
    llm_convert::compare(Side::new(first), Side::new(second), progress)
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
fn the_block_order_of_either_side_is_as_it_is_said_else_as_the_file_says() {
    let folder = tempfile::tempdir().unwrap();
    let (usual, arm) = (
        folder.path().join("x86.gguf"),
        folder.path().join("arm.gguf"),
    );
    for (path, output_i2s_order) in [(&usual, I2sOrder::X86), (&arm, I2sOrder::Arm)] {
        let options = ConvertOptions {
            output_i2s_order,
            ..ConvertOptions::default()
        };
        convert(&oracle("models/bitnet-2b4t"), path, &options, &mut go).unwrap();
    }
    let side = |path, i2s_order| Side {
        i2s_order,
        ..Side::new(path)
    };
    let (x86, other) = (Some(I2sOrder::X86), Some(I2sOrder::Arm));
    for (first, second, same) in [
        ((&usual, None), (&arm, None), true),
        ((&usual, x86), (&arm, other), true),
        ((&arm, None), (&usual, None), true),
        ((&usual, None), (&arm, x86), false),
        ((&usual, other), (&arm, None), false),
        ((&usual, other), (&arm, x86), false),
    ] {
        let sides = [first, second].map(|(path, order)| side(path, order));
        let found = llm_convert::compare(sides[0], sides[1], &mut go).unwrap();
        assert_eq!(found.differences.is_empty(), same, "{first:?} {second:?}");
    }
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
