//! The search against the whole product, with rows made to break the bound.

use super::input::{Input, tile};
use super::*;
use crate::{Compute, DenseMatrix, DenseType, Isa, Kernels};

/// WebAssembly has none but its own.
const THREADS: usize = if cfg!(target_family = "wasm") { 1 } else { 2 };

/// A repeatable number within -1..1.
fn noise(i: usize) -> f32 {
    let bits = (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((bits ^ bits >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40) as f32 / (1 << 23) as f32 - 1.0
}

fn bytes(weights: &[f32]) -> Vec<u8> {
    weights
        .iter()
        .flat_map(|weight| weight.to_le_bytes())
        .collect()
}

fn reader<'a>(w: &DenseMatrix<'a>) -> impl Fn(usize, &mut [u8]) + Sync + 'a {
    let w = *w;
    move |row, out| out.copy_from_slice(w.rows_at(row, 1))
}

/// The `k` best of the whole product, and all that tie with the last of them.
fn best(products: &[f32], k: usize) -> Vec<(u32, f32)> {
    let mut sorted = products.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let last = sorted[k.min(sorted.len()) - 1];
    let kept = products
        .iter()
        .enumerate()
        .filter(|&(_, &product)| product >= last);
    kept.map(|(row, &product)| (row as u32, product)).collect()
}

/// Holds `top_rows` to the whole product, on every instruction set; returns how many candidates there were at the most.
fn check(weights: &[f32], cols: usize, x: &[f32], k: usize) -> Option<usize> {
    let data = bytes(weights);
    let w = DenseMatrix::new(weights.len() / cols, cols, DenseType::F32, &data).unwrap();
    let n = x.len() / cols;
    let mut most = None;
    for isa in Isa::available() {
        let compute = Compute::new(Kernels::for_isa(isa).unwrap(), THREADS).unwrap();
        let mut whole = vec![0.0; n * w.rows()];
        compute.dense_matmul(&w, x, n, &mut whole);
        let coarse = CoarseMatrix::new(&compute, &w, &|_| ()).unwrap();
        let mut out = Vec::new();
        if !compute.top_rows(&coarse, &reader(&w), x, n, k, &mut out) {
            continue;
        }
        for (t, found) in out.iter().enumerate() {
            let products = &whole[t * w.rows()..][..w.rows()];
            for expected in best(products, k) {
                assert!(
                    found.contains(&expected),
                    "{isa:?}: row {} of vector {t} is missing",
                    expected.0
                );
            }
            assert!(
                found
                    .iter()
                    .all(|&(row, product)| products[row as usize] == product),
                "{isa:?}: inexact product"
            );
            most = most.max(Some(found.len()));
        }
    }
    most
}

#[test]
fn every_instruction_set_adds_up_the_same_codes() {
    for cols in [1, 16, 40, 640] {
        let bytes = |count: usize, seed: usize| -> Vec<Line> {
            let byte = |i: usize| (noise(i + seed) * 127.0 + 128.0) as u8;
            (0..count)
                .map(|line| Line(std::array::from_fn(|i| byte(line * 64 + i))))
                .collect()
        };
        let (panel, fine) = (bytes(panel_lines(cols), 0), bytes(fine_lines(cols), 9));
        let plane = |seed: usize, len: usize| -> Vec<i8> {
            (0..len).map(|i| (noise(i + seed) * 128.0) as i8).collect()
        };
        let planes = [3, 77].map(|seed| plane(seed, fine.len() * FINE_INPUTS));
        let planes = planes.each_ref().map(Vec::as_slice);
        for isa in Isa::available() {
            let kernels = Kernels::for_isa(isa).unwrap();
            assert_eq!(
                kernels.fine_sums(&fine, &fine, planes),
                crate::portable::fine_sums(&fine, &fine, planes),
                "{isa:?}, fine codes of {cols} inputs"
            );
            for n in (2..=COARSE_TILE).step_by(2) {
                let tile = plane(n, panel.len() / BLOCK_LINES * BLOCK_INPUTS * n);
                let mut sums = [vec![[1; PANEL_ROWS]; n], vec![[2; PANEL_ROWS]; n]];
                kernels.coarse_tile(&panel, &tile, n, &mut sums[0]);
                crate::portable::coarse_tile(&panel, &tile, n, &mut sums[1]);
                assert_eq!(sums[0], sums[1], "{isa:?}, {n} planes of {cols} inputs");
            }
        }
    }
}

