//! The names of BitNet's quantisations that callers give.

use std::env::consts::ARCH;
use std::str::FromStr;

use crate::error::RouterError;

/// A quantisation by which a model is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuantType {
    /// Two bits a weight, on every processor. Any ternary file serves: its weights are packed anew while loading.
    I2S,
    /// Lookup tables for ARM64.
    Tl1,
    /// Lookup tables for x86-64.
    Tl2,
    /// Five values a byte, of llama.cpp.
    Tq1_0,
    /// Four values a byte, of llama.cpp.
    Tq2_0,
    /// Five values a byte, of ik_llama.cpp.
    Iq1Bn,
    /// Four values a byte, of ik_llama.cpp.
    Iq2Bn,
}

impl QuantType {
    const ALL: [Self; 7] = [
        Self::I2S,
        Self::Tl1,
        Self::Tl2,
        Self::Tq1_0,
        Self::Tq2_0,
        Self::Iq1Bn,
        Self::Iq2Bn,
    ];

    /// `i2_s`, `tl1` …
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::I2S => "i2_s",
            Self::Tl1 => "tl1",
            Self::Tl2 => "tl2",
            Self::Tq1_0 => "tq1_0",
            Self::Tq2_0 => "tq2_0",
            Self::Iq1Bn => "iq1_bn",
            Self::Iq2Bn => "iq2_bn",
        }
    }

    /// Whether processors of the architecture `arch`, named as [`ARCH`] does, take it.
    fn is_for(self, arch: &str) -> bool {
        match self {
            Self::I2S | Self::Tq1_0 | Self::Tq2_0 | Self::Iq1Bn | Self::Iq2Bn => true,
            Self::Tl1 => arch == "aarch64",
            Self::Tl2 => arch == "x86_64",
        }
    }

    fn parse(name: &str, arch: &'static str) -> Result<Self, RouterError> {
        let lower = name.to_ascii_lowercase();
        let usable = || Self::ALL.into_iter().filter(|quant| quant.is_for(arch));
        usable()
            .find(|quant| quant.name() == lower)
            .ok_or_else(|| RouterError::UnsupportedQuant {
                given: name.to_owned(),
                arch,
                supported: usable().map(Self::name).collect::<Vec<_>>().join(", "),
            })
    }
}

impl FromStr for QuantType {
    type Err = RouterError;

    /// Letter case is ignored.
    fn from_str(name: &str) -> Result<Self, RouterError> {
        Self::parse(name, ARCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_architecture_takes_its_own_lookup_tables_and_i2_s() {
        for (name, arch, ok) in [
            ("i2_s", "x86_64", true),
            ("I2_S", "aarch64", true),
            ("tl1", "aarch64", true),
            ("tl1", "x86_64", false),
            ("tl2", "x86_64", true),
            ("tl2", "aarch64", false),
            ("i2_s", "riscv64", true),
            ("tq1_0", "x86_64", true),
            ("IQ2_BN", "riscv64", true),
            ("q4_0", "x86_64", false),
            ("", "x86_64", false),
        ] {
            assert_eq!(QuantType::parse(name, arch).is_ok(), ok, "{name} on {arch}");
        }
    }

    #[test]
    fn a_refusal_names_what_is_supported() {
        let message = QuantType::parse("tl1", "x86_64").unwrap_err().to_string();
        assert!(
            message.contains("`tl1`") && message.contains("i2_s, tl2"),
            "{message}"
        );
    }
}
