//! The layouts of lookup kernels, against naive encoders that follow the published loops.

use crate::common::random_codes;
use crate::repack::{SCALE, assert_codes, matrix, tiles, tiles_of, two_threads};
use llm_kernels::{TlTiles, pack_tl1, pack_tl2, write_tl1, write_tl2};

/// Weights of a row-major matrix of codes.
struct Weights<'a> {
    codes: &'a [u8],
    cols: usize,
}

impl Weights<'_> {
    fn code(&self, row: usize, col: usize) -> u8 {
        self.codes[row * self.cols + col]
    }

    /// `3 q[k] + q[k + 1] + 4`.
    fn pair(&self, row: usize, col: usize) -> u8 {
        3 * self.code(row, col) + self.code(row, col + 1)
    }

    /// `9 q[k] + 3 q[k + 1] + q[k + 2]`.
    fn triple(&self, row: usize, col: usize) -> i8 {
        let q = |i| self.code(row, col + i) as i8 - 1;
        9 * q(0) + 3 * q(1) + q(2)
    }
}

/// The loops of the published converter: one byte after another.
fn encode_tl1(codes: &[u8], rows: usize, cols: usize, tiles: TlTiles) -> Vec<u8> {
    let TlTiles { bm, bk, bmm } = tiles;
    let (by, w, mut bytes) = (256 / bmm, Weights { codes, cols }, Vec::new());
    for mo in 0..rows / bm {
        for ko in 0..cols / bk {
            for mi in 0..bm / bmm {
                for ki in 0..bk / by {
                    for g in 0..bmm / 16 {
                        for p in 0..by / 4 {
                            for r in 0..16 {
                                let row = mo * bm + mi * bmm + g * 16 + r;
                                let col = ko * bk + ki * by + 4 * p;
                                bytes.push(w.pair(row, col) << 4 | w.pair(row, col + 2));
                            }
                        }
                    }
                }
            }
        }
    }
    bytes.extend(SCALE.to_le_bytes());
    bytes.extend([0xA5; 28]);
    bytes
}

fn encode_tl2(codes: &[u8], rows: usize, cols: usize, tiles: TlTiles) -> Vec<u8> {
    let TlTiles { bm, bk, .. } = tiles;
    let (k3, w, mut bytes) = (cols / bk * bk, Weights { codes, cols }, Vec::new());
    let rows_of_group: Vec<usize> = (0..8).chain(16..24).chain(8..16).chain(24..32).collect();
    for (mo, ko, mi) in tiles_of(rows / bm, k3 / bk, bm / 32) {
        for ki in 0..bk / 6 {
            for row in &rows_of_group {
                let (row, col) = (mo * bm + mi * 32 + row, ko * bk + 6 * ki);
                let magnitude = |col| w.triple(row, col).unsigned_abs();
                bytes.push(magnitude(col) << 4 | magnitude(col + 3));
            }
        }
    }
    for (mo, ko, mi) in tiles_of(rows / bm, k3 / bk, bm / 32) {
        for kj in 0..bk / 24 {
            for lane in 0..16 {
                let mut word = 0_u16;
                for t in 0..8 {
                    for h in 0..2 {
                        let row = mo * bm + mi * 32 + 16 * h + lane;
                        let negative = w.triple(row, ko * bk + 24 * kj + 3 * t) < 0;
                        word |= u16::from(negative) << (15 - (2 * t + h));
                    }
                }
                bytes.extend(word.to_le_bytes());
            }
        }
    }
    for (mo, ko, mi) in tiles_of(rows / bm, (cols - k3) / 32, bm / 32) {
        for ki in 0..8 {
            for row in &rows_of_group {
                let (row, col) = (mo * bm + mi * 32 + row, k3 + 32 * ko + 4 * ki);
                bytes.push(w.pair(row, col) << 4 | w.pair(row, col + 2));
            }
        }
    }
    let counted = (cols - 256) * rows / 3 * 5 / 8 + 256 * rows / 2 * 4 / 8;
    assert!(counted >= bytes.len());
    bytes.resize(counted.next_multiple_of(32), 0);
    bytes.extend(SCALE.to_le_bytes());
    bytes.extend([0xA5; 28]);
    bytes
}

#[test]
fn tl1_is_read_and_written_as_the_published_loops_lay_it_out() {
    let compute = two_threads();
    for (rows, cols, tiles) in [
        (160, 192, tiles(160, 64, 32)),
        (320, 128, tiles(64, 128, 64)),
        (256, 256, tiles(128, 64, 64)),
        (96, 16, tiles(32, 8, 32)),
    ] {
        let codes = random_codes(rows * cols, 11);
        let bytes = encode_tl1(&codes, rows, cols, tiles);
        let packed = pack_tl1(&compute, rows, cols, tiles, &bytes).unwrap();
        assert_codes(&packed, &codes, &format!("{rows} x {cols}, {tiles:?}"));
        let written = write_tl1(&compute, &packed, tiles).unwrap();
        // What follows the scale may be anything.
        assert_eq!(
            written[..bytes.len() - 28],
            bytes[..bytes.len() - 28],
            "{tiles:?}"
        );
    }
}

#[test]
fn tl2_is_read_and_written_as_the_published_loops_lay_it_out() {
    let compute = two_threads();
    for (rows, cols, tiles) in [
        (64, 256, tiles(32, 96, 32)),
        (320, 320, tiles(160, 96, 32)),
        (256, 288, tiles(128, 96, 32)),
        (128, 448, tiles(128, 192, 32)),
    ] {
        let codes = random_codes(rows * cols, 12);
        let bytes = encode_tl2(&codes, rows, cols, tiles);
        let packed = pack_tl2(&compute, rows, cols, tiles, &bytes).unwrap();
        assert_codes(&packed, &codes, &format!("{rows} x {cols}, {tiles:?}"));
        let written = write_tl2(&compute, &packed, tiles).unwrap();
        assert_eq!(
            written[..bytes.len() - 28],
            bytes[..bytes.len() - 28],
            "{tiles:?}"
        );
    }
}

#[test]
fn the_published_examples_of_lookup_layouts_are_written() {
    let compute = two_threads();
    let mut codes = vec![1; 32 * 256];
    codes[..6].copy_from_slice(&[2, 0, 1, 0, 1, 2]);
    let packed = matrix(&compute, &codes, 32, 256);
    assert_eq!(
        write_tl2(&compute, &packed, tiles(32, 96, 32)).unwrap()[0],
        0x68
    );
    codes[..4].copy_from_slice(&[2, 0, 1, 1]);
    let packed = matrix(&compute, &codes, 32, 256);
    assert_eq!(
        write_tl1(&compute, &packed, tiles(32, 64, 32)).unwrap()[0],
        0x64
    );
}

#[test]
fn tiles_that_do_not_fit_are_refused_with_the_shape() {
    let compute = two_threads();
    let packed = matrix(&compute, &[1; 96 * 288], 96, 288);
    for tiles in [
        tiles(0, 96, 32),
        tiles(64, 96, 32),
        tiles(96, 96, 16),
        tiles(96, 100, 32),
        tiles(96, 0, 32),
        tiles(48, 96, 32),
    ] {
        let error = write_tl1(&compute, &packed, tiles).unwrap_err().to_string();
        assert!(error.starts_with("TL1: tiles of"), "{error}");
        let error = write_tl2(&compute, &packed, tiles).unwrap_err().to_string();
        assert!(
            error.starts_with("TL2: tiles of") && error.contains("96 x 288"),
            "{error}"
        );
    }
}
