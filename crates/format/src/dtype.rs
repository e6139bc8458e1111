//! Element types of tensors and what they take on disk.

use std::fmt;

/// How a tensor's values are stored. Types that cannot be read never get this far: opening a file
/// that uses one is an error that names the tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// 32-bit float.
    F32,
    /// 16-bit IEEE float.
    F16,
    /// The upper half of a 32-bit float.
    Bf16,
    /// 64-bit float.
    F64,
    /// Signed byte.
    I8,
    /// Unsigned byte; packed ternary weights of Hugging Face checkpoints (four codes a byte).
    U8,
    /// Signed 16-bit integer.
    I16,
    /// Unsigned 16-bit integer.
    U16,
    /// Signed 32-bit integer.
    I32,
    /// Unsigned 32-bit integer.
    U32,
    /// Signed 64-bit integer.
    I64,
    /// Unsigned 64-bit integer.
    U64,
    /// One byte a boolean.
    Bool,
    /// 32 values of 4 bits, f16 scale.
    Q4_0,
    /// 32 values of 4 bits, f16 scale and minimum.
    Q4_1,
    /// 32 values of 5 bits, f16 scale.
    Q5_0,
    /// 32 values of 5 bits, f16 scale and minimum.
    Q5_1,
    /// 32 values of 8 bits, f16 scale.
    Q8_0,
    /// 256 values of 2 bits, 16 sub-scales.
    Q2K,
    /// 256 values of 3 bits, 16 sub-scales.
    Q3K,
    /// 256 values of 4 bits, 8 sub-scales.
    Q4K,
    /// 256 values of 5 bits, 8 sub-scales.
    Q5K,
    /// 256 values of 6 bits, 16 sub-scales.
    Q6K,
    /// 256 ternary values, five a byte, f16 scale.
    Tq1_0,
    /// 256 ternary values, four a byte, f16 scale.
    Tq2_0,
    /// 128 ternary values in 32 bytes; one f32 scale for the tensor behind all blocks.
    I2S,
    /// Ternary pairs in the tile order of ARM lookup kernels; one f32 scale behind them.
    Tl1,
    /// Ternary triples and pairs in the tile order of x86-64 lookup kernels; one f32 scale behind them.
    Tl2,
    /// Rows of an f16 scale and 13 bytes for every 64 ternary values.
    Iq1Bn,
    /// Rows of an f32 scale and 16 bytes for every 64 ternary values.
    Iq2Bn,
    /// The same, four rows interleaved.
    Iq2BnR4,
    /// Our own: panels of 16 rows and 16 columns, two bits a value, as they are multiplied; one f32 scale behind them.
    Tiles,
}

/// Bytes behind the codes of types with one scale for the tensor: the f32 scale and padding.
const SCALE_TAIL: usize = 32;

impl Dtype {
    /// The name that messages and reports use, in the spelling of the formats.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::F64 => "F64",
            Self::I8 => "I8",
            Self::U8 => "U8",
            Self::I16 => "I16",
            Self::U16 => "U16",
            Self::I32 => "I32",
            Self::U32 => "U32",
            Self::I64 => "I64",
            Self::U64 => "U64",
            Self::Bool => "BOOL",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q8_0 => "Q8_0",
            Self::Q2K => "Q2_K",
            Self::Q3K => "Q3_K",
            Self::Q4K => "Q4_K",
            Self::Q5K => "Q5_K",
            Self::Q6K => "Q6_K",
            Self::Tq1_0 => "TQ1_0",
            Self::Tq2_0 => "TQ2_0",
            Self::I2S => "I2_S",
            Self::Tl1 => "TL1",
            Self::Tl2 => "TL2",
            Self::Iq1Bn => "IQ1_BN",
            Self::Iq2Bn => "IQ2_BN",
            Self::Iq2BnR4 => "IQ2_BN_R4",
            Self::Tiles => "TILES",
        }
    }

    /// Values of one block: a row is a whole number of blocks.
    pub fn block_len(self) -> usize {
        self.block().0
    }

    /// Values and bytes of one block. TL2's differ within a row, so that its bytes are those of pairs.
    fn block(self) -> (usize, usize) {
        match self {
            Self::I8 | Self::U8 | Self::Bool => (1, 1),
            Self::F16 | Self::Bf16 | Self::I16 | Self::U16 => (1, 2),
            Self::F32 | Self::I32 | Self::U32 => (1, 4),
            Self::F64 | Self::I64 | Self::U64 => (1, 8),
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q5_0 => (32, 22),
            Self::Q5_1 => (32, 24),
            Self::Q8_0 => (32, 34),
            Self::Q2K => (256, 84),
            Self::Q3K => (256, 110),
            Self::Q4K => (256, 144),
            Self::Q5K => (256, 176),
            Self::Q6K => (256, 210),
            Self::Tq1_0 => (256, 54),
            Self::Tq2_0 => (256, 66),
            Self::I2S => (128, 32),
            Self::Tl1 => (4, 1),
            Self::Tl2 => (32, 8),
            Self::Iq1Bn => (64, 13),
            Self::Iq2Bn | Self::Iq2BnR4 => (64, 16),
            // Rows of any length: what does not fill a panel is padded.
            Self::Tiles => (1, 1),
        }
    }

    /// Bytes that a tensor of `shape` (row-major, last dimension fastest) takes on disk, or `None`
    /// when its rows are not whole blocks, the type does not take the shape, or the number does not fit.
    pub fn byte_len(self, shape: &[usize]) -> Option<usize> {
        let (values, bytes) = self.block();
        let row = shape.last().copied().unwrap_or(1);
        if !row.is_multiple_of(values) {
            return None;
        }
        let count = shape
            .iter()
            .try_fold(1_usize, |n, &dim| n.checked_mul(dim))?;
        let blocks = (count / values).checked_mul(bytes)?;
        match self {
            Self::I2S | Self::Tl1 => blocks.checked_add(SCALE_TAIL),
            Self::Tl2 => tl2_codes_len(count, row)?.checked_add(SCALE_TAIL),
            Self::Iq1Bn => blocks.checked_add((count / row.max(1)).checked_mul(size_of::<u16>())?),
            Self::Iq2Bn | Self::Iq2BnR4 => {
                blocks.checked_add((count / row.max(1)).checked_mul(size_of::<f32>())?)
            }
            Self::Tiles => tiles_len(count, row)?.checked_add(SCALE_TAIL),
            _ => Some(blocks),
        }
    }
}

