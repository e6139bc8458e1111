//! The float kernels, written once over [`Simd`]; each instruction set's file binds them to its vectors.
//!
//! Rows that do not fill the last vector are padded with zeros there.

use crate::compute::Activation;
use crate::dot::dots;
use crate::simd::{LANES, ROUND, Simd, padded};
use crate::ternary::PANEL_ROWS;

/// `max |x|`; NaN when any is NaN, zero when there is none.
#[inline(always)]
pub(crate) fn absmax<S: Simd>(s: S, x: &[f32]) -> f32 {
    let (blocks, tail) = x.as_chunks::<LANES>();
    let mut max = s.splat(0.0);
    for block in blocks {
        max = s.max_abs(max, s.load(block));
    }
    max = s.max_abs(max, s.load(&padded(tail)));
    let mut lanes = [0.0; LANES];
    s.store(max, &mut lanes);
    lanes
        .into_iter()
        .fold(0.0, |a: f32, b| if b > a || b.is_nan() { b } else { a })
}

/// `out = clamp(round_half_even(x * scale), -128, 127)`; returns the sum of `out`. NaN becomes 127.
#[inline(always)]
pub(crate) fn quantize<S: Simd>(s: S, x: &[f32], scale: f32, out: &mut [i8]) -> i32 {
    let (blocks, tail) = x.as_chunks::<LANES>();
    let (out_blocks, out_tail) = out[..x.len()].as_chunks_mut::<LANES>();
    for (block, out) in blocks.iter().zip(out_blocks) {
        s.store_i8(quantized(s, s.load(block), scale), out);
    }
    let mut last = [0; LANES];
    s.store_i8(quantized(s, s.load(&padded(tail)), scale), &mut last);
    out_tail.copy_from_slice(&last[..tail.len()]);
    out[..x.len()].iter().map(|&q| i32::from(q)).sum()
}

/// `out = (sums - offset) scale`, the panels' sums one after the other, as far as `out` goes. Compilers make it vectors.
#[inline(always)]
pub(crate) fn scale_sums(sums: &[[i32; PANEL_ROWS]], offset: i32, scale: f32, out: &mut [f32]) {
    let (panels, rest) = out.as_chunks_mut::<PANEL_ROWS>();
    for (out, sums) in panels.iter_mut().zip(sums) {
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = (sum - offset) as f32 * scale;
        }
    }
    for (out, sum) in rest
        .iter_mut()
        .zip(sums.iter().skip(panels.len()).flatten())
    {
        *out = (sum - offset) as f32 * scale;
    }
}

#[inline(always)]
fn quantized<S: Simd>(s: S, x: S::F32s, scale: f32) -> S::F32s {
    let scaled = s.max(
        s.min(s.mul(x, s.splat(scale)), s.splat(127.0)),
        s.splat(-128.0),
    );
    s.sub(s.add(scaled, s.splat(ROUND)), s.splat(ROUND))
}

/// `x * (1 / sqrt(mean(x^2) + eps)) * weight` of one row.
#[inline(always)]
pub(crate) fn rms_norm<S: Simd>(s: S, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let [[sum]] = dots(s, [x], [x]);
    let factor = s.splat(1.0 / (sum / x.len() as f32 + eps).sqrt());
    let (blocks, tail) = x.as_chunks::<LANES>();
    let (weights, weight_tail) = weight.as_chunks::<LANES>();
    let (outs, out_tail) = out.as_chunks_mut::<LANES>();
    for ((x, weight), out) in blocks.iter().zip(weights).zip(outs) {
        s.store(s.mul(s.mul(s.load(x), factor), s.load(weight)), out);
    }
    let mut last = [0.0; LANES];
    s.store(
        s.mul(
            s.mul(s.load(&padded(tail)), factor),
            s.load(&padded(weight_tail)),
        ),
        &mut last,
    );
    out_tail.copy_from_slice(&last[..tail.len()]);
}

/// `gate = activation(gate) * up`.
#[inline(always)]
pub(crate) fn gated<S: Simd>(s: S, gate: &mut [f32], up: &[f32], activation: Activation) {
    let (blocks, tail) = gate.as_chunks_mut::<LANES>();
    let (ups, up_tail) = up.as_chunks::<LANES>();
    for (gate, up) in blocks.iter_mut().zip(ups) {
        s.store(
            s.mul(activate(s, s.load(gate), activation), s.load(up)),
            gate,
        );
    }
    let mut last = padded(tail);
    s.store(
        s.mul(
            activate(s, s.load(&last), activation),
            s.load(&padded(up_tail)),
        ),
        &mut last,
    );
    tail.copy_from_slice(&last[..tail.len()]);
}

#[inline(always)]
fn activate<S: Simd>(s: S, x: S::F32s, activation: Activation) -> S::F32s {
    match activation {
        Activation::Silu => x_times_logistic(s, x, x),
        Activation::Relu2 => {
            // The constant first, so that NaN stays NaN.
            let positive = s.max(s.splat(0.0), x);
            s.mul(positive, positive)
        }
        Activation::GeluTanh => {
            // (1 + tanh u) / 2 is the logistic function of 2u; u = sqrt(2 / pi) (x + 0.044715 x^3).
            let cubic = s.mul(s.mul(s.mul(x, x), x), s.splat(0.044_715));
            x_times_logistic(s, x, s.mul(s.add(x, cubic), s.splat(1.595_769)))
        }
    }
}

