//! Tensor type ids of GGUF. Ids 36 and up differ between programs; see [`resolve`].

use crate::dtype::Dtype;

/// What a type id stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TypeId {
    /// A type that can be read.
    Known(Dtype),
    /// A type that exists, by name, but cannot be read.
    Unsupported(&'static str),
    /// An id that no known program writes.
    Unknown,
}

/// Names the type of `id`. `is_old_bitnet` settles id 39, which is TL2 in files of the first
/// bitnet.cpp engine and MXFP4 everywhere else.
pub(crate) fn resolve(id: u32, is_old_bitnet: bool) -> TypeId {
    use TypeId::{Known, Unknown, Unsupported};
    match id {
        0 => Known(Dtype::F32),
        1 => Known(Dtype::F16),
        2 => Known(Dtype::Q4_0),
        3 => Known(Dtype::Q4_1),
        6 => Known(Dtype::Q5_0),
        7 => Known(Dtype::Q5_1),
        8 => Known(Dtype::Q8_0),
        9 => Unsupported("Q8_1"),
        10 => Known(Dtype::Q2K),
        11 => Known(Dtype::Q3K),
        12 => Known(Dtype::Q4K),
        13 => Known(Dtype::Q5K),
        14 => Known(Dtype::Q6K),
        15 => Unsupported("Q8_K"),
        16 => Unsupported("IQ2_XXS"),
        17 => Unsupported("IQ2_XS"),
        18 => Unsupported("IQ3_XXS"),
        19 => Unsupported("IQ1_S"),
        20 => Unsupported("IQ4_NL"),
        21 => Unsupported("IQ3_S"),
        22 => Unsupported("IQ2_S"),
        23 => Unsupported("IQ4_XS"),
        24 => Known(Dtype::I8),
        25 => Known(Dtype::I16),
        26 => Known(Dtype::I32),
        27 => Known(Dtype::I64),
        28 => Known(Dtype::F64),
        29 => Unsupported("IQ1_M"),
        30 => Known(Dtype::Bf16),
        31 => Unsupported("Q4_0_4_4"),
        32 => Unsupported("Q4_0_4_8"),
        33 => Unsupported("Q4_0_8_8"),
        34 => Known(Dtype::Tq1_0),
        35 => Known(Dtype::Tq2_0),
        36 => Known(Dtype::I2S),
        37 => Unsupported("I8_S"),
        38 => Unsupported("TL1"),
        39 if is_old_bitnet => Unsupported("TL2"),
        39 => Unsupported("MXFP4"),
        40 => Unsupported("NVFP4"),
        41 => Unsupported("Q1_0"),
        42 => Unsupported("TL2"),
        134 => Unsupported("IQ1_BN"),
        135 => Unsupported("IQ2_BN"),
        335 => Unsupported("IQ2_BN_R4"),
        _ => Unknown,
    }
}
