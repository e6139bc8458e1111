//! What the machine can do at most, for the benchmark.

use llm_kernels::{Compute, Isa, KernelError, Kernels, int8_dot_peak, read_bandwidth};
use napi_derive::napi;

use crate::error::Failure;

/// Bytes that are read: several times as much as most caches hold.
const BANDWIDTH_BYTES: usize = 512 << 20;

/// Measured in the moment of the call, for all its threads together.
#[napi(object)]
#[derive(Debug)]
pub struct MachineLimits {
    /// The kernel that the second figure is for.
    pub isa: String,
    /// Reading memory, 10^9 bytes a second.
    pub read_gb_per_second: f64,
    /// Products of 8-bit integers added up, 10^9 a second.
    pub int8_gmac_per_second: f64,
}

/// Measures; blocks Node's thread for about a second and takes 512 MiB.
///
/// # Errors
/// INVALID_ARGUMENT and ISA_UNAVAILABLE for the arguments, OUT_OF_MEMORY.
#[napi(catch_unwind)]
pub fn machine_limits(threads: u32, isa: Option<String>) -> napi::Result<MachineLimits> {
    let compute = compute(threads, isa.as_deref()).map_err(Failure::from)?;
    Ok(MachineLimits {
        isa: compute.kernels().isa().name().to_owned(),
        read_gb_per_second: read_bandwidth(&compute, BANDWIDTH_BYTES).map_err(Failure::from)?,
        int8_gmac_per_second: int8_dot_peak(&compute),
    })
}

fn compute(threads: u32, isa: Option<&str>) -> Result<Compute, KernelError> {
    let isa: Isa = isa.map_or_else(|| Ok(Isa::best()), str::parse)?;
    let kernels = Kernels::for_isa(isa).ok_or(KernelError::IsaUnavailable { isa })?;
    Compute::new(kernels, threads as usize)
}