/// `x / (1 + exp(-u))`.
#[inline(always)]
fn x_times_logistic<S: Simd>(s: S, x: S::F32s, u: S::F32s) -> S::F32s {
    s.div(x, s.add(s.splat(1.0), exp(s, s.sub(s.splat(0.0), u))))
}

/// `x = exp(x - max x)`; returns the sum of the new `x`.
#[inline(always)]
pub(crate) fn exp_of_differences<S: Simd>(s: S, x: &mut [f32]) -> f32 {
    let max = max_value(s, x);
    let (blocks, tail) = x.as_chunks_mut::<LANES>();
    let mut sum = s.splat(0.0);
    for block in blocks {
        let power = exp(s, s.sub(s.load(block), s.splat(max)));
        sum = s.add(sum, power);
        s.store(power, block);
    }
    if !tail.is_empty() {
        // Lanes past the end stay out of the sum.
        let mut last = [f32::NEG_INFINITY; LANES];
        last[..tail.len()].copy_from_slice(tail);
        let power = exp(s, s.sub(s.load(&last), s.splat(max)));
        sum = s.add(sum, power);
        s.store(power, &mut last);
        tail.copy_from_slice(&last[..tail.len()]);
    }
    s.fold(sum)
}

#[inline(always)]
fn max_value<S: Simd>(s: S, x: &[f32]) -> f32 {
    let (blocks, tail) = x.as_chunks::<LANES>();
    let mut max = s.splat(f32::NEG_INFINITY);
    for block in blocks {
        max = s.max(s.load(block), max);
    }
    let mut lanes = [f32::NEG_INFINITY; LANES];
    s.store(max, &mut lanes);
    lanes
        .iter()
        .chain(tail)
        .fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a })
}

/// `e^x` within 1.5 ulp; infinite above 88.73, zero below -103.98, NaN for NaN.
///
/// `e^x = 2^n e^r` with `n = round(x / ln 2)` and `|r| <= ln 2 / 2`; `e^r` by its Taylor polynomial of degree 7, whose error
/// there is below 2^-27. `2^n` is multiplied in two halves, since `n` goes past what one exponent holds.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::F32s) -> S::F32s {
    // ln 2 in two parts: the first has so few digits that its product with n is exact.
    const LN_2_HIGH: f32 = 355.0 / 512.0;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const COEFFICIENTS: [f32; 6] = [
        1.0 / 5040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
    ];
    // The constants first, so that NaN stays NaN.
    let x = s.max(s.splat(-104.0), s.min(s.splat(89.0), x));
    let rounded = s.add(s.mul(x, s.splat(std::f32::consts::LOG2_E)), s.splat(ROUND));
    let n = s.sub(rounded, s.splat(ROUND));
    let r = s.sub(
        s.sub(x, s.mul(n, s.splat(LN_2_HIGH))),
        s.mul(n, s.splat(LN_2_LOW)),
    );
    let mut polynomial = s.splat(COEFFICIENTS[0]);
    for coefficient in &COEFFICIENTS[1..] {
        polynomial = s.add(s.mul(polynomial, r), s.splat(*coefficient));
    }
    let power = s.add(s.add(s.mul(s.mul(polynomial, r), r), r), s.splat(1.0));
    let half = s.add(s.mul(n, s.splat(0.5)), s.splat(ROUND));
    let rest = s.add(s.sub(n, s.sub(half, s.splat(ROUND))), s.splat(ROUND));
    s.mul(
        s.mul(power, s.exp2_of_rounded(half)),
        s.exp2_of_rounded(rest),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Scalar;

    fn exp_of(x: f32) -> f32 {
        exp(Scalar, [x; LANES])[0]
    }

    /// The distance to the true value in units of the last place of its f32.
    fn error_in_ulps(x: f32) -> f64 {
        let exact = f64::from(x).exp();
        let ulp = f64::from((exact as f32).next_up()) - f64::from(exact as f32);
        (f64::from(exp_of(x)) - exact).abs() / ulp
    }

    #[test]
    fn exp_is_within_one_and_a_half_ulps_of_its_definition() {
        const ULPS: f64 = 1.5;
        let mut x = -103.0_f32;
        while x < 88.7 {
            assert!(
                error_in_ulps(x) < ULPS,
                "exp({x}) is {} ulps off",
                error_in_ulps(x)
            );
            x += 0.000_7;
        }
    }

    #[test]
    fn exp_keeps_its_limits() {
        assert_eq!(exp_of(0.0), 1.0);
        assert_eq!(exp_of(89.0), f32::INFINITY);
        assert_eq!(exp_of(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp_of(-105.0), 0.0);
        assert_eq!(exp_of(f32::NEG_INFINITY), 0.0);
        assert!(exp_of(f32::NAN).is_nan());
    }

    #[test]
    fn absmax_never_loses_nan() {
        for at in [0, 31, 32, 40] {
            let mut x = [1.0; 41];
            x[at] = f32::NAN;
            assert!(absmax(Scalar, &x).is_nan(), "NaN at {at}");
        }
        assert_eq!(absmax(Scalar, &[0.5, -2.0, 1.0]), 2.0);
        assert_eq!(absmax(Scalar, &[]), 0.0);
    }

    #[test]
    fn rounding_is_half_to_even_and_stays_in_range() {
        let x = [0.5, 1.5, 2.5, -0.5, -1.5, 126.6, 300.0, -300.0, f32::NAN];
        let mut out = [0; 9];
        let sum = quantize(Scalar, &x, 1.0, &mut out);
        assert_eq!(out, [0, 2, 2, 0, -2, 127, 127, -128, 127]);
        assert_eq!(sum, 255);
    }
}