/// Rows of every kind: smooth ones, one with an outlier, tiny, zero and huge ones.
fn mixed_rows(rows: usize, cols: usize) -> Vec<f32> {
    let size = |row: usize| match row % 7 {
        3 => 1e-42,
        4 => 0.0,
        5 => 1e15,
        6 => 1e-20,
        _ => 1.0,
    };
    (0..rows * cols)
        .map(|i| {
            let (row, col) = (i / cols, i % cols);
            let outlier = if row % 7 == 2 && col == row % cols {
                300.0
            } else {
                1.0
            };
            size(row) * outlier * noise(i)
        })
        .collect()
}

/// A code from the top bits and the low ones, as the layout says.
fn code(coarse: &CoarseMatrix, row: usize, col: usize) -> (i32, i32) {
    let (block, input) = (col / BLOCK_INPUTS, col % BLOCK_INPUTS);
    let lines = &coarse.panel(row / PANEL_ROWS)[BLOCK_LINES * block..][..BLOCK_LINES];
    let at = 4 * (row % PANEL_ROWS) + input % 4;
    let top = if input < 12 {
        lines[input / 4].0[at] & 63
    } else {
        (0..3).fold(0, |code, i| code | lines[i].0[at] >> 6 << (2 * i))
    };
    let fine = coarse.fine_row(row)[col / FINE_INPUTS].0[col % 64];
    let low = fine >> (2 * (col % FINE_INPUTS / 64)) & 3;
    (i32::from(top), i32::from(low))
}

#[test]
fn the_copy_holds_the_rounded_weights_and_bounds_what_they_lost() {
    for (rows, cols) in [(35, 300), (16, 16), (1, 1)] {
        let weights = mixed_rows(rows, cols);
        let data = bytes(&weights);
        let w = DenseMatrix::new(rows, cols, DenseType::F32, &data).unwrap();
        let compute = Compute::new(Kernels::detect(), THREADS).unwrap();
        let copy = CoarseMatrix::new(&compute, &w, &|_| ()).unwrap();
        for row in 0..rows {
            let bounds = &copy.bounds[row / PANEL_ROWS];
            let r = row % PANEL_ROWS;
            let scale = f64::from(bounds.scale[r]);
            let mut squares = [0.0; 3];
            for col in 0..cols {
                let weight = f64::from(weights[row * cols + col]);
                let (top, low) = code(&copy, row, col);
                let rounded = scale * f64::from(4 * top + low - 128);
                let middle = scale * (f64::from(4 * top) - 126.5);
                assert!((weight - rounded).abs() <= scale * 0.501 + 2e-38);
                for (square, x) in
                    squares
                        .iter_mut()
                        .zip([weight, weight - rounded, weight - middle])
                {
                    *square += x * x;
                }
            }
            let bounds = [bounds.norm[r], bounds.lost[r], bounds.lost_coarse[r]].map(f64::from);
            for (square, bound) in squares.into_iter().zip(bounds) {
                let norm: f64 = square.sqrt();
                let close = norm * 1.002 + bounds[0] * 1e-5 + 1e-18;
                assert!(
                    (norm..=close).contains(&bound),
                    "row {row}: {bound} for {norm}"
                );
            }
        }
    }
}

#[test]
fn every_instruction_set_makes_the_same_copy() {
    for (rows, cols) in [(35, 300), (16, 16), (1, 1)] {
        let data = bytes(&mixed_rows(rows, cols));
        let w = DenseMatrix::new(rows, cols, DenseType::F32, &data).unwrap();
        let copies = Isa::available().into_iter().map(|isa| {
            let compute = Compute::new(Kernels::for_isa(isa).unwrap(), THREADS).unwrap();
            let copy = CoarseMatrix::new(&compute, &w, &|_| ()).unwrap();
            let lines = [copy.coarse, copy.fine]
                .map(|lines| -> Vec<[u8; 64]> { lines.iter().map(|line| line.0).collect() });
            let bits = |values: [f32; PANEL_ROWS]| values.map(f32::to_bits);
            let bounds: Vec<_> = copy
                .bounds
                .iter()
                .map(|b| [b.scale, b.norm, b.lost, b.lost_coarse].map(bits))
                .collect();
            (lines, bounds)
        });
        let copies: Vec<_> = copies.collect();
        assert!(copies.iter().all(|copy| *copy == copies[0]));
    }
}

