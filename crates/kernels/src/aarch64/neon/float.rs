//! The float kernels: vectors are eight registers.
//!
//! The conversions of half precision are unstable in Rust, so they are written in assembly.

use std::arch::aarch64::*;
use std::arch::asm;

use super::prefetch;
use crate::simd::{LANES, Simd};

crate::dispatch::float_kernels!(Neon::new(), #[target_feature(enable = "neon")]);

/// Proof that the processor has NEON.
#[derive(Clone, Copy)]
struct Neon(());

impl Neon {
    #[inline]
    #[target_feature(enable = "neon")]
    fn new() -> Self {
        Self(())
    }
}

/// Registers of a vector.
const REGISTERS: usize = LANES / 4;

type F32s = [float32x4_t; REGISTERS];

/// Applies an operation on registers to each of the eight.
macro_rules! lanewise {
    ($name:ident($($argument:ident),*), $instruction:ident) => {
        #[inline(always)]
        fn $name(self, $($argument: F32s),*) -> F32s {
            // SAFETY: `self` proves the instructions.
            unsafe {
                let mut out = [vdupq_n_f32(0.0); REGISTERS];
                for i in 0..REGISTERS {
                    out[i] = $instruction($($argument[i]),*);
                }
                out
            }
        }
    };
}

/// Fills each of the eight registers from the four numbers that begin at an index.
macro_rules! registers {
    ($index:ident => $value:expr) => {
        // SAFETY: `self` proves the instructions; the array that is read holds all lanes.
        unsafe {
            let mut out = [vdupq_n_f32(0.0); REGISTERS];
            for i in 0..REGISTERS {
                let $index = 4 * i;
                out[i] = $value;
            }
            out
        }
    };
}

impl Simd for Neon {
    type F32s = F32s;

    const ROW_TILE: usize = 1;
    const TOKEN_TILE: usize = 2;

    #[inline(always)]
    fn splat(self, x: f32) -> F32s {
        // SAFETY: `self` proves the instructions.
        unsafe { [vdupq_n_f32(x); REGISTERS] }
    }
    #[inline(always)]
    fn splat_halves(self, low: f32, high: f32) -> F32s {
        // SAFETY: `self` proves the instructions.
        let (low, high) = unsafe { (vdupq_n_f32(low), vdupq_n_f32(high)) };
        [low, low, low, low, high, high, high, high]
    }
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> F32s {
        registers!(i => vld1q_f32(x.as_ptr().add(i)))
    }
    #[inline(always)]
    fn load_f16(self, x: &[u8; 2 * LANES]) -> F32s {
        registers!(i => f16_to_f32(x.as_ptr().add(2 * i)))
    }
    #[inline(always)]
    fn load_bf16(self, x: &[u8; 2 * LANES]) -> F32s {
        registers!(i => bf16_to_f32(x.as_ptr().add(2 * i)))
    }
    #[inline(always)]
    fn load_i8(self, x: &[u8; LANES]) -> F32s {
        registers!(i => i8_to_f32(x.as_ptr().add(i)))
    }
    #[inline(always)]
    fn load_i16(self, x: &[i16; LANES]) -> F32s {
        registers!(i => vcvtq_f32_s32(vmovl_s16(vld1_s16(x.as_ptr().add(i)))))
    }
    #[inline(always)]
    fn load_i16_pairs(self, x: [&[i16; LANES]; 2]) -> [F32s; 2] {
        let pairs = |i: usize| {
            let x = x[i / (LANES / 2)]
                .as_ptr()
                .wrapping_add(i % (LANES / 2) * 2);
            // SAFETY: `self` proves the instructions; four pairs from a multiple of four on lie within one of the arrays.
            unsafe { vreinterpretq_s32_s16(vld1q_s16(x)) }
        };
        let high = |pairs| {
            // SAFETY: `self` proves the instructions.
            unsafe { vandq_s32(pairs, vdupq_n_s32(0xFFFF_0000_u32.cast_signed())) }
        };
        [
            registers!(i => vcvtq_f32_s32(vshlq_n_s32::<16>(pairs(i)))),
            registers!(i => vcvtq_f32_s32(high(pairs(i)))),
        ]
    }
    #[inline(always)]
    fn load_bits(self, x: &[u8; LANES], shift: usize, mask: u8) -> F32s {
        registers!(i => bits_to_f32(x.as_ptr().add(i), shift, mask))
    }
    #[inline(always)]
    fn load_nibbles(self, x: &[u8; LANES / 2]) -> F32s {
        registers!(i => bits_to_f32(x.as_ptr().add(i % 16), i / 16 * 4, 15))
    }
    #[inline(always)]
    fn store(self, a: F32s, out: &mut [f32; LANES]) {
        for i in 0..REGISTERS {
            // SAFETY: `self` proves the instructions; the array is eight registers.
            unsafe { vst1q_f32(out.as_mut_ptr().add(4 * i), a[i]) };
        }
    }
    #[inline(always)]
    fn store_i8(self, a: F32s, out: &mut [i8; LANES]) {
        for i in 0..REGISTERS / 2 {
            // SAFETY: `self` proves the instructions; a pair of registers becomes eight bytes of the array.
            unsafe {
                let low = vqmovn_s32(vcvtnq_s32_f32(a[2 * i]));
                let high = vqmovn_s32(vcvtnq_s32_f32(a[2 * i + 1]));
                vst1_s8(
                    out.as_mut_ptr().add(8 * i),
                    vqmovn_s16(vcombine_s16(low, high)),
                );
            }
        }
    }

    lanewise!(add(a, b), vaddq_f32);
    lanewise!(sub(a, b), vsubq_f32);
    lanewise!(mul(a, b), vmulq_f32);
    lanewise!(div(a, b), vdivq_f32);
    lanewise!(min(a, b), register_min);
    lanewise!(max(a, b), register_max);
    lanewise!(max_abs(a, b), register_max_abs);
    lanewise!(exp2_of_rounded(a), register_exp2_of_rounded);

    #[inline(always)]
    fn fold(self, a: F32s) -> f32 {
        // SAFETY: `self` proves the instructions.
        unsafe {
            let mut a = a;
            for half in [4, 2, 1] {
                for i in 0..half {
                    a[i] = vaddq_f32(a[i], a[i + half]);
                }
            }
            let two = vadd_f32(vget_low_f32(a[0]), vget_high_f32(a[0]));
            vget_lane_f32::<0>(two) + vget_lane_f32::<1>(two)
        }
    }
    #[inline(always)]
    fn prefetch<T>(self, address: *const T) {
        prefetch(address.cast());
    }
}

/// Not `vminq_f32`, which is NaN where either is.
#[inline]
#[target_feature(enable = "neon")]
fn register_min(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    vbslq_f32(vcltq_f32(a, b), a, b)
}

/// Not `vmaxq_f32`, which is NaN where either is.
#[inline]
#[target_feature(enable = "neon")]
fn register_max(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    vbslq_f32(vcgtq_f32(a, b), a, b)
}

/// Non-negative floats order as their bits, with NaN on top.
#[inline]
#[target_feature(enable = "neon")]
fn register_max_abs(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    let (a, b) = (
        vreinterpretq_u32_f32(vabsq_f32(a)),
        vreinterpretq_u32_f32(vabsq_f32(b)),
    );
    vreinterpretq_f32_u32(vmaxq_u32(a, b))
}

#[inline]
#[target_feature(enable = "neon")]
fn register_exp2_of_rounded(a: float32x4_t) -> float32x4_t {
    let exponent = vshlq_n_u32::<23>(vreinterpretq_u32_f32(a));
    vreinterpretq_f32_u32(vaddq_u32(exponent, vreinterpretq_u32_f32(vdupq_n_f32(1.0))))
}

/// # Safety
/// Four numbers can be read from `x`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn f16_to_f32(x: *const u8) -> float32x4_t {
    // SAFETY: the caller's promise.
    let halves = unsafe { vld1_u8(x) };
    let out: float32x4_t;
    // SAFETY: the instruction works on the given registers only.
    unsafe {
        asm!(
            "fcvtl {out:v}.4s, {halves:v}.4h",
            out = lateout(vreg) out,
            halves = in(vreg) halves,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    out
}

/// # Safety
/// Four numbers can be read from `x`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn bf16_to_f32(x: *const u8) -> float32x4_t {
    // SAFETY: the caller's promise.
    let halves = vreinterpret_u16_u8(unsafe { vld1_u8(x) });
    vreinterpretq_f32_u32(vshll_n_u16::<16>(halves))
}

/// # Safety
/// Four bytes can be read from `x`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn four_bytes(x: *const u8) -> uint8x8_t {
    // SAFETY: the caller's promise.
    vreinterpret_u8_u32(vdup_n_u32(unsafe { x.cast::<u32>().read_unaligned() }))
}

/// # Safety
/// Four bytes can be read from `x`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn i8_to_f32(x: *const u8) -> float32x4_t {
    // SAFETY: the caller's promise.
    let bytes = vreinterpret_s8_u8(unsafe { four_bytes(x) });
    vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(bytes))))
}

/// # Safety
/// Four bytes can be read from `x`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn bits_to_f32(x: *const u8, shift: usize, mask: u8) -> float32x4_t {
    // SAFETY: the caller's promise.
    let bytes = unsafe { four_bytes(x) };
    let bits = vand_u8(vshl_u8(bytes, vdup_n_s8(-(shift as i8))), vdup_n_u8(mask));
    vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(bits))))
}
