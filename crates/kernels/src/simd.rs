//! The vector that the float kernels are written in: [`LANES`] numbers, whatever the registers' width.

/// Virtual lanes of every float sum: lane `j` adds the elements `i` with `i % 32 == j` in their order.
pub const LANES: usize = 32;

/// Adding and taking away this constant rounds `|x| < 2^22` to the nearest integer, ties to even; its bits' low end is the integer.
pub(crate) const ROUND: f32 = 12_582_912.0;

/// What a code of a key counts for once it is read: the low half of 32 bits becomes a number in the fewest instructions when it is
/// brought to the high half.
pub(crate) const KEY_UNIT: f32 = 65536.0;

/// The operations of one instruction set on vectors of [`LANES`] numbers.
///
/// A value of the implementing type proves that the processor has the instructions. Every operation rounds each lane by
/// itself as IEEE 754 says, and none fuses a multiplication with an addition, so all implementations give the same bits.
pub(crate) trait Simd: Copy {
    /// [`LANES`] f32 values.
    type F32s: Copy;

    /// How many weight rows share the loads of an activation row without spilling registers: 1 or 2.
    const ROW_TILE: usize;

    /// How many activation rows share the loads of a weight row: 1, 2 or 4.
    const TOKEN_TILE: usize;

    fn splat(self, x: f32) -> Self::F32s;
    /// `low` in the first 16 lanes, `high` in the others.
    fn splat_halves(self, low: f32, high: f32) -> Self::F32s;
    fn load(self, x: &[f32; LANES]) -> Self::F32s;
    /// Little-endian half precision numbers.
    fn load_f16(self, x: &[u8; 2 * LANES]) -> Self::F32s;
    /// Little-endian upper halves of f32 numbers.
    fn load_bf16(self, x: &[u8; 2 * LANES]) -> Self::F32s;
    /// Signed bytes.
    fn load_i8(self, x: &[u8; LANES]) -> Self::F32s;
    /// Signed 16-bit numbers.
    fn load_i16(self, x: &[i16; LANES]) -> Self::F32s;
    /// The numbers of even index, then those of odd index, each times [`KEY_UNIT`].
    fn load_i16_pairs(self, x: [&[i16; LANES]; 2]) -> [Self::F32s; 2];
    /// Bits of unsigned bytes: `x >> shift & mask`.
    fn load_bits(self, x: &[u8; LANES], shift: usize, mask: u8) -> Self::F32s;
    /// The low nibbles of 16 bytes, then the high ones.
    fn load_nibbles(self, x: &[u8; LANES / 2]) -> Self::F32s;
    fn store(self, a: Self::F32s, out: &mut [f32; LANES]);
    /// Values that are integers within -128..=127.
    fn store_i8(self, a: Self::F32s, out: &mut [i8; LANES]);

    fn add(self, a: Self::F32s, b: Self::F32s) -> Self::F32s;
    fn sub(self, a: Self::F32s, b: Self::F32s) -> Self::F32s;
    fn mul(self, a: Self::F32s, b: Self::F32s) -> Self::F32s;
    fn div(self, a: Self::F32s, b: Self::F32s) -> Self::F32s;
    /// `a < b ? a : b`, so `b` where either is NaN.
    fn min(self, a: Self::F32s, b: Self::F32s) -> Self::F32s;
    /// `a > b ? a : b`, so `b` where either is NaN.
    fn max(self, a: Self::F32s, b: Self::F32s) -> Self::F32s;
    /// The larger of `|a|` and `|b|`; NaN counts as larger than infinity, so it is never lost.
    fn max_abs(self, a: Self::F32s, b: Self::F32s) -> Self::F32s;
    /// `2^n` from `n + ROUND`, for integers `n` within -126..=127.
    fn exp2_of_rounded(self, a: Self::F32s) -> Self::F32s;
    /// The sum of the lanes: lane `i` += lane `i + half` for halves 16, 8, 4, 2, 1.
    fn fold(self, a: Self::F32s) -> f32;
    /// [`fold`](Self::fold) of each.
    #[inline(always)]
    fn fold_4(self, [a, b, c, d]: [Self::F32s; 4]) -> [f32; 4] {
        [self.fold(a), self.fold(b), self.fold(c), self.fold(d)]
    }
    /// Asks for the cache line at an address, which may be any.
    fn prefetch<T>(self, address: *const T);
}

/// The value of a little-endian half precision number, exactly; NaN stays NaN.
#[inline(always)]
pub(crate) fn f16_to_f32(bytes: [u8; 2]) -> f32 {
    /// The difference of the two formats' exponent biases, 127 - 15, as a factor.
    const REBIAS: f32 = f32::from_bits((127 + 112) << 23);
    const INFINITY: u32 = 0x7c00;
    let half = u32::from(u16::from_le_bytes(bytes));
    let (sign, magnitude) = ((half & 0x8000) << 16, half & 0x7fff);
    // Digits and exponent side by side in the same order: as f32 bits they are a number 2^112 too small, subnormal ones too.
    let value = if magnitude < INFINITY {
        f32::from_bits(magnitude << 13) * REBIAS
    } else {
        f32::from_bits(magnitude << 13 | 0x7f80_0000)
    };
    f32::from_bits(value.to_bits() | sign)
}

