//! What the machine can do at most, measured: reading memory, and adding products of 8-bit integers. The yardstick beside
//! which a speed says how much is left.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::aligned::{Line, fill_parts};
use crate::dot::PREFETCH_BYTES;
use crate::{Compute, Isa, KernelError};

/// Passes of a measurement, of which the best counts: other work on the machine can only make one slower.
const PASSES: usize = 7;

/// A thread's share at a time of a buffer that is read, in lines: 1 MiB.
const PART_LINES: usize = (1 << 20) / size_of::<Line>();

/// Bytes a second, in GB/s, at which all threads together read a buffer of about `bytes`, rounded up to whole MiB.
///
/// The buffer is allocated and touched as packed weights are. It should be several times as large as the last-level cache.
///
/// # Errors
/// [`KernelError::OutOfMemory`] when there is no room for the buffer.
pub fn read_bandwidth(compute: &Compute, bytes: usize) -> Result<f64, KernelError> {
    let parts = bytes.div_ceil(PART_LINES * size_of::<Line>()).max(1);
    let fill = |index: usize, lines: &mut [Line]| lines.fill(Line([index as u8; 64]));
    let lines = fill_parts(compute, parts, PART_LINES, Line([0; 64]), fill)?;
    let time = best_time(|| {
        compute.pool().run(parts, 1, &|range| {
            black_box(sum_of(
                &lines[range.start * PART_LINES..range.end * PART_LINES],
            ));
        });
    });
    Ok(size_of_val(&*lines) as f64 / time.as_secs_f64() / 1e9)
}

/// Products of an unsigned and a signed 8-bit integer, each added to a sum, that all threads together do from registers with
/// the instructions of the kernels in use: 10^9 a second.
pub fn int8_dot_peak(compute: &Compute) -> f64 {
    /// Pieces of work for each thread, so that one that the system holds up gets fewer.
    const PIECES: usize = 64;
    /// Turns of the loop in a piece: under a millisecond.
    const STEPS: usize = 1 << 14;
    let isa = compute.kernels().isa();
    let pieces = PIECES * compute.threads();
    let time = best_time(|| {
        compute.pool().run(pieces, 1, &|range| {
            for _ in range {
                multiply_add(isa, STEPS);
            }
        });
    });
    (pieces * STEPS * products_a_step(isa)) as f64 / time.as_secs_f64() / 1e9
}

fn best_time(work: impl Fn()) -> Duration {
    let timed = |_| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..PASSES).map(timed).min().unwrap_or_default()
}

/// The sum of all 64-bit words, for which every line has to come from memory.
fn sum_of(lines: &[Line]) -> u64 {
    let mut sums = [0_u64; 8];
    for line in lines {
        prefetch(line);
        for (sum, word) in sums.iter_mut().zip(line.0.as_chunks::<8>().0) {
            *sum = sum.wrapping_add(u64::from_ne_bytes(*word));
        }
    }
    sums.into_iter().fold(0, u64::wrapping_add)
}

/// Asks for the line a page ahead, as the kernels do: the processor by itself does not look across the end of a page.
#[inline(always)]
fn prefetch(line: &Line) {
    let ahead = std::ptr::from_ref(line).wrapping_byte_add(PREFETCH_BYTES);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch of any address is allowed, and every x86-64 processor has the instruction.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(ahead.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a prefetch of any address is allowed, and every ARM64 processor has the instruction.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{ahead}]", ahead = in(reg) ahead, options(nostack, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = ahead;
}

/// Sums that a loop below adds to in turn: more than an instruction's latency times its throughput.
const SUMS: usize = 12;

/// Numbers of an array that the portable loop multiplies.
const SCALAR_PRODUCTS: usize = 256;

/// Products of one turn of [`multiply_add`]'s loop.
fn products_a_step(isa: Isa) -> usize {
    match isa {
        // WebAssembly knows no assembly: its limit is what the portable loop reaches.
        Isa::Scalar | Isa::Simd128 | Isa::RelaxedSimd => SCALAR_PRODUCTS,
        Isa::Neon => SUMS * 8,
        Isa::NeonDotprod => SUMS * 16,
        Isa::NeonI8mm => SUMS * 32,
        Isa::Avx2 | Isa::AvxVnni => SUMS * 32,
        Isa::Avx512Vnni | Isa::Avx512Vbmi => SUMS * 64,
    }
}

