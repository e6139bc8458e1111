//! Kernel benchmarks.
fn main() {
    divan::main();
}
