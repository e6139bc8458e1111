//! The layouts that are read and written: round trips of any shape, the published examples, and what is refused.

use crate::common::{compute, random_bytes, random_codes};
use llm_kernels::{
    Compute, Isa, KernelError, TernaryMatrix, TlTiles, pack_codes, pack_hf, pack_i2s, pack_i2s_arm,
    pack_iq1_bn, pack_iq2_bn, pack_iq2_bn_r4, pack_tiles, pack_tl1, pack_tl2, pack_tq1_0,
    pack_tq2_0, write_hf, write_i2s, write_i2s_arm, write_iq1_bn, write_iq2_bn, write_tiles,
    write_tl1, write_tl2, write_tq1_0, write_tq2_0,
};
use proptest::prelude::*;

/// Exact in f16.
pub(crate) const SCALE: f32 = 1.5;

pub(crate) fn two_threads() -> Compute {
    compute(Isa::best(), 2).expect("best is available")
}

pub(crate) fn matrix(compute: &Compute, codes: &[u8], rows: usize, cols: usize) -> TernaryMatrix {
    let row = |row: usize, out: &mut [u8]| out.copy_from_slice(&codes[row * cols..][..cols]);
    pack_codes(compute, rows, cols, SCALE, row).expect("codes up to 2")
}

#[track_caller]
pub(crate) fn assert_codes(matrix: &TernaryMatrix, codes: &[u8], case: &str) {
    let weight = |code: &u8| (f32::from(*code) - 1.0) * SCALE;
    let expected: Vec<f32> = codes.iter().map(weight).collect();
    assert!(matrix.dequantize() == expected, "{case}");
    assert_eq!(matrix.scale(), SCALE, "{case}");
}

pub(crate) fn tiles_of(
    a: usize,
    b: usize,
    c: usize,
) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a).flat_map(move |i| (0..b).flat_map(move |j| (0..c).map(move |k| (i, j, k))))
}

pub(crate) fn tiles(bm: usize, bk: usize, bmm: usize) -> TlTiles {
    TlTiles { bm, bk, bmm }
}

#[test]
fn tiles_are_read_and_written_as_they_are_documented() {
    let compute = two_threads();
    for (rows, cols) in [(16, 16), (1, 1), (17, 5), (40, 87)] {
        let codes = random_codes(rows * cols, 15);
        let code = |row: usize, col: usize| match (row < rows, col < cols) {
            (true, true) => codes[row * cols + col],
            _ => 1,
        };
        let mut bytes = Vec::new();
        for (panel, line) in
            tiles_of(rows.div_ceil(16), cols.div_ceil(16), 1).map(|(p, b, _)| (p, b))
        {
            for (r, j) in tiles_of(16, 4, 1).map(|(r, j, _)| (r, j)) {
                let group = |g: usize| code(16 * panel + r, 16 * line + 4 * g + j) << (2 * g);
                bytes.push(group(0) | group(1) | group(2) | group(3));
            }
        }
        bytes.extend(SCALE.to_le_bytes());
        bytes.extend([0; 28]);
        let packed = pack_tiles(&compute, rows, cols, &bytes).unwrap();
        assert_codes(&packed, &codes, &format!("{rows} x {cols}"));
        let written = write_tiles(&compute, &packed).unwrap();
        assert!(written == bytes, "{rows} x {cols}");
    }
}

