use std::ops::Range;

use super::write::zeros;
use super::{check, check_length, pack_codes};
use crate::disjoint::DisjointMut;
use crate::{Compute, KernelError, TernaryMatrix};

/// Bytes behind the codes: the scale, and padding of any content.
const TAIL: usize = 32;

/// Tile sizes of a TL1 or TL2 tensor. No file of bitnet.cpp states them: they are those of the kernels that were generated for
/// the shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlTiles {
    /// Rows of a tile.
    pub bm: usize,
    /// Columns of a tile.
    pub bk: usize,
    /// Rows of a group within a tile: 32 or 64 in TL1, always 32 in TL2.
    pub bmm: usize,
}

/// Where the bytes of a row lie in a TL1 tensor. A byte holds four neighbouring columns of a row, two pairs of codes:
///
/// ```text
/// byte = (3 c[k] + c[k + 1]) << 4 | 3 c[k + 2] + c[k + 3]
/// bytes in the order:  tile of bm rows > tile of bk columns > group of bmm rows
///                      > by = 256 / bmm columns (64 bytes) > 16 rows > 4 columns > row
/// then one f32 scale, in a tail of 32 bytes
/// ```
struct Order {
    rows: usize,
    cols: usize,
    tiles: TlTiles,
}

impl Order {
    fn new(rows: usize, cols: usize, tiles: TlTiles) -> Result<Self, KernelError> {
        check(rows, cols, 0.0)?;
        let TlTiles { bm, bk, bmm } = tiles;
        let fits = matches!(bmm, 32 | 64)
            && bm > 0
            && bk > 0
            && rows.is_multiple_of(bm)
            && bm.is_multiple_of(bmm)
            && cols.is_multiple_of(bk)
            && bk.is_multiple_of(256 / bmm);
        if fits {
            Ok(Self { rows, cols, tiles })
        } else {
            Err(KernelError::Tiles {
                layout: "TL1",
                rows,
                cols,
                tiles,
            })
        }
    }

    /// Bytes of all codes.
    fn len(&self) -> usize {
        self.rows * self.cols / 4
    }

    /// Bytes of a tile's rows.
    fn tile_len(&self) -> usize {
        self.tiles.bm * self.cols / 4
    }

    /// The positions of a row's bytes, from its first columns to its last.
    fn of_row(&self, row: usize) -> impl Iterator<Item = usize> {
        let TlTiles { bm, bk, bmm } = self.tiles;
        let by = 256 / bmm;
        let group = row % bm / bmm;
        let within = row % bmm / 16 * (by / 4) * 16 + row % 16;
        let first = row / bm * self.tile_len() + group * (bk / by * 64) + within;
        let steps = (0..self.cols / bk).flat_map(move |ko| (0..bk / by).map(move |ki| (ko, ki)));
        steps.flat_map(move |(ko, ki)| {
            let start = first + ko * bm * bk / 4 + ki * 64;
            (0..by / 4).map(move |p| start + p * 16)
        })
    }
}

/// A nibble's two codes; a nibble that stands for none gives code 3.
pub(super) fn pair_codes(nibble: u8) -> [u8; 2] {
    if nibble < 9 {
        [nibble / 3, nibble % 3]
    } else {
        [3, 3]
    }
}

/// The byte of four codes.
pub(super) fn two_pairs(codes: [u8; 4]) -> u8 {
    (3 * codes[0] + codes[1]) << 4 | (3 * codes[2] + codes[3])
}

/// The four codes of a byte.
pub(super) fn four_codes(byte: u8) -> [u8; 4] {
    let ([a, b], [c, d]) = (pair_codes(byte >> 4), pair_codes(byte & 15));
    [a, b, c, d]
}

/// Packs TL1, the layout of bitnet.cpp's ARM lookup kernels.
///
/// # Errors
/// Tiles that do not divide the shape, a length that does not fit, a nibble above 8, or a scale that is not finite.
pub fn pack_tl1(
    compute: &Compute,
    rows: usize,
    cols: usize,
    tiles: TlTiles,
    bytes: &[u8],
) -> Result<TernaryMatrix, KernelError> {
    let order = Order::new(rows, cols, tiles)?;
    check_length("TL1 weights", order.len() + TAIL, bytes)?;
    let (packed, tail) = bytes.split_at(order.len());
    let scale = f32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]);
    pack_codes(compute, rows, cols, scale, |row, codes| {
        for (codes, at) in codes
            .as_chunks_mut::<4>()
            .0
            .iter_mut()
            .zip(order.of_row(row))
        {
            *codes = four_codes(packed[at]);
        }
    })
}

/// Writes TL1: what [`pack_tl1`] reads.
///
/// # Errors
/// Tiles that do not divide the shape, or no memory.
pub fn write_tl1(
    compute: &Compute,
    matrix: &TernaryMatrix,
    tiles: TlTiles,
) -> Result<Vec<u8>, KernelError> {
    let order = Order::new(matrix.rows(), matrix.cols(), tiles)?;
    let mut bytes = zeros(order.len() + TAIL)?;
    let (packed, tail) = bytes.split_at_mut(order.len());
    tail[..4].copy_from_slice(&matrix.scale().to_le_bytes());
    let packed = DisjointMut::new(packed);
    compute.pool().run(matrix.rows() / tiles.bm, 1, &|tiles| {
        for tile in tiles {
            let start = tile * order.tile_len();
            // SAFETY: the pool hands out every tile once, and tiles do not overlap.
            let bytes = unsafe { packed.slice(start..start + order.tile_len()) };
            write_tile(matrix, &order, tile, bytes);
        }
    });
    Ok(bytes)
}

fn write_tile(matrix: &TernaryMatrix, order: &Order, tile: usize, bytes: &mut [u8]) {
    let (mut reader, mut codes) = (matrix.reader(), vec![0; matrix.cols()]);
    for row in rows_of_tile(tile, order.tiles.bm) {
        reader.read(row, &mut codes);
        for (codes, at) in codes.as_chunks::<4>().0.iter().zip(order.of_row(row)) {
            bytes[at - tile * order.tile_len()] = two_pairs(*codes);
        }
    }
}

pub(super) fn rows_of_tile(tile: usize, bm: usize) -> Range<usize> {
    tile * bm..(tile + 1) * bm
}
