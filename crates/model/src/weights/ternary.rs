//! Ternary projections: every packing into the kernels' panels.

use llm_format::{Dtype, ModelFile, Tensor};
use llm_kernels::{
    Compute, KernelError, TernaryMatrix, pack_hf, pack_i2s, pack_i2s_arm, pack_iq1_bn, pack_iq2_bn,
    pack_iq2_bn_r4, pack_master, pack_tiles, pack_tl1, pack_tl2, pack_tq1_0, pack_tq2_0,
};

use super::{DENSE_TYPES, ScaleDirection, WeightReader, dense_type, wrong_type};
use crate::I2sOrder;
use crate::error::ModelError;

/// The metadata keys under which our own files keep what the f16 scales of TQ1_0, TQ2_0 and IQ1_BN round away: names of tensors,
/// and their scales in the same order.
pub const EXACT_SCALES_KEYS: [&str; 2] =
    ["llm_runner.exact_scale_names", "llm_runner.exact_scales"];

/// The metadata key under which a file of our own says that its I2_S tensors have the block order of ARM builds: a boolean.
pub const I2S_ARM_KEY: &str = "llm_runner.i2s_arm";

impl WeightReader<'_> {
    /// The projection `module`, whose weights are `tensor`; `None` where they are to be multiplied as they are.
    pub(super) fn ternary_matrix(
        &mut self,
        module: &str,
        tensor: &Tensor,
        rows: usize,
        cols: usize,
    ) -> Result<Option<TernaryMatrix>, ModelError> {
        let (name, bytes) = (&tensor.name, &tensor.bytes);
        let pack =
            |pack: fn(&Compute, usize, usize, &[u8]) -> Result<TernaryMatrix, KernelError>| {
                self.packing(name, |compute| pack(compute, rows, cols, bytes))
            };
        let matrix = match tensor.dtype {
            Dtype::U8 => return self.packed(module, tensor, rows, cols).map(Some),
            Dtype::F32 | Dtype::F16 | Dtype::Bf16 if self.rule.is_ternary(module, tensor.dtype) => {
                return self.master(module, tensor, rows, cols).map(Some);
            }
            Dtype::I2S => match self.i2s_order()? {
                I2sOrder::X86 => pack(pack_i2s)?,
                I2sOrder::Arm => pack(pack_i2s_arm)?,
            },
            Dtype::Iq1Bn => pack(pack_iq1_bn)?,
            Dtype::Iq2Bn => pack(pack_iq2_bn)?,
            Dtype::Iq2BnR4 => pack(pack_iq2_bn_r4)?,
            Dtype::Tiles => pack(pack_tiles)?,
            Dtype::Tl1 | Dtype::Tl2 => {
                let tiles = self.tiles(tensor, rows, cols)?;
                let pack = if tensor.dtype == Dtype::Tl1 {
                    pack_tl1
                } else {
                    pack_tl2
                };
                self.packing(name, |compute| pack(compute, rows, cols, tiles, bytes))?
            }
            Dtype::Tq1_0 | Dtype::Tq2_0 => {
                let pack = if tensor.dtype == Dtype::Tq1_0 {
                    pack_tq1_0
                } else {
                    pack_tq2_0
                };
                match self.packing(name, |compute| pack(compute, rows, cols, bytes))? {
                    Some(matrix) => matrix,
                    None => return Ok(None),
                }
            }
            _ => return Ok(None),
        };
        let matrix = match self.exact_scale(tensor)? {
            Some(exact) if is_rounded_to(exact, matrix.scale()) => {
                self.packing(name, |_| matrix.with_scale(exact))?
            }
            _ => matrix,
        };
        self.with_output_scale(module, matrix).map(Some)
    }

    /// The block order that is asked for, else the one that the file states, else the usual one.
    fn i2s_order(&self) -> Result<I2sOrder, ModelError> {
        let is_arm = match self.file {
            ModelFile::Gguf(gguf) => gguf.metadata().bool(I2S_ARM_KEY)?,
            ModelFile::Folder(_) => None,
        };
        let stated = match is_arm {
            Some(true) => I2sOrder::Arm,
            Some(false) | None => I2sOrder::X86,
        };
        Ok(self.options.i2s_order.unwrap_or(stated))
    }

    /// The scale of a tensor whose type rounds it, where a file of our own keeps it whole.
    fn exact_scale(&self, tensor: &Tensor) -> Result<Option<f32>, ModelError> {
        let ModelFile::Gguf(gguf) = self.file else {
            return Ok(None);
        };
        let metadata = gguf.metadata();
        let [names, scales] = EXACT_SCALES_KEYS;
        let names = metadata.strings(names)?.unwrap_or_default();
        let scales = metadata.f32s(scales)?.unwrap_or_default();
        let at = names.iter().position(|name| *name == tensor.name);
        Ok(at.and_then(|at| scales.get(at)).copied())
    }

    /// Some converters store weights of -1, 0 and 1, and what to multiply with in a tensor beside them.
    fn with_output_scale(
        &mut self,
        module: &str,
        matrix: TernaryMatrix,
    ) -> Result<TernaryMatrix, ModelError> {
        let Some(factor) = self.output_scale(module)? else {
            return Ok(matrix);
        };
        let scale = matrix.scale() * factor;
        matrix
            .with_scale(scale)
            .map_err(|source| ModelError::Weights {
                name: format!("{module}.scale"),
                source,
            })
    }

    /// GGUF's optional `module.scale`.
    pub(super) fn output_scale(&mut self, module: &str) -> Result<Option<f32>, ModelError> {
        let name = format!("{module}.scale");
        if !self.has(&name) {
            return Ok(None);
        }
        Ok(self.vector(&name, 1)?.first().copied())
    }

    fn packing<T>(
        &self,
        name: &str,
        pack: impl FnOnce(&Compute) -> Result<T, KernelError>,
    ) -> Result<T, ModelError> {
        pack(self.compute).map_err(|source| ModelError::Weights {
            name: name.to_owned(),
            source,
        })
    }

    /// Hugging Face's packed uint8 with its `weight_scale`.
    fn packed(
        &self,
        module: &str,
        tensor: &Tensor,
        rows: usize,
        cols: usize,
    ) -> Result<TernaryMatrix, ModelError> {
        let Some(direction) = self.rule.scale else {
            return Err(ModelError::TensorType {
                name: tensor.name.clone(),
                found: "U8 (packed ternary), but config.json has no quantization_config".to_owned(),
                expected: "a quantization_config that says how weight_scale applies",
            });
        };
        let scale = self.weight_scale(module)?;
        let scale = match direction {
            ScaleDirection::Multiply => scale,
            ScaleDirection::Divide => 1.0 / scale,
        };
        self.packing(&tensor.name, |compute| {
            pack_hf(compute, rows, cols, scale, &tensor.bytes)
        })
    }

    /// `module.weight_scale`: one float.
    fn weight_scale(&self, module: &str) -> Result<f32, ModelError> {
        let tensor = self.tensor(&format!("{module}.weight_scale"))?;
        if tensor.shape.iter().product::<usize>() != 1 {
            return Err(ModelError::TensorShape {
                name: tensor.name,
                expected: vec![1],
                found: tensor.shape,
            });
        }
        let scale = self.float_values(&tensor)?[0];
        if scale.is_finite() {
            Ok(scale)
        } else {
            Err(ModelError::TensorValue {
                name: tensor.name,
                found: format!("a scale of {scale}"),
            })
        }
    }

    /// Full-precision weights rounded to ternary as the reference does at load; or, with a `weight_scale` beside them,
    /// weights that are -1, 0 and 1 already.
    fn master(
        &self,
        module: &str,
        tensor: &Tensor,
        rows: usize,
        cols: usize,
    ) -> Result<TernaryMatrix, ModelError> {
        if self.has(&format!("{module}.weight_scale")) {
            return Err(ModelError::TensorType {
                name: tensor.name.clone(),
                found: format!("{:?} with a weight_scale", tensor.dtype),
                expected: "packed U8 weights, or master weights without a weight_scale",
            });
        }
        let dtype = dense_type(tensor.dtype).ok_or_else(|| wrong_type(tensor, DENSE_TYPES))?;
        self.packing(&tensor.name, |compute| {
            pack_master(compute, rows, cols, dtype, &tensor.bytes)
        })
    }
}

/// Whether `rounded` is what f16, with its 11 bits, makes of `exact`; else somebody has changed the tensor since.
fn is_rounded_to(exact: f32, rounded: f32) -> bool {
    // Below its normal numbers f16 has fixed steps of 2^-24.
    const STEP: f32 = 1.0 / 16_777_216.0;
    (exact - rounded).abs() <= (exact.abs() / 2048.0).max(STEP)
}
