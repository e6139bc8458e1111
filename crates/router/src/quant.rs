//! The packings by which a model is asked for, and which are made on this processor.

use std::env::consts::ARCH;

use llm_convert::OutputType;

use crate::error::RouterError;

/// The packing of that name, whose files every processor can read. Letter case is ignored.
pub(crate) fn parse(name: &str) -> Result<OutputType, RouterError> {
    let lower = name.to_ascii_lowercase();
    OutputType::PACKINGS
        .into_iter()
        .find(|quant| quant.name() == lower)
        .ok_or_else(|| unsupported(name, ARCH))
}

/// Whether a model is converted to the packing while it is loaded, on this processor.
pub(crate) fn is_made_here(quant: OutputType) -> bool {
    is_made_on(quant, ARCH)
}

/// That a packing is not supported here, and which are.
pub(crate) fn refusal(quant: OutputType) -> RouterError {
    unsupported(quant.name(), ARCH)
}

fn unsupported(given: &str, arch: &'static str) -> RouterError {
    let supported = OutputType::PACKINGS
        .into_iter()
        .filter(|quant| is_made_on(*quant, arch));
    RouterError::UnsupportedQuant {
        given: given.to_owned(),
        arch,
        supported: supported
            .map(OutputType::name)
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// Processors of the architecture `arch`, named as [`ARCH`] does, have no use for lookup tables that were laid out for another's
/// instructions: files with them are read, but none are made.
fn is_made_on(quant: OutputType, arch: &str) -> bool {
    match quant {
        OutputType::Tl1 => arch == "aarch64",
        OutputType::Tl2 => arch == "x86_64",
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_packing_is_read_and_lookup_tables_are_made_on_their_own_architecture() {
        for (name, arch, is_made) in [
            ("i2_s", "x86_64", true),
            ("I2_S", "aarch64", true),
            ("tl1", "aarch64", true),
            ("tl1", "x86_64", false),
            ("tl2", "x86_64", true),
            ("tl2", "aarch64", false),
            ("i2_s", "riscv64", true),
            ("tq1_0", "x86_64", true),
            ("IQ2_BN", "riscv64", true),
            ("tiles", "aarch64", true),
        ] {
            let quant = parse(name).unwrap();
            assert_eq!(is_made_on(quant, arch), is_made, "{name} on {arch}");
        }
        for name in ["hf", "q4_0", ""] {
            assert!(parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_refusal_names_what_is_supported() {
        let message = unsupported("tl1", "x86_64").to_string();
        assert!(
            message.contains("`tl1`") && message.contains("i2_s, tl2"),
            "{message}"
        );
    }
}
