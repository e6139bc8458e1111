//! Norms and gates against their definitions in f64.

use llm_kernels::{Activation, Isa};

use crate::common::{compute, random_floats, scalar};

#[track_caller]
fn assert_close(actual: f32, expected: f64, relative: f64, case: &str) {
    let error = (f64::from(actual) - expected).abs();
    assert!(
        error <= relative * expected.abs() + 1e-38,
        "{case}: {actual} or {expected}"
    );
}

#[test]
fn rms_norm_equals_its_definition() {
    for cols in [1, 40, 2560] {
        let (x, weight) = (random_floats(3 * cols, 1), random_floats(cols, 2));
        let mut out = vec![0.0; x.len()];
        scalar().rms_norm(&x, &weight, 1e-5, 3, &mut out);
        for (x, out) in x.chunks(cols).zip(out.chunks(cols)) {
            let mean = x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / cols as f64;
            for i in 0..cols {
                let expected = f64::from(x[i]) / (mean + 1e-5).sqrt() * f64::from(weight[i]);
                assert_close(out[i], expected, 1e-6, "rms_norm");
            }
        }
    }
}

#[test]
fn gates_equal_their_definitions() {
    let gate: Vec<f32> = (-4000..4000).map(|i| i as f32 / 40.0).collect();
    let up = random_floats(gate.len(), 3);
    let reference = |activation, x: f64| match activation {
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Relu2 => x.max(0.0).powi(2),
        Activation::GeluTanh => {
            // By way of exp, since 1 + tanh loses all digits on the far negative side.
            x / (1.0 + (-1.595_769_121_605_731 * (x + 0.044_715 * x.powi(3))).exp())
        }
    };
    // The gates' slopes multiply the rounding of their arguments, which reach a few hundred.
    for (activation, tolerance) in [
        (Activation::Silu, 1e-6),
        (Activation::Relu2, 1e-6),
        (Activation::GeluTanh, 1e-4),
    ] {
        let mut out = gate.clone();
        scalar().gated(&mut out, &up, activation);
        for i in 0..gate.len() {
            let expected = reference(activation, f64::from(gate[i])) * f64::from(up[i]);
            if expected.abs() > 1e-30 {
                assert_close(
                    out[i],
                    expected,
                    tolerance,
                    &format!("{activation:?} of {}", gate[i]),
                );
            } else {
                assert!(
                    out[i].abs() < 1e-29,
                    "{activation:?} of {}: {}",
                    gate[i],
                    out[i]
                );
            }
        }
    }
}

#[test]
fn add_adds() {
    let mut x = [1.0, 2.0, 3.0];
    scalar().add(&mut x, &[0.5, -2.0, 1.0]);
    assert_eq!(x, [1.5, 0.0, 4.0]);
}

#[test]
fn addition_is_the_same_on_any_number_of_threads() {
    let len = 37 * 640;
    let results = [1, 3].map(|threads| {
        let mut x = random_floats(len, 6);
        compute(Isa::Scalar, threads)
            .unwrap()
            .add(&mut x, &random_floats(len, 7));
        x
    });
    assert_eq!(results[0], results[1]);
}