#[test]
fn no_product_lies_farther_from_its_estimate_than_the_width() {
    let (rows, cols) = (64, 200);
    let weights = mixed_rows(rows, cols);
    let data = bytes(&weights);
    let w = DenseMatrix::new(rows, cols, DenseType::F32, &data).unwrap();
    let compute = Compute::new(Kernels::detect(), 1).unwrap();
    let copy = CoarseMatrix::new(&compute, &w, &|_| ()).unwrap();
    // What the first row's top bits lose: along it, the bound is as tight as can be.
    let lost = |j: usize| {
        let middle = 4.0 * code(&copy, 0, j).0 as f32 - 126.5;
        weights[j] - copy.bounds[0].scale[0] * middle
    };
    let vectors = [
        (0..cols).map(lost).collect::<Vec<f32>>(),
        (0..cols).map(|j| noise(j + 5)).collect(),
        (0..cols).map(|j| 1e12 * noise(j).powi(9)).collect(),
        vec![1e-25; cols],
    ];
    for isa in Isa::available() {
        let compute = Compute::new(Kernels::for_isa(isa).unwrap(), 1).unwrap();
        let copy = CoarseMatrix::new(&compute, &w, &|_| ()).unwrap();
        for (x, planes) in vectors.iter().flat_map(|x| [(x, 1), (x, 2)]) {
            let mut products = vec![0.0; rows];
            compute.dense_matmul(&w, x, 1, &mut products);
            let input = [Input::new(compute.kernels(), x, planes)];
            let (tile, width) = tile(&input, planes, cols);
            for (p, products) in products.chunks(PANEL_ROWS).enumerate() {
                let mut sums = vec![[0; PANEL_ROWS]; width];
                let (kernels, bounds) = (compute.kernels(), &copy.bounds[p]);
                kernels.coarse_tile(copy.panel(p), &tile, width, &mut sums);
                let found = kernels.panel_estimates(bounds, &input[0], &sums[..planes], PANEL_ROWS);
                for (r, product) in products.iter().enumerate() {
                    let width = input[0].width(bounds.norm[r], bounds.lost_coarse[r]);
                    let apart = (f64::from(*product) - f64::from(found.rows[r])).abs();
                    assert!(
                        apart <= f64::from(width),
                        "{isa:?}: {apart} apart, width {width}"
                    );
                    assert!(found.best >= found.rows[r] && found.reach >= *product);
                }
            }
        }
    }
}

/// Rows of blocks with random bytes, and numbers of 1 to 2, of either sign, at the given places of each block.
fn random_blocks(blocks: usize, bytes: usize, scales: &[usize]) -> Vec<u8> {
    let mut data: Vec<u8> = (0..blocks * bytes)
        .map(|i| (noise(i) * 128.0) as i8 as u8)
        .collect();
    for block in data.chunks_exact_mut(bytes) {
        scales
            .iter()
            .for_each(|&at| block[at + 1] = block[at + 1] & 0x83 | 0x3c);
    }
    data
}

#[test]
fn rows_of_every_searched_type_get_the_products_of_that_type() {
    let (rows, cols, k) = (4096, 256, 7);
    let x: Vec<f32> = (0..cols).map(|j| noise(j + 3)).collect();
    let types = [
        (DenseType::Bf16, random_blocks(rows * cols, 2, &[0])),
        (DenseType::F16, random_blocks(rows * cols, 2, &[0])),
        (DenseType::Q8_0, random_blocks(rows * cols / 32, 34, &[0])),
        (DenseType::Q6K, random_blocks(rows, 210, &[208])),
    ];
    for (dtype, data) in types {
        let w = DenseMatrix::new(rows, cols, dtype, &data).unwrap();
        for isa in Isa::available() {
            let compute = Compute::new(Kernels::for_isa(isa).unwrap(), THREADS).unwrap();
            let copy = CoarseMatrix::new(&compute, &w, &|_| ()).unwrap();
            let (mut whole, mut found) = (vec![0.0; rows], Vec::new());
            compute.dense_matmul(&w, &x, 1, &mut whole);
            assert!(compute.top_rows(&copy, &reader(&w), &x, 1, k, &mut found));
            for expected in best(&whole, k) {
                assert!(found[0].contains(&expected), "{isa:?}, {dtype}");
            }
            for &(row, product) in &found[0] {
                assert_eq!(product, whole[row as usize], "{isa:?}, {dtype}");
            }
        }
    }
}

