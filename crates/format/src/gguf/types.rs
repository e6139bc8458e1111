//! Tensor type ids of GGUF. Of those from 36 on, some mean different things to different programs.

use crate::dtype::Dtype;

/// What a type id stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TypeId {
    /// A type that can be read.
    Known(Dtype),
    /// A type that exists, by name, but cannot be read.
    Unsupported(&'static str),
    /// TL2 in files of the first bitnet.cpp engine, MXFP4 everywhere else.
    Tl2OrMxfp4,
    /// An id that no known program writes.
    Unknown,
}

/// The name by which [`TypeId::Tl2OrMxfp4`] is refused.
pub(crate) const MXFP4: &str = "MXFP4";

/// The id of tiles: far from those of other programs, its last byte the version of their layout. So other programs refuse such
/// a file, and so does an older version of this one a newer layout.
const TILES: u32 = 0x4C52_5401;

/// Bytes of an MXFP4 tensor: 17 for 32 values.
pub(crate) fn mxfp4_len(shape: &[usize]) -> Option<usize> {
    let row = shape.last()?;
    let count = shape
        .iter()
        .try_fold(1_usize, |n, &dim| n.checked_mul(dim))?;
    row.is_multiple_of(32)
        .then(|| (count / 32).checked_mul(17))?
}

/// Names the type of `id`.
pub(crate) fn resolve(id: u32) -> TypeId {
    use TypeId::{Known, Tl2OrMxfp4, Unknown, Unsupported};
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
        38 => Known(Dtype::Tl1),
        39 => Tl2OrMxfp4,
        40 => Unsupported("NVFP4"),
        41 => Unsupported("Q1_0"),
        42 => Known(Dtype::Tl2),
        134 => Known(Dtype::Iq1Bn),
        135 => Known(Dtype::Iq2Bn),
        335 => Known(Dtype::Iq2BnR4),
        TILES => Known(Dtype::Tiles),
        id if id & !0xFF == TILES & !0xFF => Unsupported("TILES of another version"),
        _ => Unknown,
    }
}

/// The id of a type, where GGUF has it: the inverse of [`resolve`].
pub(crate) fn id_of(dtype: Dtype) -> Option<u32> {
    const HIGHEST: u32 = 335;
    let mut ids = (0..=HIGHEST).chain([TILES]);
    ids.find(|&id| resolve(id) == TypeId::Known(dtype))
}
