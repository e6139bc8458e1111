//! Panels made at once from files in which a line's codes of a row are 16 neighbouring bytes, all at one shift.

use super::{ONES, line_word_of_halves};
use crate::aligned::Line;
use crate::ternary::LINE_INPUTS;

/// Where the codes of a row's lines lie.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CodeOrder {
    /// A byte an input, its code from this bit on.
    Plane { shift: u32 },
    /// Groups of 32 inputs in 32 bytes, four of them from the high bits down: I2_S.
    Groups32,
    /// Groups of 16 inputs in 16 bytes, four of them from the high bits down: I2_S of ARM builds.
    Groups16,
}

impl CodeOrder {
    /// Where the 16 bytes of a line begin, and from which bit on its codes are.
    #[inline(always)]
    pub(crate) fn place(self, line: usize) -> (usize, u32) {
        let descending = |group: usize| 6 - 2 * group as u32;
        match self {
            Self::Plane { shift } => (LINE_INPUTS * line, shift),
            Self::Groups32 => {
                let (block, within) = (line / 8, line % 8);
                (
                    32 * block + LINE_INPUTS * (within % 2),
                    descending(within / 2),
                )
            }
            Self::Groups16 => (LINE_INPUTS * (line / 4), descending(line % 4)),
        }
    }

    /// Bytes of a row of so many lines.
    pub(crate) fn row_bytes(self, lines: usize) -> usize {
        let four_in_a_byte = |lines: usize| lines * LINE_INPUTS / 4;
        match self {
            Self::Plane { .. } => lines * LINE_INPUTS,
            Self::Groups32 => four_in_a_byte(lines.next_multiple_of(8)),
            Self::Groups16 => four_in_a_byte(lines.next_multiple_of(4)),
        }
    }
}

/// Sixteen rows of a file.
#[derive(Clone, Copy)]
pub(crate) struct PanelSource<'a> {
    /// From the first row's first byte to the last one's last.
    pub(crate) bytes: &'a [u8],
    /// Bytes from a row to the next one.
    pub(crate) stride: usize,
    pub(crate) order: CodeOrder,
}

/// The two-bit lines of a panel from 16 rows of a file; `true` where one of the codes is 3, and what the lines hold is of no use.
pub(crate) fn gather_lines(source: PanelSource<'_>, out: &mut [Line]) -> bool {
    let mut threes = 0_u64;
    for (l, line) in out.iter_mut().enumerate() {
        let (at, shift) = source.order.place(l);
        for (r, word) in line.0.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let bytes = &source.bytes[r * source.stride + at..][..LINE_INPUTS];
            // Codes stay within their bytes, so the halves are shifted apart: 128 bits by a variable take branches.
            let codes = [0, 8].map(|half| {
                u64::from_le_bytes(std::array::from_fn(|i| bytes[half + i])) >> shift
                    & (3 * ONES as u64)
            });
            threes |= codes[0] & codes[0] >> 1 | codes[1] & codes[1] >> 1;
            *word = line_word_of_halves(codes).to_le_bytes();
        }
    }
    threes & ONES as u64 != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ternary::PANEL_ROWS;
    use crate::{Isa, Kernels};

    /// Bytes of which all codes are 0, 1 or 2.
    fn valid(byte: usize) -> u8 {
        (byte & !(byte >> 1 & 0x55)) as u8
    }

    #[test]
    fn lines_are_gathered_alike_on_every_instruction_set() {
        let planes = [0, 2, 4, 6].map(|shift| CodeOrder::Plane { shift });
        let orders = planes
            .into_iter()
            .chain([CodeOrder::Groups32, CodeOrder::Groups16]);
        for order in orders {
            for lines in [4, 8, 24] {
                let row = order.row_bytes(lines);
                for stride in [row, row + 7] {
                    let mut bytes: Vec<u8> = (0..(PANEL_ROWS - 1) * stride + row)
                        .map(|i| valid(i * 89 + i * i / 7))
                        .collect();
                    check(&bytes, stride, order, lines, false);
                    // A three in the last code of all.
                    let (at, shift) = order.place(lines - 1);
                    bytes[(PANEL_ROWS - 1) * stride + at + LINE_INPUTS - 1] |= 3 << shift;
                    check(&bytes, stride, order, lines, true);
                }
            }
        }
    }

    fn check(bytes: &[u8], stride: usize, order: CodeOrder, lines: usize, has_threes: bool) {
        let source = PanelSource {
            bytes,
            stride,
            order,
        };
        let mut expected = vec![Line([0; 64]); lines];
        assert_eq!(gather_lines(source, &mut expected), has_threes);
        for isa in Isa::available() {
            let kernels = Kernels::for_isa(isa).expect("available");
            let mut out = vec![Line([0xFF; 64]); lines];
            assert_eq!(
                kernels.gather_lines(source, &mut out),
                has_threes,
                "{isa}: {order:?}"
            );
            let same = out.iter().zip(&expected).all(|(a, b)| a.0 == b.0);
            assert!(same, "{isa}: {order:?}, {lines} lines, {stride} apart");
        }
    }
}
