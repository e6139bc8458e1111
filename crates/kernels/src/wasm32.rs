//! WebAssembly. A browser refuses a module that has one instruction it lacks, so what there is is settled when the module is
//! compiled: there is one for each instruction set.

mod products;

#[cfg(target_feature = "relaxed-simd")]
pub(crate) mod relaxed_simd;
pub(crate) mod simd128;