#[test]
fn tiles_with_codes_or_padding_that_stand_for_nothing_are_refused_by_their_row() {
    let compute = two_threads();
    let (rows, cols) = (35, 37);
    let codes = random_codes(rows * cols, 16);
    let good = write_tiles(&compute, &matrix(&compute, &codes, rows, cols)).unwrap();
    let line = |panel: usize, line: usize| (panel * 3 + line) * 64;
    for (at, byte, row) in [
        (line(0, 0), 0xFF, 0),
        (line(1, 1) + 4 * 7 + 2, 0b11_00_00_00, 23),
        // Below the last row, and behind the last column: 37 is 2 x 16 + 5.
        (line(2, 0) + 4 * 3, 0b01_01_01_00, 34),
        (line(1, 2) + 4 * 2 + 1, 0b01_01_00_01, 18),
        (line(0, 2) + 4 * 5, 0b10_01_01_01, 5),
    ] {
        let mut bytes = good.clone();
        bytes[at] = byte;
        let refused = pack_tiles(&compute, rows, cols, &bytes);
        assert!(
            matches!(refused, Err(KernelError::InvalidCode { row: found }) if found == row),
            "{at}: {:?}",
            refused.err()
        );
    }
    let mut bytes = good.clone();
    // Column 36 is inside: it is group 1 of byte 0.
    bytes[line(0, 2)] = 0b01_01_10_01;
    assert!(pack_tiles(&compute, rows, cols, &bytes).is_ok());
    bytes.truncate(bytes.len() - 1);
    assert!(matches!(
        pack_tiles(&compute, rows, cols, &bytes),
        Err(KernelError::Length { .. })
    ));
    let mut bytes = good;
    let scale = bytes.len() - 32;
    bytes[scale..scale + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(matches!(
        pack_tiles(&compute, rows, cols, &bytes),
        Err(KernelError::NonFiniteScale { .. })
    ));
    assert!(matches!(
        pack_tiles(&compute, usize::MAX, 1, &[]),
        Err(KernelError::Shape { .. })
    ));
}

#[test]
fn the_published_example_of_iq2_bn_is_read_and_written() {
    let row = [&[0, 0, 0, 0x3F, 0x92, 0x54][..], &[0x55; 14]].concat();
    let packed = pack_iq2_bn(&two_threads(), 1, 64, &row).unwrap();
    let mut expected = [0.0; 64];
    (expected[0], expected[1], expected[16], expected[48]) = (0.5, -0.5, -0.5, 0.5);
    assert_eq!(
        (packed.scale(), packed.dequantize()),
        (0.5, expected.to_vec())
    );
    assert_eq!(write_iq2_bn(&two_threads(), &packed).unwrap(), row);
}

#[test]
fn the_published_example_of_iq1_bn_is_read_and_written() {
    let row = [&[0, 0x38, 0x45][..], &[0x80; 11], &[0x2C]].concat();
    let packed = pack_iq1_bn(&two_threads(), 1, 64, &row).unwrap();
    let mut expected = [0.0; 64];
    expected[..5].copy_from_slice(&[0.5, -0.5, 0.0, 0.5, -0.5]);
    expected[15] = 0.5;
    assert_eq!(
        (packed.scale(), packed.dequantize()),
        (0.5, expected.to_vec())
    );
    assert_eq!(write_iq1_bn(&two_threads(), &packed).unwrap(), row);
}

#[test]
fn the_published_example_of_an_arm_i2s_block_is_read_and_written() {
    let compute = two_threads();
    let mut codes = [1; 128];
    (codes[0], codes[1], codes[32], codes[96]) = (2, 0, 0, 2);
    let packed = matrix(&compute, &codes, 1, 128);
    let bytes = write_i2s_arm(&compute, &packed).unwrap();
    assert_eq!((&bytes[..3], bytes[16]), (&[0x91, 0x15, 0x55][..], 0x59));
    assert_codes(
        &pack_i2s_arm(&compute, 1, 128, &bytes).unwrap(),
        &codes,
        "read back",
    );
    // The two block orders hold the same codes in other places, which only the reader can know.
    let misread = pack_i2s(&compute, 1, 128, &bytes).unwrap();
    assert_ne!(misread.dequantize(), packed.dequantize());
}

#[test]
fn interleaved_iq2_bn_is_read_as_the_published_loops_lay_it_out() {
    let compute = two_threads();
    for (rows, cols) in [(4, 64), (8, 192), (20, 128), (64, 576)] {
        let codes = random_codes(rows * cols, 17);
        let plain = write_iq2_bn(&compute, &matrix(&compute, &codes, rows, cols)).unwrap();
        let mut interleaved = interleave(&plain, cols);
        let packed = pack_iq2_bn_r4(&compute, rows, cols, &interleaved).unwrap();
        assert_codes(&packed, &codes, &format!("{rows} x {cols}"));
        // Code 3 in row 2; then another scale there; then none.
        let good = interleaved[16 + 4 * 2];
        interleaved[16 + 4 * 2] = 0xFF;
        assert!(matches!(
            pack_iq2_bn_r4(&compute, rows, cols, &interleaved),
            Err(KernelError::InvalidCode { row: 2 })
        ));
        interleaved[16 + 4 * 2] = good;
        interleaved[8..12].copy_from_slice(&0.25_f32.to_le_bytes());
        assert!(matches!(
            pack_iq2_bn_r4(&compute, rows, cols, &interleaved),
            Err(KernelError::RowScales { row: 2, .. })
        ));
        interleaved[8..12].fill(0);
        let packed = pack_iq2_bn_r4(&compute, rows, cols, &interleaved).unwrap();
        assert!(
            packed.dequantize()[2 * cols..3 * cols]
                .iter()
                .all(|&w| w == 0.0)
        );
        assert!(pack_iq2_bn_r4(&compute, rows, cols, &interleaved[1..]).is_err());
    }
    assert!(matches!(
        pack_iq2_bn_r4(&compute, 3, 64, &[0; 60]),
        Err(KernelError::NotMultiple { .. })
    ));
}

/// The loops of the published repacking: rows of a scale and blocks of 16 bytes, four at a time.
fn interleave(plain: &[u8], cols: usize) -> Vec<u8> {
    let row_bytes = 4 + cols / 4;
    let mut out = Vec::new();
    for rows in plain.chunks_exact(4 * row_bytes) {
        let rows: Vec<&[u8]> = rows.chunks_exact(row_bytes).collect();
        rows.iter().for_each(|row| out.extend(&row[..4]));
        for block in 0..cols / 64 {
            for l in 0..4 {
                for row in &rows {
                    let block = &row[4 + 16 * block..][..16];
                    let code = |at: usize| block[at] >> (2 * l) & 3;
                    for i in 0..4 {
                        out.push(code(i) | code(i + 4) << 2 | code(i + 8) << 4 | code(i + 12) << 6);
                    }
                }
            }
        }
    }
    out
}

#[test]
fn rows_of_scale_zero_are_zeros_beside_any_scale_and_other_scales_are_refused() {
    let compute = two_threads();
    let codes = random_codes(3 * 64, 13);
    let mut bytes = write_iq2_bn(&compute, &matrix(&compute, &codes, 3, 64)).unwrap();
    bytes[20..24].copy_from_slice(&0_f32.to_le_bytes());
    let packed = pack_iq2_bn(&compute, 3, 64, &bytes).unwrap();
    assert_eq!(packed.dequantize()[64..128], [0.0; 64]);
    assert_eq!(packed.scale(), SCALE);
    bytes[20..24].copy_from_slice(&0.25_f32.to_le_bytes());
    assert!(matches!(
        pack_iq2_bn(&compute, 3, 64, &bytes),
        Err(KernelError::RowScales { row: 1, .. })
    ));
}

#[test]
fn codes_that_stand_for_nothing_are_refused() {
    let compute = two_threads();
    let refused = |result: Result<TernaryMatrix, KernelError>| {
        matches!(result, Err(KernelError::InvalidCode { row: 0 }))
    };
    let packed = matrix(&compute, &[1; 32 * 256], 32, 256);
    let mut tl1 = write_tl1(&compute, &packed, tiles(32, 64, 32)).unwrap();
    tl1[0] = 0x94;
    assert!(refused(pack_tl1(
        &compute,
        32,
        256,
        tiles(32, 64, 32),
        &tl1
    )));
    let mut tl2 = write_tl2(&compute, &packed, tiles(32, 96, 32)).unwrap();
    tl2[0] = 0x0E;
    assert!(refused(pack_tl2(
        &compute,
        32,
        256,
        tiles(32, 96, 32),
        &tl2
    )));
    let mut iq2 = write_iq2_bn(&compute, &packed).unwrap();
    iq2[4] = 0xC0;
    assert!(refused(pack_iq2_bn(&compute, 32, 256, &iq2)));
}

/// Writes, reads and writes a matrix in every layout that its shape allows; the number of them.
fn round_trips(compute: &Compute, codes: &[u8], rows: usize, cols: usize) -> usize {
    let packed = matrix(compute, codes, rows, cols);
    let mut count = 0;
    let mut check =
        |name: &str,
         written: Result<Vec<u8>, KernelError>,
         read: &dyn Fn(&[u8]) -> Result<TernaryMatrix, KernelError>| {
            match written {
                Ok(bytes) => {
                    let back = read(&bytes)
                        .unwrap_or_else(|error| panic!("{name}, {rows} x {cols}: {error}"));
                    assert_codes(&back, codes, &format!("{name}, {rows} x {cols}"));
                    count += 1;
                }
                Err(KernelError::NotMultiple { .. } | KernelError::Tiles { .. }) => {}
                Err(error) => panic!("{name}, {rows} x {cols}: {error}"),
            }
        };
    let tq = |matrix: Option<TernaryMatrix>| matrix.expect("one scale");
    check("hf", write_hf(compute, &packed), &|b| {
        pack_hf(compute, rows, cols, SCALE, b)
    });
    check("i2_s", write_i2s(compute, &packed), &|b| {
        pack_i2s(compute, rows, cols, b)
    });
    check("i2_s, arm", write_i2s_arm(compute, &packed), &|b| {
        pack_i2s_arm(compute, rows, cols, b)
    });
    check("tq1_0", write_tq1_0(compute, &packed), &|b| {
        pack_tq1_0(compute, rows, cols, b).map(tq)
    });
    check("tq2_0", write_tq2_0(compute, &packed), &|b| {
        pack_tq2_0(compute, rows, cols, b).map(tq)
    });
    check("iq1_bn", write_iq1_bn(compute, &packed), &|b| {
        pack_iq1_bn(compute, rows, cols, b)
    });
    check("iq2_bn", write_iq2_bn(compute, &packed), &|b| {
        pack_iq2_bn(compute, rows, cols, b)
    });
    check("tiles", write_tiles(compute, &packed), &|b| {
        pack_tiles(compute, rows, cols, b)
    });
    for (bm, bmm) in [(32, 32), (64, 64), (96, 32)] {
        for bk in [8, 32, 64] {
            let tiles = tiles(bm, bk, bmm);
            check("tl1", write_tl1(compute, &packed, tiles), &|b| {
                pack_tl1(compute, rows, cols, tiles, b)
            });
        }
        for bk in [96, 192] {
            let tiles = tiles(bm, bk, 32);
            check("tl2", write_tl2(compute, &packed, tiles), &|b| {
                pack_tl2(compute, rows, cols, tiles, b)
            });
        }
    }
    count
}

#[test]
fn every_layout_takes_part_in_the_round_trips() {
    // 7 layouts by rows, tiles, 3 x 3 tiles of TL1 and 3 x 2 of TL2.
    let (rows, cols) = (192, 768);
    let codes = random_codes(rows * cols, 14);
    assert_eq!(round_trips(&two_threads(), &codes, rows, cols), 8 + 9 + 6);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn odd_shapes_come_back_from_every_layout_that_takes_them(rows in 1_usize..100, blocks in 1_usize..14, seed: u64) {
        let cols = 64 * blocks;
        round_trips(&two_threads(), &random_codes(rows * cols, seed), rows, cols);
    }

    #[test]
    fn tiles_of_any_shape_are_the_same_of_and_for_every_instruction_set(rows in 1_usize..70, cols in 1_usize..200, seed: u64) {
        let codes = random_codes(rows * cols, seed);
        let expected = write_tiles(&two_threads(), &matrix(&two_threads(), &codes, rows, cols)).unwrap();
        for isa in Isa::available() {
            let compute = compute(isa, 1).unwrap();
            let packed = pack_tiles(&compute, rows, cols, &expected).unwrap();
            assert_codes(&packed, &codes, &format!("{isa}, {rows} x {cols}"));
            prop_assert!(packed.same_codes(&matrix(&compute, &codes, rows, cols)));
            prop_assert!(write_tiles(&compute, &packed).unwrap() == expected);
        }
    }

    #[test]
    fn shapes_of_lookup_tiles_come_back(rows in 1_usize..5, cols in 8_usize..20, seed: u64) {
        let (rows, cols) = (32 * rows, 32 * cols);
        let codes = random_codes(rows * cols, seed);
        prop_assert!(round_trips(&two_threads(), &codes, rows, cols) > 0);
    }

    #[test]
    fn random_bytes_never_panic(rows in 0_usize..70, cols in 0_usize..600, bm in 0_usize..70, bk in 0_usize..200, len in 0_usize..8000, seed: u64) {
        let (compute, bytes) = (two_threads(), random_bytes(len, seed));
        for bmm in [0, 32, 64] {
            let _ = pack_tl1(&compute, rows, cols, tiles(bm, bk, bmm), &bytes);
            let _ = pack_tl2(&compute, rows, cols, tiles(bm, bk, bmm), &bytes);
        }
        let _ = pack_i2s_arm(&compute, rows, cols, &bytes);
        let _ = pack_iq1_bn(&compute, rows, cols, &bytes);
        let _ = pack_iq2_bn(&compute, rows, cols, &bytes);
        let _ = pack_iq2_bn_r4(&compute, rows, cols, &bytes);
        let _ = pack_tiles(&compute, rows, cols, &bytes);
    }
}
