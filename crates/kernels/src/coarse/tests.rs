//! The search against the whole product, with rows made to break the bound.

use super::*;
use crate::{DenseType, Isa};

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
        let compute = Compute::new(Kernels::for_isa(isa).unwrap(), 2).unwrap();
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
        let lines = panel_lines(cols);
        let panel: Vec<Line> = (0..lines)
            .map(|line| {
                Line(std::array::from_fn(|i| {
                    ((line * 64 + i) * 37 + 11) as u8 | 1
                }))
            })
            .collect();
        let plane = |seed: usize| -> Vec<i8> {
            (0..lines * COARSE_INPUTS)
                .map(|i| (noise(i + seed) * 127.0) as i8)
                .collect()
        };
        let (high, low) = (plane(3), plane(77));
        let sums = [&high, &low].map(|x| x.iter().map(|&x| i32::from(x)).sum());
        let portable = crate::portable::coarse_panel(&panel, [&high, &low], sums);
        for isa in Isa::available() {
            let kernels = Kernels::for_isa(isa).unwrap();
            assert_eq!(
                kernels.coarse_panel(&panel, [&high, &low], sums),
                portable,
                "{isa:?}, {cols} inputs"
            );
        }
    }
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
