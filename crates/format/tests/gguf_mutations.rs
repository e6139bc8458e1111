//! Random damage to valid GGUF files: whatever is in them, reading ends in a value or an error.

mod common;

use std::fs;
use std::path::Path;

use common::oracle;
use llm_format::{Dtype, Gguf};
use proptest::prelude::*;
use proptest::sample::Index;

/// One kind of damage.
#[derive(Debug, Clone)]
enum Damage {
    Byte(u8),
    Word(u32),
    Long(u64),
    Cut,
    Remove(u8),
    Insert(Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    let extremes = vec![
        0,
        1,
        3,
        255,
        1 << 31,
        1 << 32,
        1 << 61,
        (1 << 63) - 1,
        1 << 63,
        u64::MAX,
    ];
    prop_oneof![
        4 => any::<u8>().prop_map(Damage::Byte),
        2 => (0_u32..64).prop_map(Damage::Word),
        3 => prop::sample::select(extremes).prop_map(Damage::Long),
        1 => Just(Damage::Cut),
        1 => (1_u8..40).prop_map(Damage::Remove),
        1 => prop::collection::vec(any::<u8>(), 1..40).prop_map(Damage::Insert),
    ]
}

fn overwrite(bytes: &mut [u8], at: usize, new: &[u8]) {
    for (old, new) in bytes.iter_mut().skip(at).zip(new) {
        *old = *new;
    }
}

fn apply(bytes: &mut Vec<u8>, at: usize, damage: Damage) {
    match damage {
        Damage::Byte(byte) => overwrite(bytes, at, &[byte]),
        Damage::Word(word) => overwrite(bytes, at, &word.to_le_bytes()),
        Damage::Long(long) => overwrite(bytes, at, &long.to_le_bytes()),
        Damage::Cut => bytes.truncate(at),
        Damage::Remove(n) => drop(bytes.drain(at..bytes.len().min(at + usize::from(n)))),
        Damage::Insert(new) => drop(bytes.splice(at..at, new)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn a_damaged_file_never_panics_and_its_tensors_have_the_bytes_they_need(
        name in prop::sample::select(vec!["ok.gguf", "ok_i2s.gguf"]),
        // Most of the damage goes to the header, the first third of these files.
        damages in prop::collection::vec((any::<Index>(), prop::bool::weighted(0.9), damage()), 1..4),
    ) {
        let mut bytes = fs::read(oracle().join("malformed/gguf").join(name)).expect("valid file");
        for (at, is_early, damage) in damages {
            let within = if is_early { bytes.len() / 3 } else { bytes.len() };
            let at = at.index(within.max(1)).min(bytes.len());
            apply(&mut bytes, at, damage);
        }
        if let Ok(gguf) = Gguf::from_bytes(Path::new("damaged.gguf"), bytes) {
            for tensor in gguf.tensors() {
                let needed = tensor.dtype.byte_len(&tensor.shape);
                prop_assert_eq!(needed, Some(tensor.bytes.len()), "{}", &tensor.name);
            }
        }
    }
}

/// A file of one pair and one 32-byte F32 tensor, for cases that the corpus lacks.
fn file(value_type: u32, value: &[u8], tensor_type: u32) -> Vec<u8> {
    let string = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3_u32.to_le_bytes());
    bytes.extend([1_u64.to_le_bytes(), 1_u64.to_le_bytes()].concat());
    bytes.extend(string("split.count"));
    bytes.extend(value_type.to_le_bytes());
    bytes.extend(value);
    bytes.extend(string("w"));
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(8_u64.to_le_bytes());
    bytes.extend(tensor_type.to_le_bytes());
    bytes.extend(0_u64.to_le_bytes());
    bytes.resize(bytes.len().next_multiple_of(32) + 32, 0);
    bytes
}

fn read(value_type: u32, value: &[u8], tensor_type: u32) -> Result<Gguf, String> {
    Gguf::from_bytes(Path::new("m.gguf"), file(value_type, value, tensor_type))
        .map_err(|error| error.to_string())
}

#[test]
fn types_that_cannot_be_read_are_refused_by_name() {
    assert!(read(4, &1_u32.to_le_bytes(), 0).is_ok());
    for (id, expected) in [
        (16, "tensor `w`: type IQ2_XXS (id 16) is not supported"),
        (37, "tensor `w`: type I8_S (id 37) is not supported"),
        (39, "tensor `w`: type MXFP4 (id 39) is not supported"),
        (
            0x4C52_5402,
            "tensor `w`: type TILES of another version (id 1280463874) is not supported",
        ),
        (4, "tensor `w`: unknown type id 4"),
    ] {
        let error = read(4, &1_u32.to_le_bytes(), id).expect_err(expected);
        assert!(error.contains(expected), "{error}");
    }
}

/// A file of one tensor of 32 rows and 512 columns, of `len` bytes.
fn matrix(type_id: u32, len: usize, architecture: &str, file_type: u32) -> Vec<u8> {
    let string = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3_u32.to_le_bytes());
    bytes.extend([1_u64.to_le_bytes(), 2_u64.to_le_bytes()].concat());
    bytes.extend(
        [
            &string("general.architecture")[..],
            &8_u32.to_le_bytes(),
            &string(architecture),
        ]
        .concat(),
    );
    bytes.extend(
        [
            &string("general.file_type")[..],
            &4_u32.to_le_bytes(),
            &file_type.to_le_bytes(),
        ]
        .concat(),
    );
    bytes.extend(string("w"));
    bytes.extend(2_u32.to_le_bytes());
    bytes.extend([512_u64.to_le_bytes(), 32_u64.to_le_bytes()].concat());
    bytes.extend([&type_id.to_le_bytes()[..], &0_u64.to_le_bytes()].concat());
    bytes.resize(bytes.len().next_multiple_of(32) + len, 0);
    bytes
}

#[test]
fn id_39_is_tl2_or_mxfp4_by_the_bytes_that_are_there_and_else_by_who_wrote_the_file() {
    let tl2 = Dtype::Tl2
        .byte_len(&[32, 512])
        .expect("TL2 takes the shape");
    let mxfp4 = 32 * 512 / 32 * 17;
    for (len, architecture, file_type, is_tl2) in [
        (tl2, "llama", 1, true),
        (tl2 + 31, "bitnet", 39, true),
        (mxfp4, "bitnet", 39, true),
        (mxfp4, "llama", 38, false),
        (mxfp4, "gpt-oss", 39, false),
    ] {
        let found = Gguf::from_bytes(
            Path::new("m.gguf"),
            matrix(39, len, architecture, file_type),
        );
        let found = found.map(|gguf| gguf.tensor("w").map(|tensor| tensor.dtype));
        match found {
            Ok(found) => assert!(
                is_tl2 && found == Some(Dtype::Tl2),
                "{len} {architecture} {found:?}"
            ),
            Err(error) => assert!(
                !is_tl2 && error.to_string().contains("type MXFP4 (id 39)"),
                "{error}"
            ),
        }
    }
}

#[test]
fn the_forks_ternary_types_have_the_sizes_of_their_layouts() {
    for (id, dtype) in [
        (36, Dtype::I2S),
        (38, Dtype::Tl1),
        (42, Dtype::Tl2),
        (134, Dtype::Iq1Bn),
        (135, Dtype::Iq2Bn),
    ] {
        let len = dtype
            .byte_len(&[32, 512])
            .expect("every type takes the shape");
        let read = |len| Gguf::from_bytes(Path::new("m.gguf"), matrix(id, len, "llama", 1));
        let gguf = read(len).unwrap_or_else(|error| panic!("{dtype}: {error}"));
        assert_eq!(
            gguf.tensor("w")
                .map(|tensor| (tensor.dtype, tensor.bytes.len())),
            Some((dtype, len))
        );
        assert!(read(len - 1).is_err(), "{dtype}");
    }
}

#[test]
fn a_part_of_a_split_model_is_refused_as_such() {
    let error = read(2, &3_u16.to_le_bytes(), 0).expect_err("split");
    assert!(error.contains("part 1 of 3 of a split model"), "{error}");
}

#[test]
fn booleans_other_than_zero_and_one_are_refused() {
    assert!(read(7, &[1], 0).is_ok());
    let error = read(7, &[2], 0).expect_err("no boolean");
    assert!(error.contains("`split.count`: 2 is no boolean"), "{error}");
}
