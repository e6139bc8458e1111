//! The thread pool, through `parallel_for` and operations that use it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::Duration;

use llm_kernels::{Compute, Isa, KernelError, Kernels};

use crate::common::compute;

fn pool(threads: usize) -> Compute {
    compute(Isa::Scalar, threads).expect("always there")
}

#[test]
fn every_item_is_handed_out_once() {
    for threads in [1, 2, 3, 8] {
        let compute = pool(threads);
        for items in [0, 1, 2, 7, 64, 1000] {
            let counts: Vec<AtomicUsize> = (0..items).map(|_| AtomicUsize::new(0)).collect();
            compute.parallel_for(items, &|range| {
                for count in &counts[range] {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
            let wrong = counts
                .iter()
                .position(|count| count.load(Ordering::Relaxed) != 1);
            assert_eq!(wrong, None, "{items} items on {threads} threads");
        }
    }
}

#[test]
fn work_runs_on_all_threads() {
    let compute = pool(3);
    // Passes only when three threads are inside at the same time.
    let barrier = Barrier::new(3);
    compute.parallel_for(3, &|range| {
        for _ in range {
            barrier.wait();
        }
    });
}

#[test]
fn each_thread_begins_with_neighbouring_items_of_its_own() {
    let compute = pool(2);
    let barrier = Barrier::new(2);
    let order = Mutex::new(Vec::new());
    compute.parallel_for(16, &|range| {
        for item in range {
            order.lock().unwrap().push(item);
            // The first item of each thread: the other begins before either goes on.
            if item % 8 == 0 {
                barrier.wait();
            }
        }
    });
    let mut begun = order.into_inner().unwrap()[..2].to_vec();
    begun.sort_unstable();
    assert_eq!(begun, [0, 8]);
}

#[test]
fn many_small_forks_with_pauses_all_finish() {
    let compute = pool(4);
    for round in 0..3000 {
        let sum = AtomicUsize::new(0);
        compute.parallel_for(16, &|range| {
            sum.fetch_add(range.sum::<usize>(), Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 120);
        if round % 500 == 0 {
            // Long enough for the workers to fall asleep.
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

#[test]
fn a_panic_of_any_thread_reaches_the_caller_and_the_pool_lives_on() {
    let compute = pool(3);
    for bad in [0, 17, 63] {
        let result = catch_unwind(AssertUnwindSafe(|| {
            compute.parallel_for(64, &|range| {
                assert!(!range.contains(&bad), "item {bad}");
            });
        }));
        let panic = result.expect_err("the panic is carried over");
        assert_eq!(
            panic.downcast_ref::<String>().map(String::as_str),
            Some(format!("item {bad}").as_str())
        );
        let done = AtomicUsize::new(0);
        compute.parallel_for(64, &|range| {
            done.fetch_add(range.len(), Ordering::Relaxed);
        });
        assert_eq!(done.into_inner(), 64);
    }
}

#[test]
fn nested_and_concurrent_callers_get_their_work_done() {
    let compute = pool(2);
    let total = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    compute.parallel_for(8, &|outer| {
                        for _ in outer {
                            compute.parallel_for(4, &|inner| {
                                total.fetch_add(inner.len(), Ordering::Relaxed);
                            });
                        }
                    });
                }
            });
        }
    });
    assert_eq!(total.into_inner(), 4 * 100 * 8 * 4);
}

#[test]
fn pools_end_their_threads() {
    for _ in 0..50 {
        let compute = pool(4);
        compute.parallel_for(4, &|_| {});
    }
}

#[test]
fn thread_counts_outside_of_the_bounds_are_refused() {
    for threads in [0, Compute::MAX_THREADS + 1] {
        let result = Compute::new(Kernels::detect(), threads);
        assert!(
            matches!(result, Err(KernelError::ThreadCount { .. })),
            "{threads} threads"
        );
    }
}

#[test]
fn names_of_instruction_sets_are_read_back() {
    for isa in [
        Isa::Scalar,
        Isa::Avx2,
        Isa::AvxVnni,
        Isa::Avx512Vnni,
        Isa::Avx512Vbmi,
        Isa::Neon,
        Isa::NeonDotprod,
        Isa::NeonI8mm,
        Isa::Simd128,
        Isa::RelaxedSimd,
    ] {
        assert_eq!(isa.name().parse::<Isa>().expect("own name"), isa);
        assert_eq!(
            Kernels::for_isa(isa).is_some(),
            Isa::available().contains(&isa)
        );
    }
    assert_eq!(
        "sse9"
            .parse::<Isa>()
            .expect_err("no such set")
            .to_string()
            .split(';')
            .next(),
        Some("unknown instruction set `sse9`")
    );
    assert_eq!(Kernels::detect().isa(), Isa::best());
}
