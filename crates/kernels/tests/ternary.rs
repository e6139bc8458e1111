//! The ternary product against a plain sum, on every instruction set of this machine.

use llm_kernels::{Compute, Isa, Kernels, QuantizedRows, TernaryMatrix, pack_codes};

fn matrix(compute: &Compute, rows: usize, cols: usize) -> TernaryMatrix {
    pack_codes(compute, rows, cols, 0.75, |row, out| {
        for (col, code) in out.iter_mut().enumerate() {
            *code = ((row * 7 + col * 13 + row * col) % 3) as u8;
        }
    })
    .unwrap()
}

#[test]
fn product_equals_the_plain_sum() {
    for isa in Isa::available() {
        let compute = Compute::new(Kernels::for_isa(isa).unwrap(), 2).unwrap();
        for (rows, cols, n) in [(1, 1, 1), (16, 16, 2), (33, 47, 3), (70, 300, 13)] {
            let w = matrix(&compute, rows, cols);
            let weights = w.dequantize();
            let x: Vec<f32> = (0..n * cols)
                .map(|i| ((i * 37 % 101) as f32 - 50.0) / 7.0)
                .collect();
            let mut q = QuantizedRows::new();
            compute.quantize_rows(&x, n, cols, &mut q);
            let mut out = vec![0.0; n * rows];
            compute.ternary_matmul(&w, &q, &mut out);
            for t in 0..n {
                let row = q.row(t);
                for r in 0..rows {
                    let sum: i32 = (0..cols)
                        .map(|k| (weights[r * cols + k] / 0.75) as i32 * i32::from(row[k]))
                        .sum();
                    let expected = sum as f32 * (w.scale() / q.scale(t));
                    assert_eq!(
                        out[t * rows + r],
                        expected,
                        "{isa} {rows}x{cols} token {t} row {r}"
                    );
                }
            }
        }
    }
}