/// `steps` turns of a loop that does nothing but multiply and add.
fn multiply_add(isa: Isa, steps: usize) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the kernels of a `Compute` exist only where the processor has their instructions.
        Isa::Avx512Vnni | Isa::Avx512Vbmi => unsafe { loops::avx512vnni(steps) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::AvxVnni => unsafe { loops::avxvnni(steps) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx2 => unsafe { loops::avx2(steps) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        Isa::Neon => unsafe { loops::neon(steps) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        Isa::NeonDotprod => unsafe { loops::dotprod(steps) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        Isa::NeonI8mm => unsafe { loops::i8mm(steps) },
        _ => multiply_add_scalar(steps),
    }
}

fn multiply_add_scalar(steps: usize) {
    let (codes, inputs) = ([1_u8; SCALAR_PRODUCTS], [3_i8; SCALAR_PRODUCTS]);
    for _ in 0..steps {
        let pairs = black_box(&codes).iter().zip(black_box(&inputs));
        black_box(
            pairs
                .map(|(&code, &input)| i32::from(code) * i32::from(input))
                .sum::<i32>(),
        );
    }
}

/// Defines a loop of one instruction, or of two with a register between them, `$product`.
///
/// Written as assembly: the compiler would take products that never change out of the loop.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! multiply_add_loop {
    ($name:ident, $features:literal, $class:ident, $splat:expr, $($line:literal)*, $($product:ident)?) => {
        #[target_feature(enable = $features)]
        pub(super) fn $name(steps: usize) {
            let (codes, inputs) = ($splat(1), $splat(3));
            let mut sums = [$splat(0); SUMS];
            for _ in 0..steps {
                for sum in &mut sums {
                    // SAFETY: reads and writes the named registers only.
                    unsafe {
                        asm!(
                            $($line,)*
                            sum = inout($class) *sum,
                            codes = in($class) codes,
                            inputs = in($class) inputs,
                            $($product = out($class) _,)?
                            options(nomem, nostack, preserves_flags),
                        );
                    }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod loops {
    use std::arch::{asm, x86_64::*};

    use super::SUMS;

    multiply_add_loop!(
        avx512vnni,
        "avx512f,avx512vnni",
        zmm_reg,
        _mm512_set1_epi8,
        "vpdpbusd {sum}, {codes}, {inputs}",
    );
    multiply_add_loop!(
        avxvnni,
        "avx2,avxvnni",
        ymm_reg,
        _mm256_set1_epi8,
        "{{vex}} vpdpbusd {sum}, {codes}, {inputs}",
    );
    // Sums of 16 bits, as in the kernel, which widens them so seldom that it hardly counts.
    multiply_add_loop!(
        avx2, "avx2", ymm_reg, _mm256_set1_epi8,
        "vpmaddubsw {product}, {codes}, {inputs}" "vpaddw {sum}, {sum}, {product}", product
    );
}

#[cfg(target_arch = "aarch64")]
mod loops {
    use std::arch::{aarch64::*, asm};

    use super::SUMS;

    // Sums of 16 bits, as in the kernel.
    multiply_add_loop!(
        neon,
        "neon",
        vreg,
        vdupq_n_s8,
        "smlal {sum:v}.8h, {codes:v}.8b, {inputs:v}.8b",
    );
    multiply_add_loop!(
        dotprod,
        "neon,dotprod",
        vreg,
        vdupq_n_s8,
        "sdot {sum:v}.4s, {codes:v}.16b, {inputs:v}.16b",
    );
    multiply_add_loop!(
        i8mm,
        "neon,i8mm",
        vreg,
        vdupq_n_s8,
        "smmla {sum:v}.4s, {codes:v}.16b, {inputs:v}.16b",
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kernels;

    #[test]
    fn every_instruction_set_has_limits_above_zero() {
        for isa in Isa::available() {
            let kernels = Kernels::for_isa(isa).expect("available");
            let compute = Compute::new(kernels, 2).expect("threads");
            let read = read_bandwidth(&compute, 3 << 20).expect("3 MiB");
            let peak = int8_dot_peak(&compute);
            assert!(read.is_finite() && read > 0.0, "{isa}: {read} GB/s");
            assert!(peak.is_finite() && peak > 0.0, "{isa}: {peak} GMAC/s");
        }
    }

    #[test]
    fn the_sum_of_lines_takes_in_every_word() {
        let mut lines = vec![Line([0; 64]); 5];
        for index in 0..5 * 8 {
            lines[index / 8].0[index % 8 * 8] = 1;
        }
        assert_eq!(
            sum_of(&lines),
            u64::from_ne_bytes([40, 0, 0, 0, 0, 0, 0, 0])
        );
    }
}
