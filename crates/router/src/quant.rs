//! The packings by which a model is asked for, and which processors take them.

use std::env::consts::ARCH;

use llm_convert::OutputType;

use crate::error::RouterError;

/// The packing of that name, where this processor takes it. Letter case is ignored.
pub(crate) fn parse(name: &str) -> Result<OutputType, RouterError> {
    parse_for(name, ARCH)
}

fn parse_for(name: &str, arch: &'static str) -> Result<OutputType, RouterError> {
    let lower = name.to_ascii_lowercase();
    let usable = || {
        OutputType::PACKINGS
            .into_iter()
            .filter(|quant| is_for(*quant, arch))
    };
    usable()
        .find(|quant| quant.name() == lower)
        .ok_or_else(|| RouterError::UnsupportedQuant {
            given: name.to_owned(),
            arch,
            supported: usable()
                .map(OutputType::name)
                .collect::<Vec<_>>()
                .join(", "),
        })
}

/// Whether processors of the architecture `arch`, named as [`ARCH`] does, take it: lookup tables are made for one only.
fn is_for(quant: OutputType, arch: &str) -> bool {
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
    fn each_architecture_takes_its_own_lookup_tables_and_all_other_packings() {
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
            ("tiles", "aarch64", true),
            ("hf", "x86_64", false),
            ("q4_0", "x86_64", false),
            ("", "x86_64", false),
        ] {
            assert_eq!(parse_for(name, arch).is_ok(), ok, "{name} on {arch}");
        }
    }

    #[test]
    fn a_refusal_names_what_is_supported() {
        let message = parse_for("tl1", "x86_64").unwrap_err().to_string();
        assert!(
            message.contains("`tl1`") && message.contains("i2_s, tl2"),
            "{message}"
        );
    }
}