/// The value of a little-endian upper half of an f32.
#[inline(always)]
pub(crate) fn bf16_to_f32(bytes: [u8; 2]) -> f32 {
    f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)
}

/// `x`, shorter than the array, followed by zeros.
#[inline(always)]
pub(crate) fn padded<T: Copy + Default, const N: usize>(x: &[T]) -> [T; N] {
    let mut block = [T::default(); N];
    block[..x.len()].copy_from_slice(x);
    block
}

/// The portable implementation: needs nothing, and is what the others are tested against.
#[derive(Clone, Copy)]
pub(crate) struct Scalar;

impl Simd for Scalar {
    type F32s = [f32; LANES];

    const ROW_TILE: usize = 1;
    const TOKEN_TILE: usize = 1;

    #[inline(always)]
    fn splat(self, x: f32) -> [f32; LANES] {
        [x; LANES]
    }
    #[inline(always)]
    fn splat_halves(self, low: f32, high: f32) -> [f32; LANES] {
        std::array::from_fn(|i| if i < 16 { low } else { high })
    }
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> [f32; LANES] {
        *x
    }
    #[inline(always)]
    fn load_f16(self, x: &[u8; 2 * LANES]) -> [f32; LANES] {
        std::array::from_fn(|i| f16_to_f32([x[2 * i], x[2 * i + 1]]))
    }
    #[inline(always)]
    fn load_bf16(self, x: &[u8; 2 * LANES]) -> [f32; LANES] {
        std::array::from_fn(|i| bf16_to_f32([x[2 * i], x[2 * i + 1]]))
    }
    #[inline(always)]
    fn load_i8(self, x: &[u8; LANES]) -> [f32; LANES] {
        x.map(|byte| f32::from(byte.cast_signed()))
    }
    #[inline(always)]
    fn load_i16(self, x: &[i16; LANES]) -> [f32; LANES] {
        x.map(f32::from)
    }
    #[inline(always)]
    fn load_i16_pairs(self, x: [&[i16; LANES]; 2]) -> [[f32; LANES]; 2] {
        [0, 1].map(|odd| std::array::from_fn(|i| f32::from(x[i / 16][i % 16 * 2 + odd]) * KEY_UNIT))
    }
    #[inline(always)]
    fn load_bits(self, x: &[u8; LANES], shift: usize, mask: u8) -> [f32; LANES] {
        x.map(|byte| f32::from(byte >> shift & mask))
    }
    #[inline(always)]
    fn load_nibbles(self, x: &[u8; LANES / 2]) -> [f32; LANES] {
        std::array::from_fn(|i| f32::from(if i < 16 { x[i] & 15 } else { x[i - 16] >> 4 }))
    }
    #[inline(always)]
    fn store(self, a: [f32; LANES], out: &mut [f32; LANES]) {
        *out = a;
    }
    #[inline(always)]
    fn store_i8(self, a: [f32; LANES], out: &mut [i8; LANES]) {
        *out = a.map(|x| x as i8);
    }

    #[inline(always)]
    fn add(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        std::array::from_fn(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        std::array::from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn div(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        std::array::from_fn(|i| a[i] / b[i])
    }
    #[inline(always)]
    fn min(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        std::array::from_fn(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn max(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        std::array::from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn max_abs(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        // The bits of non-negative floats order as integers, with NaN on top.
        std::array::from_fn(|i| f32::from_bits(a[i].abs().to_bits().max(b[i].abs().to_bits())))
    }
    #[inline(always)]
    fn exp2_of_rounded(self, a: [f32; LANES]) -> [f32; LANES] {
        a.map(|x| f32::from_bits((x.to_bits() << 23).wrapping_add(1.0_f32.to_bits())))
    }
    #[inline(always)]
    fn fold(self, a: [f32; LANES]) -> f32 {
        let mut lanes = a;
        for half in [16, 8, 4, 2, 1] {
            for i in 0..half {
                lanes[i] += lanes[i + half];
            }
        }
        lanes[0]
    }
    #[inline(always)]
    fn prefetch<T>(self, _address: *const T) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_precision_number_becomes_its_value() {
        for bits in 0..=u16::MAX {
            let (ours, expected) = (
                f16_to_f32(bits.to_le_bytes()),
                half::f16::from_bits(bits).to_f32(),
            );
            let same = ours.to_bits() == expected.to_bits() || ours.is_nan() && expected.is_nan();
            assert!(same, "{bits:#06x} became {ours}, expected {expected}");
        }
    }
}
