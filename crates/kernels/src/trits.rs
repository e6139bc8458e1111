//! Ternary weights in 1.6 bits each: five codes in a byte.
//!
//! Five two-bit lines of a panel (see [`TernaryMatrix`](crate::TernaryMatrix)) become four lines of bytes with five codes each.
//! A byte of the k-th of them holds the four codes of the same byte of the k-th two-bit line and, as its fifth, the code that
//! the fifth two-bit line has there in its bits `2k`. So the activations lie as they do for two-bit lines, and what is left over
//! when a panel's lines are no multiple of five stays as it is, at the panel's end.
//!
//! # The code of a byte
//! Let `q = c0 + 3 c1 + 9 c2 + 27 c3` of the first four codes, 0 to 80. Negating their weights takes `q` to `80 - q`, so 41 values
//! `i = min(q, 80 - q)` and a sign do for all. The byte holds `i % 21 + 21 c4` in its bits 0 to 5, whether `i >= 21` in bit 6, and
//! whether `q > 40` in bit 7. So a table of 64 bytes tells the fifth code, and a table of 128 the other four, in two-bit fields,
//! up to their sign: two permutations of bytes and a subtraction where a plain base-3 number takes twice as much.

use crate::aligned::Line;

/// Two-bit lines that are coded together.
pub(crate) const BLOCK: usize = 5;

/// Lines that they become.
pub(crate) const CODED: usize = BLOCK - 1;

/// Values of `i` below bit 6.
pub(crate) const LOW: u8 = 21;

/// The two-bit fields of four codes 2: taking fields from it negates their weights.
pub(crate) const TWOS: u8 = 0b10_10_10_10;

/// The fifth code of a byte by its bits 0 to 5.
pub(crate) const FIFTHS: Line = {
    let mut table = Line([0; 64]);
    let mut at = 0;
    while at < 3 * LOW {
        table.0[at as usize] = at / LOW;
        at += 1;
    }
    table
};

/// The first four codes of a byte, in two-bit fields, by its bits 0 to 6 for a byte without bit 7.
pub(crate) const FOURS: [Line; 2] = {
    let mut tables = [Line([0; 64]); 2];
    let mut at = 0;
    while at < 128 {
        let q = at % 64 % LOW + at / 64 * LOW;
        tables[at as usize / 64].0[at as usize % 64] =
            (q % 3) | (q / 3 % 3) << 2 | (q / 9 % 3) << 4 | (q / 27 % 3) << 6;
        at += 1;
    }
    tables
};

/// Lines of a panel once its `lines` two-bit lines are coded.
pub(crate) fn coded_lines(lines: usize) -> usize {
    lines / BLOCK * CODED + lines % BLOCK
}

/// Codes the two-bit lines of a panel, which hold codes 0 to 2; `out`: [`coded_lines`] lines.
#[inline(always)]
pub(crate) fn encode(two_bits: &[Line], out: &mut [Line]) {
    let (blocks, rest) = two_bits.as_chunks::<BLOCK>();
    let (coded, kept) = out.split_at_mut(CODED * blocks.len());
    for (block, coded) in blocks.iter().zip(coded.as_chunks_mut::<CODED>().0) {
        for (k, coded) in coded.iter_mut().enumerate() {
            for at in 0..size_of::<Line>() {
                coded.0[at] = byte_of(block[k].0[at], block[CODED].0[at] >> (2 * k) & 3);
            }
        }
    }
    kept.copy_from_slice(rest);
}

/// The byte of four codes, in two-bit fields, and a fifth.
#[inline(always)]
fn byte_of(four: u8, fifth: u8) -> u8 {
    let pairs = (four & 0x33) + 3 * (four >> 2 & 0x33);
    let q = (pairs & 15) + 9 * (pairs >> 4);
    let i = q.min(80_u8.wrapping_sub(q));
    let bit6 = if i >= LOW { 64 - LOW } else { 0 };
    (i + bit6 + LOW * fifth) | u8::from(q > 40) << 7
}

/// The two-bit lines of whole panels, `lines` each, from coded ones: the reverse of [`encode`].
#[inline(always)]
pub(crate) fn decode(panels: &[Line], lines: usize, out: &mut [Line]) {
    let panels = panels.chunks_exact(coded_lines(lines));
    for (panel, out) in panels.zip(out.chunks_exact_mut(lines)) {
        let (blocks, rest) = out.as_chunks_mut::<BLOCK>();
        let (coded, kept) = panel.split_at(CODED * blocks.len());
        for (coded, block) in coded.as_chunks::<CODED>().0.iter().zip(blocks) {
            block[CODED].0.fill(0);
            for (k, coded) in coded.iter().enumerate() {
                for at in 0..size_of::<Line>() {
                    let (four, fifth) = codes_of(coded.0[at]);
                    block[k].0[at] = four;
                    block[CODED].0[at] |= fifth << (2 * k);
                }
            }
        }
        rest.copy_from_slice(kept);
    }
}

/// Four codes in two-bit fields, and the fifth.
#[inline(always)]
fn codes_of(byte: u8) -> (u8, u8) {
    let four = FOURS[usize::from(byte >> 6 & 1)].0[usize::from(byte & 63)];
    let fifth = FIFTHS.0[usize::from(byte & 63)];
    (if byte < 128 { four } else { TWOS - four }, fifth)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_five_codes_have_a_byte_of_their_own_and_come_back() {
        let mut seen = [false; 256];
        for number in 0..3_u8.pow(5) {
            let code = |place: u32| number / 3_u8.pow(place) % 3;
            let four = code(0) | code(1) << 2 | code(2) << 4 | code(3) << 6;
            let byte = byte_of(four, code(4));
            assert!(!seen[usize::from(byte)], "{number} has the byte of another");
            seen[usize::from(byte)] = true;
            assert_eq!(codes_of(byte), (four, code(4)), "{number}");
        }
    }

    #[test]
    fn coded_panels_come_back_with_any_number_of_lines() {
        for lines in [1, 4, 5, 6, 9, 10, 14, 15, 432] {
            let line = |at: usize| {
                Line(std::array::from_fn(|byte| {
                    let code = |g: usize| ((at * 7 + byte * 5 + g * at) % 3) as u8;
                    code(0) | code(1) << 2 | code(2) << 4 | code(3) << 6
                }))
            };
            let plain: Vec<Line> = (0..2 * lines).map(line).collect();
            let mut coded = vec![Line([0; 64]); 2 * coded_lines(lines)];
            for (plain, coded) in plain
                .chunks_exact(lines)
                .zip(coded.chunks_exact_mut(coded_lines(lines)))
            {
                encode(plain, coded);
            }
            let mut back = vec![Line([0xFF; 64]); 2 * lines];
            decode(&coded, lines, &mut back);
            let same = plain.iter().zip(&back).all(|(a, b)| a.0 == b.0);
            assert!(same, "{lines} lines");
        }
    }
}
