use std::fmt;
use std::str::FromStr;

use crate::KernelError;

/// An instruction set that has kernels here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// Portable Rust: the reference that the others must equal.
    Scalar,
    /// x86-64 with AVX2 and F16C.
    Avx2,
    /// x86-64 with AVX2, F16C and AVX-VNNI.
    AvxVnni,
    /// x86-64 with AVX-512 F, BW and VNNI.
    Avx512Vnni,
    /// x86-64 with AVX-512 F, BW, VNNI and VBMI: ternary weights take 1.6 bits instead of two.
    Avx512Vbmi,
    /// ARM64.
    Neon,
    /// ARM64 with the dot product extension.
    NeonDotprod,
    /// ARM64 with the extensions of dot products and of 8-bit matrices.
    NeonI8mm,
    /// WebAssembly with SIMD.
    Simd128,
    /// WebAssembly with SIMD and relaxed SIMD.
    RelaxedSimd,
}

impl Isa {
    /// Every instruction set, slowest first.
    pub(crate) const ALL: [Self; 10] = [
        Self::Scalar,
        Self::Neon,
        Self::NeonDotprod,
        Self::NeonI8mm,
        Self::Avx2,
        Self::AvxVnni,
        Self::Avx512Vnni,
        Self::Avx512Vbmi,
        Self::Simd128,
        Self::RelaxedSimd,
    ];

    /// The fastest instruction set of this processor.
    pub fn best() -> Self {
        Self::available().last().copied().unwrap_or(Self::Scalar)
    }

    /// What this processor has, slowest first; `Scalar` is always there.
    pub fn available() -> Vec<Self> {
        Self::ALL
            .into_iter()
            .filter(|isa| isa.is_available())
            .collect()
    }

    /// The name that [`FromStr`] reads.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::AvxVnni => "avxvnni",
            Self::Avx512Vnni => "avx512vnni",
            Self::Avx512Vbmi => "avx512vbmi",
            Self::Neon => "neon",
            Self::NeonDotprod => "neondotprod",
            Self::NeonI8mm => "neoni8mm",
            Self::Simd128 => "simd128",
            Self::RelaxedSimd => "relaxedsimd",
        }
    }

    /// Whether this processor can run it; the answer never changes within a process.
    pub fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => crate::x86_64::avx2::is_available(),
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => crate::x86_64::avxvnni::is_available(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => crate::x86_64::avx512_vnni::is_available(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vbmi => crate::x86_64::avx512_vbmi::is_available(),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => crate::aarch64::neon::is_available(),
            #[cfg(target_arch = "aarch64")]
            Self::NeonDotprod => crate::aarch64::neon_dotprod::is_available(),
            #[cfg(target_arch = "aarch64")]
            Self::NeonI8mm => crate::aarch64::neon_i8mm::is_available(),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Self::Simd128 => true,
            #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
            Self::RelaxedSimd => true,
            _ => false,
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Isa {
    type Err = KernelError;

    fn from_str(name: &str) -> Result<Self, KernelError> {
        Self::ALL
            .into_iter()
            .find(|isa| isa.name() == name)
            .ok_or_else(|| KernelError::UnknownIsa {
                name: name.to_owned(),
            })
    }
}

/// The kernels of one instruction set; holding it proves that the processor has that set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernels {
    isa: Isa,
}

impl Kernels {
    /// The kernels of [`Isa::best`].
    pub fn detect() -> Self {
        Self { isa: Isa::best() }
    }

    /// The kernels of `isa`, or `None` where the processor lacks it.
    pub fn for_isa(isa: Isa) -> Option<Self> {
        isa.is_available().then_some(Self { isa })
    }

    /// The instruction set in use.
    pub fn isa(self) -> Isa {
        self.isa
    }
}
