use super::tl1::{TlTiles, four_codes, rows_of_tile, two_pairs};
use super::write::zeros;
use super::{check, check_length, pack_codes};
use crate::disjoint::DisjointMut;
use crate::{Compute, KernelError, TernaryMatrix};

/// Rows of a group.
const GROUP: usize = 32;

/// Bytes of the scale and its padding, and what it is aligned to.
const TAIL: usize = 32;

/// Columns that the size of a tensor counts as stored in pairs, whatever the tiles leave.
const COUNTED_AS_PAIRS: usize = 256;

/// Where the parts of a row lie in a TL2 tensor. The columns up to the last whole tile are stored in triples, the rest in pairs:
///
/// ```text
/// indices  tile of bm rows > tile of bk columns > group of 32 rows > 6 columns (32 bytes) > row
///          byte = |t(k)| << 4 | |t(k + 3)|,  t(k) = 9 w[k] + 3 w[k + 1] + w[k + 2], of -13 to 13
/// signs    tile > tile > group > 24 columns (16 words) > row % 16
///          u16; bit 15 - (2 i + h): whether triple i (0 to 7) of row % 32 = 16 h + w is below zero
/// pairs    tile > 32 columns > group > 4 columns (32 bytes) > row, as TL1's bytes
/// zeros up to a multiple of 32 that the shape alone gives, then one f32 scale, in a tail of 32 bytes
/// ```
///
/// Within a group, indices and pairs take the rows 8 to 15 and 16 to 23 in each other's place.
struct Order {
    rows: usize,
    cols: usize,
    tiles: TlTiles,
    /// Columns in triples.
    triples: usize,
}

impl Order {
    fn new(rows: usize, cols: usize, tiles: TlTiles) -> Result<Self, KernelError> {
        check(rows, cols, 0.0)?;
        let TlTiles { bm, bk, bmm } = tiles;
        let fits = bmm == GROUP
            && bm > 0
            && (24..=COUNTED_AS_PAIRS).contains(&bk)
            && rows.is_multiple_of(bm)
            && bm.is_multiple_of(GROUP)
            && bk.is_multiple_of(24)
            && cols >= COUNTED_AS_PAIRS
            && (cols % bk).is_multiple_of(32);
        if fits {
            let triples = cols / bk * bk;
            Ok(Self {
                rows,
                cols,
                tiles,
                triples,
            })
        } else {
            Err(KernelError::Tiles {
                layout: "TL2",
                rows,
                cols,
                tiles,
            })
        }
    }

    /// Columns in pairs.
    fn pairs(&self) -> usize {
        self.cols - self.triples
    }

    /// Bytes that `rows` rows take in the sections: indices, signs, pairs.
    fn section_lens(&self, rows: usize) -> [usize; 3] {
        [
            rows * self.triples / 6,
            rows * self.triples / 24,
            rows * self.pairs() / 4,
        ]
    }

    /// Where the sections begin.
    fn starts(&self) -> [usize; 3] {
        let [indices, signs, _] = self.section_lens(self.rows);
        [0, indices, indices + signs]
    }

    /// Where the scale lies: behind as many bytes as the shape would take with 256 columns in pairs.
    fn scale_at(&self) -> usize {
        let triples = (self.cols - COUNTED_AS_PAIRS) * self.rows / 3 * 5 / 8;
        (triples + COUNTED_AS_PAIRS / 4 * self.rows).next_multiple_of(TAIL)
    }

    /// A row's position among the groups of its tile of rows and a tile of columns, and whether groups come `before` it.
    fn groups_before(&self, row: usize, column_tiles: usize, column_tile: usize) -> usize {
        let (tile, group) = (row / self.tiles.bm, row % self.tiles.bm / GROUP);
        (tile * column_tiles + column_tile) * (self.tiles.bm / GROUP) + group
    }

    /// Positions of a row's indices, from its first columns to its last.
    fn indices(&self, row: usize) -> impl Iterator<Item = usize> {
        let (tiles, steps) = (self.triples / self.tiles.bk, self.tiles.bk / 6);
        let at = position(row % GROUP);
        (0..tiles).flat_map(move |tile| {
            let first = self.groups_before(row, tiles, tile) * steps * GROUP + at;
            (0..steps).map(move |step| first + step * GROUP)
        })
    }

    /// Positions of the low bytes of a row's words of signs.
    fn signs(&self, row: usize) -> impl Iterator<Item = usize> {
        let (tiles, steps) = (self.triples / self.tiles.bk, self.tiles.bk / 24);
        (0..tiles).flat_map(move |tile| {
            let first = self.groups_before(row, tiles, tile) * steps * 16 + row % 16;
            (0..steps).map(move |step| 2 * (first + step * 16))
        })
    }

    /// Positions of a row's pairs.
    fn pairs_of(&self, row: usize) -> impl Iterator<Item = usize> {
        let tiles = self.pairs() / 32;
        let at = position(row % GROUP);
        (0..tiles).flat_map(move |tile| {
            let first = self.groups_before(row, tiles, tile) * 8 * GROUP + at;
            (0..8).map(move |step| first + step * GROUP)
        })
    }
}

/// The place of a row in its group's indices and pairs.
fn position(row: usize) -> usize {
    match row / 8 {
        1 => row + 8,
        2 => row - 8,
        _ => row,
    }
}

