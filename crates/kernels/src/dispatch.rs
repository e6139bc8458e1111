//! From [`Kernels`] to the functions of its instruction set: the only place that chooses.

use std::ops::Range;

use crate::aligned::Line;
use crate::coarse::estimate::PanelEstimates;
use crate::coarse::input::Input;
use crate::coarse::{BLOCK_INPUTS, BLOCK_LINES, COARSE_TILE, FINE_INPUTS, PanelBounds};
use crate::compute::Activation;
use crate::kv_read::{ColumnRows, KeyTile};
use crate::pack::gather::{self, PanelSource};
use crate::ternary::{
    LINE_INPUTS, MAX_CODED_COLS, MAX_TRIT_ROWS, PANEL_ROWS, PANEL_TILE, TOKEN_TILE,
};
use crate::{DenseType, Isa, Kernels, LANES, RopeBlock, portable, trits};

/// Binds the kernels of `float.rs`, `dot.rs` and `blocks.rs` to a [`Simd`](crate::simd::Simd) value, under the given attributes.
macro_rules! float_kernels {
    ($simd:expr, $(#[$attribute:meta])*) => {
        $(#[$attribute])*
        pub(crate) fn absmax(x: &[f32]) -> f32 {
            crate::float::absmax($simd, x)
        }
        $(#[$attribute])*
        pub(crate) fn quantize(x: &[f32], scale: f32, out: &mut [i8]) -> i32 {
            crate::float::quantize($simd, x, scale, out)
        }
        $(#[$attribute])*
        pub(crate) fn scale_sums(sums: &[[i32; crate::ternary::PANEL_ROWS]], offset: i32, scale: f32, out: &mut [f32]) {
            crate::float::scale_sums(sums, offset, scale, out);
        }
        $(#[$attribute])*
        pub(crate) fn dot_rows(w: &[f32], x: &[f32], cols: usize, n: usize, out: &mut [f32], out_stride: usize) {
            crate::dot::dot_rows($simd, w, x, cols, n, out, out_stride);
        }
        $(#[$attribute])*
        pub(crate) fn dot_rows_f16(w: &[u8], x: &[f32], out: &mut [f32]) {
            crate::dot::dot_rows_f16($simd, w, x, out);
        }
        $(#[$attribute])*
        pub(crate) fn dot_rows_bf16(w: &[u8], x: &[f32], out: &mut [f32]) {
            crate::dot::dot_rows_bf16($simd, w, x, out);
        }
        $(#[$attribute])*
        pub(crate) fn dot_rows_q8_0(w: &[u8], x: &[f32], out: &mut [f32]) {
            crate::dot::dot_rows_q8_0($simd, w, x, out);
        }
        $(#[$attribute])*
        pub(crate) fn decode(dtype: crate::DenseType, bytes: &[u8], out: &mut [f32]) {
            crate::blocks::decode($simd, dtype, bytes, out);
        }
        $(#[$attribute])*
        pub(crate) fn round_row(weights: &[f32], scale: f32, inverse: f32, codes: &mut [i8]) -> [f32; 3] {
            crate::coarse::split::round_row($simd, weights, scale, inverse, codes)
        }
        $(#[$attribute])*
        pub(crate) fn panel_estimates(
            bounds: &crate::coarse::PanelBounds,
            input: &crate::coarse::input::Input,
            sums: &[[i32; crate::PANEL_ROWS]],
            rows: usize,
        ) -> crate::coarse::estimate::PanelEstimates {
            crate::coarse::estimate::estimates(bounds, input, sums, rows)
        }
        $(#[$attribute])*
        pub(crate) fn split_rows(
            codes: &[i8],
            stride: usize,
            panel: &mut [crate::aligned::Line],
            fine: &mut [crate::aligned::Line],
        ) {
            crate::coarse::split::split_rows(codes, stride, panel, fine);
        }
        $(#[$attribute])*
        pub(crate) fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
            crate::float::rms_norm($simd, x, weight, eps, out);
        }
        $(#[$attribute])*
        pub(crate) fn gated(gate: &mut [f32], up: &[f32], activation: crate::Activation) {
            crate::float::gated($simd, gate, up, activation);
        }
        $(#[$attribute])*
        pub(crate) fn exp_of_differences(x: &mut [f32]) -> f32 {
            crate::float::exp_of_differences($simd, x)
        }
        $(#[$attribute])*
        pub(crate) fn key_scores(
            keys: crate::kv_read::KeyTile<'_>,
            rope: &crate::RopeBlock,
            scale: f32,
            x: &[f32],
            room: &mut [[f32; crate::LANES]],
            out: &mut [[f32; crate::LANES]],
        ) {
            crate::kv_read::key_scores($simd, keys, rope, scale, x, room, out);
        }
        $(#[$attribute])*
        pub(crate) fn add_weighted_values(
            values: crate::kv_read::ColumnRows<'_>,
            places: std::ops::Range<usize>,
            weights: &[f32],
            weight_stride: usize,
            sums: &mut [[f32; crate::LANES]],
        ) {
            crate::kv_read::add_weighted_values($simd, values, places, weights, weight_stride, sums);
        }
    };
}
pub(crate) use float_kernels;

macro_rules! dispatch {
    ($kernels:expr, $function:ident($($argument:expr),*)) => {
        match $kernels.isa() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a `Kernels` of this ISA exists only where detection found its features.
            Isa::Avx2 => unsafe { crate::x86_64::avx2::$function($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::AvxVnni => unsafe { crate::x86_64::avxvnni::$function($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx512Vnni => unsafe { crate::x86_64::avx512_vnni::$function($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx512Vbmi => unsafe { crate::x86_64::avx512_vbmi::$function($($argument),*) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: as above.
            Isa::Neon => unsafe { crate::aarch64::neon::$function($($argument),*) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: as above.
            Isa::NeonDotprod => unsafe { crate::aarch64::neon_dotprod::$function($($argument),*) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: as above.
            Isa::NeonI8mm => unsafe { crate::aarch64::neon_i8mm::$function($($argument),*) },
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Isa::Simd128 => crate::wasm32::simd128::$function($($argument),*),
            #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
            Isa::RelaxedSimd => crate::wasm32::relaxed_simd::$function($($argument),*),
            _ => portable::$function($($argument),*),
        }
    };
}

/// The same for what only one instruction set does in a way of its own.
macro_rules! trit_dispatch {
    ($kernels:expr, $function:ident($($argument:expr),*), $portable:path) => {
        match $kernels.isa() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a `Kernels` of this ISA exists only where detection found its features.
            Isa::Avx512Vbmi => unsafe { crate::x86_64::avx512_vbmi::$function($($argument),*) },
            _ => $portable($($argument),*),
        }
    };
}

impl Kernels {
    /// [`float::absmax`](crate::float::absmax).
    pub(crate) fn absmax(self, x: &[f32]) -> f32 {
        dispatch!(self, absmax(x))
    }

    /// [`float::quantize`](crate::float::quantize).
    pub(crate) fn quantize(self, x: &[f32], scale: f32, out: &mut [i8]) -> i32 {
        assert!(out.len() >= x.len(), "no room for the rounded row");
        dispatch!(self, quantize(x, scale, out))
    }

    /// [`float::scale_sums`](crate::float::scale_sums).
    pub(crate) fn scale_sums(
        self,
        sums: &[[i32; PANEL_ROWS]],
        offset: i32,
        scale: f32,
        out: &mut [f32],
    ) {
        dispatch!(self, scale_sums(sums, offset, scale, out));
    }

    /// [`portable::ternary_tile`].
    pub(crate) fn ternary_tile(
        self,
        panels: &[Line],
        lines: usize,
        x: &[i8],
        n: usize,
        acc: &mut [[i32; PANEL_ROWS]],
    ) {
        let count = panels.len() / lines;
        assert!(
            (1..=PANEL_TILE).contains(&count) && (1..=TOKEN_TILE).contains(&n),
            "tile too large"
        );
        assert!(
            panels.len() == count * lines && acc.len() == count * n,
            "tile of unequal parts"
        );
        assert_eq!(x.len(), n * lines * LINE_INPUTS, "tile of another width");
        dispatch!(self, ternary_tile(panels, lines, x, n, acc));
    }

    /// Whether weights of 1.6 bits are worth their unpacking.
    #[must_use]
    pub fn prefers_trits(self) -> bool {
        self.isa() == Isa::Avx512Vbmi
    }

    /// Rows of a tile of `n` token rows at most. Where it is no more than [`MAX_TRIT_ROWS`], coded panels are unpacked anew for
    /// each tile, else once for all.
    pub(crate) fn tile_rows(self, n: usize) -> usize {
        /// Rows up to which unpacking anew was measured to be no slower.
        const FEW_ROWS: usize = 16;
        if self.prefers_trits() && n <= FEW_ROWS {
            MAX_TRIT_ROWS
        } else {
            TOKEN_TILE
        }
    }

    /// [`portable::trit_tile`].
    pub(crate) fn trit_tile(
        self,
        panels: &[Line],
        lines: usize,
        x: &[i8],
        n: usize,
        acc: &mut [[i32; PANEL_ROWS]],
    ) {
        assert!((1..=MAX_TRIT_ROWS).contains(&n), "tile too large");
        let count = acc.len() / n;
        assert!(
            panels.len() == count * trits::coded_lines(lines) && acc.len() == count * n,
            "tile of unequal parts"
        );
        assert_eq!(x.len(), n * lines * LINE_INPUTS, "tile of another width");
        assert!(lines * LINE_INPUTS <= MAX_CODED_COLS, "sums might overflow");
        trit_dispatch!(
            self,
            trit_tile(panels, lines, x, n, acc),
            portable::trit_tile
        );
    }

    /// [`trits::decode`].
    pub(crate) fn decode_trits(self, panels: &[Line], lines: usize, out: &mut [Line]) {
        let count = out.len() / lines;
        assert!(
            out.len() == count * lines && panels.len() == count * trits::coded_lines(lines),
            "panels of unequal lengths"
        );
        trit_dispatch!(self, decode_trits(panels, lines, out), trits::decode);
    }

    /// [`trits::encode`].
    pub(crate) fn encode_trits(self, two_bits: &[Line], out: &mut [Line]) {
        let coded = trits::coded_lines(two_bits.len());
        assert_eq!(out.len(), coded, "panels of unequal lengths");
        trit_dispatch!(self, encode_trits(two_bits, out), trits::encode);
    }

    /// [`gather::gather_lines`].
    pub(crate) fn gather_lines(self, source: PanelSource<'_>, out: &mut [Line]) -> bool {
        let row = source.order.row_bytes(out.len());
        assert!(
            row <= source.stride && source.bytes.len() >= (PANEL_ROWS - 1) * source.stride + row,
            "rows too short for their lines"
        );
        match self.isa() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a `Kernels` of these exists only where detection found their features.
            Isa::Avx512Vnni | Isa::Avx512Vbmi => unsafe {
                crate::x86_64::avx512_vnni::gather_lines(source, out)
            },
            _ => gather::gather_lines(source, out),
        }
    }

    /// [`portable::coarse_tile`].
    pub(crate) fn coarse_tile(
        self,
        panel: &[Line],
        x: &[i8],
        n: usize,
        acc: &mut [[i32; PANEL_ROWS]],
    ) {
        assert!(
            n.is_multiple_of(2) && (2..=COARSE_TILE).contains(&n),
            "tile of a width that has no kernel"
        );
        assert!(
            !panel.is_empty() && panel.len().is_multiple_of(BLOCK_LINES) && acc.len() == n,
            "tile of unequal parts"
        );
        assert_eq!(
            x.len(),
            panel.len() / BLOCK_LINES * BLOCK_INPUTS * n,
            "tile of another width"
        );
        dispatch!(self, coarse_tile(panel, x, n, acc));
    }

    /// [`portable::fine_sums`].
    pub(crate) fn fine_sums(self, fine: &[Line], ahead: &[Line], x: [&[i8]; 2]) -> [i32; 2] {
        assert_eq!(fine.len(), ahead.len(), "rows of different widths");
        let fits = |x: &[i8]| x.len() == fine.len() * FINE_INPUTS;
        assert!(x.into_iter().all(fits), "row of another width");
        dispatch!(self, fine_sums(fine, ahead, x))
    }

    /// [`split::round_row`](crate::coarse::split::round_row).
    pub(crate) fn round_row(
        self,
        weights: &[f32],
        scale: f32,
        inverse: f32,
        codes: &mut [i8],
    ) -> [f32; 3] {
        assert!(codes.len() >= weights.len(), "no room for the rounded row");
        dispatch!(self, round_row(weights, scale, inverse, codes))
    }

    /// [`estimate::estimates`](crate::coarse::estimate::estimates).
    pub(crate) fn panel_estimates(
        self,
        bounds: &PanelBounds,
        input: &Input,
        sums: &[[i32; PANEL_ROWS]],
        rows: usize,
    ) -> PanelEstimates {
        dispatch!(self, panel_estimates(bounds, input, sums, rows))
    }

    /// [`split::split_rows`](crate::coarse::split::split_rows).
    pub(crate) fn split_rows(
        self,
        codes: &[i8],
        stride: usize,
        panel: &mut [Line],
        fine: &mut [Line],
    ) {
        dispatch!(self, split_rows(codes, stride, panel, fine));
    }

    /// [`dot::dot_rows`](crate::dot::dot_rows).
    pub(crate) fn dot_rows(
        self,
        w: &[f32],
        x: &[f32],
        cols: usize,
        n: usize,
        out: &mut [f32],
        out_stride: usize,
    ) {
        dispatch!(self, dot_rows(w, x, cols, n, out, out_stride));
    }

    /// [`dot::dot_rows_f16`](crate::dot::dot_rows_f16).
    pub(crate) fn dot_rows_f16(self, w: &[u8], x: &[f32], out: &mut [f32]) {
        dispatch!(self, dot_rows_f16(w, x, out));
    }

    /// [`dot::dot_rows_bf16`](crate::dot::dot_rows_bf16).
    pub(crate) fn dot_rows_bf16(self, w: &[u8], x: &[f32], out: &mut [f32]) {
        dispatch!(self, dot_rows_bf16(w, x, out));
    }

    /// [`dot::dot_rows_q8_0`](crate::dot::dot_rows_q8_0).
    pub(crate) fn dot_rows_q8_0(self, w: &[u8], x: &[f32], out: &mut [f32]) {
        dispatch!(self, dot_rows_q8_0(w, x, out));
    }

    /// [`blocks::decode`](crate::blocks::decode).
    pub(crate) fn decode(self, dtype: DenseType, bytes: &[u8], out: &mut [f32]) {
        dispatch!(self, decode(dtype, bytes, out));
    }

    /// [`float::rms_norm`](crate::float::rms_norm).
    pub(crate) fn rms_norm(self, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        dispatch!(self, rms_norm(x, weight, eps, out));
    }

    /// [`float::gated`](crate::float::gated).
    pub(crate) fn gated(self, gate: &mut [f32], up: &[f32], activation: Activation) {
        dispatch!(self, gated(gate, up, activation));
    }

    /// [`float::exp_of_differences`](crate::float::exp_of_differences).
    pub(crate) fn exp_of_differences(self, x: &mut [f32]) -> f32 {
        dispatch!(self, exp_of_differences(x))
    }

    /// [`kv_read::key_scores`](crate::kv_read::key_scores).
    pub(crate) fn key_scores(
        self,
        keys: KeyTile<'_>,
        rope: &RopeBlock,
        scale: f32,
        x: &[f32],
        room: &mut [[f32; LANES]],
        out: &mut [[f32; LANES]],
    ) {
        dispatch!(self, key_scores(keys, rope, scale, x, room, out));
    }

    /// [`kv_read::add_weighted_values`](crate::kv_read::add_weighted_values).
    pub(crate) fn add_weighted_values(
        self,
        values: ColumnRows<'_>,
        places: Range<usize>,
        weights: &[f32],
        weight_stride: usize,
        sums: &mut [[f32; LANES]],
    ) {
        dispatch!(
            self,
            add_weighted_values(values, places, weights, weight_stride, sums)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Activations below -127 never come out of the rounding, but a kernel must bear them.
    #[test]
    fn ternary_sums_of_extreme_activations_are_exact_on_every_instruction_set() {
        for isa in Isa::available() {
            let kernels = Kernels::for_isa(isa).expect("available");
            for lines in [1, 14, 15, 16, 31, 160] {
                for (codes, x) in [(0xAA, -128), (0xAA, 127), (0x55, -128), (0x00, 127)] {
                    for n in [1, 2, 3, 4, 12] {
                        let panels = vec![Line([codes; 64]); 2 * lines];
                        let x = vec![x; n * lines * LINE_INPUTS];
                        let mut acc = vec![[0; PANEL_ROWS]; 2 * n];
                        kernels.ternary_tile(&panels, lines, &x, n, &mut acc);
                        let sum =
                            i32::from(codes & 3) * i32::from(x[0]) * (lines * LINE_INPUTS) as i32;
                        let expected = vec![[sum; PANEL_ROWS]; 2 * n];
                        assert_eq!(
                            acc, expected,
                            "{isa}: {lines} lines of {codes:#x}, {n} rows of {}",
                            x[0]
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn coded_sums_of_extreme_activations_are_exact_up_to_the_widest_matrix() {
        for isa in Isa::available() {
            let kernels = Kernels::for_isa(isa).expect("available");
            for lines in [1, 5, 9, MAX_CODED_COLS / LINE_INPUTS] {
                for (codes, x) in [(0xAA, -128), (0xAA, 127), (0x55, -128), (0x00, 127)] {
                    for n in 1..=MAX_TRIT_ROWS {
                        let mut panel = vec![Line([0; 64]); trits::coded_lines(lines)];
                        kernels.encode_trits(&vec![Line([codes; 64]); lines], &mut panel);
                        let x = vec![x; n * lines * LINE_INPUTS];
                        let mut acc = vec![[0; PANEL_ROWS]; n];
                        kernels.trit_tile(&panel, lines, &x, n, &mut acc);
                        let sum =
                            i32::from(codes & 3) * i32::from(x[0]) * (lines * LINE_INPUTS) as i32;
                        let case = format!("{isa}: {lines} lines of {codes:#x}, {n} of {}", x[0]);
                        assert_eq!(acc, vec![[sum; PANEL_ROWS]; n], "{case}");
                    }
                }
            }
        }
    }

    #[test]
    fn lines_are_coded_and_decoded_alike_on_every_instruction_set() {
        for isa in Isa::available() {
            let kernels = Kernels::for_isa(isa).expect("available");
            for lines in [1, 5, 23] {
                let valid = |byte: usize| (byte & !(byte >> 1 & 0x55)) as u8;
                let line = |i: usize| Line(std::array::from_fn(|at| valid(i * 91 + at * at)));
                let plain: Vec<Line> = (0..lines).map(line).collect();
                let mut coded = vec![Line([0; 64]); trits::coded_lines(lines)];
                let mut expected = coded.clone();
                kernels.encode_trits(&plain, &mut coded);
                trits::encode(&plain, &mut expected);
                let bytes = |lines: &[Line]| lines.iter().flat_map(|l| l.0).collect::<Vec<u8>>();
                assert_eq!(bytes(&coded), bytes(&expected), "{isa}: {lines} lines");
                let mut back = vec![Line([0xFF; 64]); lines];
                kernels.decode_trits(&coded, lines, &mut back);
                assert_eq!(bytes(&back), bytes(&plain), "{isa}: {lines} lines");
            }
        }
    }
}