#[test]
fn many_vectors_are_searched_for_together() {
    let (rows, cols) = (2050, 40);
    let weights: Vec<f32> = (0..rows * cols).map(noise).collect();
    for n in [2, 8, 9, 19] {
        let x: Vec<f32> = (0..n * cols).map(|i| noise(i + 17)).collect();
        for k in [1, 20] {
            check(&weights, cols, &x, k).expect("the bound leaves few rows");
        }
    }
}

#[test]
fn more_rows_than_there_are_panels_are_left_to_the_whole_product() {
    let weights: Vec<f32> = (0..160 * 8).map(noise).collect();
    let x: Vec<f32> = (0..8).map(noise).collect();
    assert_eq!(check(&weights, 8, &x, 11), None);
}

#[test]
fn the_largest_products_of_random_rows_are_found_among_few_candidates() {
    for (rows, cols) in [(4096, 256), (4097, 100), (1003, 33)] {
        let weights: Vec<f32> = (0..rows * cols).map(|i| noise(i) * noise(i / 7)).collect();
        let x: Vec<f32> = (0..3 * cols).map(|i| noise(i + 91)).collect();
        for k in [1, 7, 40] {
            let most = check(&weights, cols, &x, k).expect("the bound leaves few rows");
            assert!(most <= rows / 8, "{most} candidates");
        }
    }
}

#[test]
fn rows_that_differ_by_less_than_the_rounding_are_all_candidates() {
    let cols = 64;
    let mut weights: Vec<f32> = (0..2048 * cols).map(|i| 0.1 * noise(i)).collect();
    // Fifty rows that are the same but for a last bit here and there: the best of all by far.
    for row in (0..50).map(|i| i * 40 + 3) {
        for j in 0..cols {
            let wobble = 1.0 + f32::EPSILON * ((row + j) % 3) as f32;
            weights[row * cols + j] = noise(j).abs() * wobble;
        }
    }
    let x: Vec<f32> = (0..cols).map(|j| noise(j).abs() + 0.5).collect();
    assert!(check(&weights, cols, &x, 1).expect("few rows") >= 50);
    check(&weights, cols, &x, 40);
}

#[test]
fn an_outlier_that_ruins_a_rows_codes_does_not_lose_the_row() {
    let cols = 128;
    let mut weights: Vec<f32> = (0..1024 * cols).map(|i| 0.01 * noise(i)).collect();
    let mut x: Vec<f32> = (0..cols).map(|j| 1.0 + 0.1 * noise(j)).collect();
    // Its small weights, all rounded to nothing beside the large one, make it the best; the large one meets a zero.
    x[5] = 0.0;
    for j in 0..cols {
        weights[700 * cols + j] = if j == 5 { 100.0 } else { 0.3 };
    }
    check(&weights, cols, &x, 1);
    // The vector's outlier does the same to the vector.
    x[5] = 1e4;
    weights[700 * cols + 5] = 0.0;
    check(&weights, cols, &x, 3);
}

#[test]
fn zeros_tiny_and_huge_rows_are_bounded_too() {
    let cols = 48;
    let mut weights = vec![0.0; 512 * cols];
    for j in 0..cols {
        weights[3 * cols + j] = 1e-42;
        weights[4 * cols + j] = 1e18 * noise(j);
        weights[5 * cols + j] = 1e-20;
    }
    let x: Vec<f32> = (0..cols).map(noise).collect();
    check(&weights, cols, &x, 1);
    check(&weights[..4 * cols], cols, &x, 1);
    let steep: Vec<f32> = x.iter().map(|x| 1e21 * x).collect();
    check(&weights, cols, &steep, 1);
    check(&vec![0.0; 512 * cols], cols, &x, 2);
}

#[test]
fn what_is_not_finite_is_left_to_the_whole_product() {
    let cols = 32;
    let data = bytes(&vec![0.5; 64 * cols]);
    let w = DenseMatrix::new(64, cols, DenseType::F32, &data).unwrap();
    let compute = Compute::new(Kernels::detect(), 1).unwrap();
    let coarse = CoarseMatrix::new(&compute, &w, &|_| ()).unwrap();
    for bad in [f32::NAN, f32::INFINITY] {
        let mut x = vec![1.0; cols];
        x[9] = bad;
        assert!(!compute.top_rows(&coarse, &reader(&w), &x, 1, 1, &mut Vec::new()));
        let mut weights = vec![0.5; 64 * cols];
        weights[70] = bad;
        let data = bytes(&weights);
        let w = DenseMatrix::new(64, cols, DenseType::F32, &data).unwrap();
        assert!(CoarseMatrix::new(&compute, &w, &|_| ()).is_none());
    }
}