/// Bytes of the panels of a matrix: 64 for each 16 rows and 16 columns, begun or whole.
fn tiles_len(count: usize, row: usize) -> Option<usize> {
    const SIDE: usize = 16;
    let panels = (count / row.max(1)).div_ceil(SIDE);
    panels.checked_mul(row.div_ceil(SIDE))?.checked_mul(64)
}

/// Bytes of a TL2 tensor up to its scale. Its writers reckon with 256 columns in pairs, 4 bits each, and the others in triples,
/// 5 bits each, whatever the tiles make of them.
fn tl2_codes_len(count: usize, row: usize) -> Option<usize> {
    const COUNTED_AS_PAIRS: usize = 256;
    let rows = count / row.max(1);
    let triples = row.checked_sub(COUNTED_AS_PAIRS)?.checked_mul(rows)? / 3;
    let codes =
        (triples.checked_mul(5)? / 8).checked_add(rows.checked_mul(COUNTED_AS_PAIRS / 4)?)?;
    codes.checked_next_multiple_of(SCALE_TAIL)
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_lengths_follow_from_blocks_rows_and_the_i2s_tail() {
        let cases = [
            (Dtype::F32, vec![3, 5], Some(60)),
            (Dtype::Bf16, vec![], Some(2)),
            (Dtype::U8, vec![0], Some(0)),
            (Dtype::Q4_0, vec![2, 64], Some(2 * 2 * 18)),
            (Dtype::Q4_0, vec![64, 33], None),
            (Dtype::Q6K, vec![1, 256], Some(210)),
            (Dtype::Tq1_0, vec![4, 512], Some(4 * 2 * 54)),
            (Dtype::I2S, vec![2, 128], Some(2 * 32 + 32)),
            (Dtype::I2S, vec![128, 64], None),
            (Dtype::Tl1, vec![64, 32], Some(64 * 32 / 4 + 32)),
            // 4096 - 256 columns in triples, 256 in pairs.
            (
                Dtype::Tl2,
                vec![96, 4096],
                Some(96 * 3840 / 3 * 5 / 8 + 96 * 64 + 32),
            ),
            (Dtype::Tl2, vec![64, 128], None),
            (Dtype::Iq1Bn, vec![3, 128], Some(3 * (2 + 2 * 13))),
            (Dtype::Iq2Bn, vec![3, 128], Some(3 * (4 + 2 * 16))),
            (Dtype::Tiles, vec![32, 48], Some(2 * 3 * 64 + 32)),
            (Dtype::Tiles, vec![17, 1], Some(2 * 64 + 32)),
            (Dtype::Tiles, vec![usize::MAX, 1], None),
            (Dtype::F32, vec![usize::MAX, 2], None),
            (Dtype::F64, vec![usize::MAX / 4], None),
        ];
        for (dtype, shape, expected) in cases {
            assert_eq!(dtype.byte_len(&shape), expected, "{dtype} {shape:?}");
        }
    }
}