/// The bit of triple `i` in a word of signs, for a row.
fn sign_bit(row: usize, i: usize) -> u16 {
    1 << (15 - (2 * i + row % GROUP / 16))
}

/// The codes of a triple; a magnitude that stands for none gives code 3.
fn triple_codes(magnitude: u8, is_negative: bool) -> [u8; 3] {
    if magnitude > 13 {
        return [3; 3];
    }
    let n = if is_negative {
        13 - magnitude
    } else {
        13 + magnitude
    };
    [n / 9, n / 3 % 3, n % 3]
}

/// Magnitude and sign of a triple.
fn triple([a, b, c]: [u8; 3]) -> (u8, bool) {
    let n = 9 * a + 3 * b + c;
    (n.abs_diff(13), n < 13)
}

/// Packs TL2, the layout of bitnet.cpp's x86-64 lookup kernels.
///
/// # Errors
/// Tiles that do not fit the shape, a length that does not fit, a code that stands for nothing, or a scale that is not finite.
pub fn pack_tl2(
    compute: &Compute,
    rows: usize,
    cols: usize,
    tiles: TlTiles,
    bytes: &[u8],
) -> Result<TernaryMatrix, KernelError> {
    let order = Order::new(rows, cols, tiles)?;
    check_length("TL2 weights", order.scale_at() + TAIL, bytes)?;
    let (packed, tail) = bytes.split_at(order.scale_at());
    let scale = f32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]);
    let [indices, signs, pairs] = order.starts().map(|start| &packed[start..]);
    pack_codes(compute, rows, cols, scale, |row, codes| {
        let (in_triples, in_pairs) = codes.split_at_mut(order.triples);
        let mut index = order.indices(row);
        for (codes, at) in in_triples
            .as_chunks_mut::<24>()
            .0
            .iter_mut()
            .zip(order.signs(row))
        {
            let word = u16::from_le_bytes([signs[at], signs[at + 1]]);
            let two_triples = codes.as_chunks_mut::<6>().0.iter_mut().zip(&mut index);
            for (i, (codes, at)) in two_triples.enumerate() {
                let is_negative = |i| word & sign_bit(row, i) != 0;
                let [a, b, c] = triple_codes(indices[at] >> 4, is_negative(2 * i));
                let [d, e, f] = triple_codes(indices[at] & 15, is_negative(2 * i + 1));
                *codes = [a, b, c, d, e, f];
            }
        }
        let groups = in_pairs.as_chunks_mut::<4>().0.iter_mut();
        for (codes, at) in groups.zip(order.pairs_of(row)) {
            *codes = four_codes(pairs[at]);
        }
    })
}

/// Writes TL2: what [`pack_tl2`] reads.
///
/// # Errors
/// Tiles that do not fit the shape, or no memory.
pub fn write_tl2(
    compute: &Compute,
    matrix: &TernaryMatrix,
    tiles: TlTiles,
) -> Result<Vec<u8>, KernelError> {
    let order = Order::new(matrix.rows(), matrix.cols(), tiles)?;
    let mut bytes = zeros(order.scale_at() + TAIL)?;
    let (packed, tail) = bytes.split_at_mut(order.scale_at());
    tail[..4].copy_from_slice(&matrix.scale().to_le_bytes());
    let packed = DisjointMut::new(packed);
    let (starts, lens) = (order.starts(), order.section_lens(tiles.bm));
    compute.pool().run(matrix.rows() / tiles.bm, 1, &|tiles| {
        for tile in tiles {
            let sections = [0, 1, 2].map(|section| {
                let start = starts[section] + tile * lens[section];
                // SAFETY: the pool hands out every tile once; tiles of a section do not overlap, nor do sections.
                unsafe { packed.slice(start..start + lens[section]) }
            });
            write_tile(matrix, &order, tile, sections);
        }
    });
    Ok(bytes)
}

/// `sections`: the bytes of the tile's rows in each.
fn write_tile(matrix: &TernaryMatrix, order: &Order, tile: usize, sections: [&mut [u8]; 3]) {
    let [indices, signs, pairs] = sections;
    let skipped = order.section_lens(order.tiles.bm).map(|len| tile * len);
    let (mut reader, mut codes) = (matrix.reader(), vec![0; matrix.cols()]);
    for row in rows_of_tile(tile, order.tiles.bm) {
        reader.read(row, &mut codes);
        let (in_triples, in_pairs) = codes.split_at(order.triples);
        let mut index = order.indices(row);
        for (codes, at) in in_triples.as_chunks::<24>().0.iter().zip(order.signs(row)) {
            let mut word = 0;
            let two_triples = codes.as_chunks::<6>().0.iter().zip(&mut index);
            for (i, (&[a, b, c, d, e, f], at)) in two_triples.enumerate() {
                let [first, second] = [triple([a, b, c]), triple([d, e, f])];
                indices[at - skipped[0]] = first.0 << 4 | second.0;
                for (i, (_, is_negative)) in [(2 * i, first), (2 * i + 1, second)] {
                    word |= if is_negative { sign_bit(row, i) } else { 0 };
                }
            }
            // A word holds the signs of two rows.
            for (byte, of_row) in signs[at - skipped[1]..].iter_mut().zip(word.to_le_bytes()) {
                *byte |= of_row;
            }
        }
        let groups = in_pairs.as_chunks::<4>().0.iter();
        for (codes, at) in groups.zip(order.pairs_of(row)) {
            pairs[at - skipped[2]] = two_pairs(*codes);
        }
    }
}
