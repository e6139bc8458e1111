//! What a conversion is asked for.

use std::path::PathBuf;
use std::str::FromStr;

use llm_format::Dtype;
use llm_kernels::DenseType;
use llm_model::I2sOrder;

use crate::error::ConvertError;

/// How a model is converted.
#[derive(Debug, Clone, Default)]
pub struct ConvertOptions {
    /// What becomes of the ternary weights. `None`: I2_S in a file whose name ends in `.gguf`, a Hugging Face folder otherwise.
    pub to: Option<OutputType>,
    /// The type of embedding and head. `None`: what they are.
    pub embedding: Option<DenseType>,
    /// Rounds projections that are not ternary to ternary ones, as trained masters are. A model that was not trained for it is ruined.
    pub ternarize: bool,
    /// Threads, at least 1. `None`: one per processor that this process may use.
    pub threads: Option<usize>,
    /// The block order of the input's I2_S tensors. `None`: what the input says, if it is one of ours, else the usual one.
    pub i2s_order: Option<I2sOrder>,
    /// The block order of I2_S tensors that are written.
    pub output_i2s_order: I2sOrder,
    /// The `kernel_config.ini` with tile sizes of TL1 and TL2 tensors, of input and output. `None`: the one beside the input, if
    /// there is one, and else what is known of a shape.
    pub kernel_config: Option<PathBuf>,
}

/// What the ternary weights of a model become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputType {
    /// Blocks of 128 two-bit codes.
    I2S,
    /// Pairs in the tile order of ARM lookup kernels.
    Tl1,
    /// Triples in the tile order of x86-64 lookup kernels.
    Tl2,
    /// Five values a byte.
    Tq1_0,
    /// Four values a byte.
    Tq2_0,
    /// 13 bytes for 64 values.
    Iq1Bn,
    /// 16 bytes for 64 values.
    Iq2Bn,
    /// The panels that kernels multiply: no packing while loading.
    Tiles,
    /// A Hugging Face folder of packed uint8.
    HuggingFace,
}

impl OutputType {
    /// All, the packings first.
    pub const ALL: [Self; 9] = [
        Self::I2S,
        Self::Tl1,
        Self::Tl2,
        Self::Tq1_0,
        Self::Tq2_0,
        Self::Iq1Bn,
        Self::Iq2Bn,
        Self::Tiles,
        Self::HuggingFace,
    ];

    /// The packings: what files of weights are asked for by.
    pub const PACKINGS: [Self; 8] = {
        let [packings @ .., _] = Self::ALL;
        packings
    };

    /// As options spell it.
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
            Self::Tiles => "tiles",
            Self::HuggingFace => "hf",
        }
    }

    /// The type of ternary tensors.
    pub(crate) fn dtype(self) -> Dtype {
        match self {
            Self::I2S => Dtype::I2S,
            Self::Tl1 => Dtype::Tl1,
            Self::Tl2 => Dtype::Tl2,
            Self::Tq1_0 => Dtype::Tq1_0,
            Self::Tq2_0 => Dtype::Tq2_0,
            Self::Iq1Bn => Dtype::Iq1Bn,
            Self::Iq2Bn => Dtype::Iq2Bn,
            Self::Tiles => Dtype::Tiles,
            Self::HuggingFace => Dtype::U8,
        }
    }

    /// `general.file_type` of a GGUF file; `None`: there is no number for it.
    pub(crate) fn file_type(self) -> Option<u32> {
        match self {
            Self::I2S => Some(40),
            Self::Tl1 => Some(38),
            Self::Tl2 => Some(39),
            Self::Tq1_0 => Some(36),
            Self::Tq2_0 => Some(37),
            Self::Iq1Bn => Some(136),
            Self::Iq2Bn => Some(137),
            Self::Tiles | Self::HuggingFace => None,
        }
    }

    /// Whether scales are stored as f16.
    pub(crate) fn rounds_scales(self) -> bool {
        matches!(self, Self::Tq1_0 | Self::Tq2_0 | Self::Iq1Bn)
    }
}

impl FromStr for OutputType {
    type Err = ConvertError;

    fn from_str(name: &str) -> Result<Self, ConvertError> {
        let lower = name.to_ascii_lowercase();
        let found = Self::ALL.into_iter().find(|output| output.name() == lower);
        found.ok_or_else(|| ConvertError::InvalidOption {
            name: "type",
            given: name.to_owned(),
            allowed: Self::ALL.map(Self::name).join(", "),
        })
    }
}

/// The type of embedding and head by its name.
///
/// # Errors
/// [`ConvertError::InvalidOption`].
pub fn embedding_type(name: &str) -> Result<DenseType, ConvertError> {
    match name.to_ascii_lowercase().as_str() {
        "f32" => Ok(DenseType::F32),
        "f16" => Ok(DenseType::F16),
        "bf16" => Ok(DenseType::Bf16),
        "q8_0" => Ok(DenseType::Q8_0),
        "q6_k" => Ok(DenseType::Q6K),
        _ => Err(ConvertError::InvalidOption {
            name: "embeddingType",
            given: name.to_owned(),
            allowed: "f32, f16, bf16, q8_0 or q6_k".to_owned(),
        }),
    }
}
