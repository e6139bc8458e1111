//! Tensors of a model file, checked against the configuration and brought into the form the forward pass takes.

mod ternary;
mod tiles;

pub use ternary::{EXACT_SCALES_KEYS, I2S_ARM_KEY};
pub use tiles::TILES_KEY;

use llm_format::{Dtype, ModelFile, Tensor};
use llm_kernels::{Compute, DenseMatrix, DenseType, TernaryMatrix};

use crate::LoadOptions;
use crate::blueprint::Weight;
use crate::error::ModelError;
use crate::linear::{DenseTensor, Linear};

/// What the projections of a Hugging Face folder hold.
#[derive(Debug, Clone)]
pub(crate) struct TernaryRule {
    /// Unpacked projections are full-precision master weights, to be rounded to ternary at load.
    pub(crate) master: bool,
    /// How `weight_scale` applies to packed projections; `None`: the folder does not say, packed ones are refused.
    pub(crate) scale: Option<ScaleDirection>,
    /// Modules that stay dense.
    pub(crate) skip: Vec<String>,
}

/// The direction of `weight_scale`, which depends on `quantization_config.linear_class`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScaleDirection {
    /// `bitlinear`, the default: weights are `code / weight_scale`.
    Divide,
    /// `autobitlinear`: weights are `code * weight_scale`.
    Multiply,
}

impl TernaryRule {
    /// Nothing is ternary but what the tensor types say.
    pub(crate) fn by_type() -> Self {
        Self {
            master: false,
            scale: None,
            skip: Vec::new(),
        }
    }

    /// Whether the projection `module` of that type is ternary.
    pub(crate) fn is_ternary(&self, module: &str, dtype: Dtype) -> bool {
        match dtype {
            Dtype::F32 | Dtype::F16 | Dtype::Bf16 => self.master && !self.skips(module),
            Dtype::U8
            | Dtype::I2S
            | Dtype::Tl1
            | Dtype::Tl2
            | Dtype::Iq1Bn
            | Dtype::Iq2Bn
            | Dtype::Iq2BnR4
            | Dtype::Tiles
            | Dtype::Tq1_0
            | Dtype::Tq2_0 => true,
            _ => false,
        }
    }

    fn skips(&self, module: &str) -> bool {
        self.skip.iter().any(|key| {
            module == key
                || module.ends_with(&format!(".{key}"))
                || module.contains(&format!("{key}."))
        })
    }
}

/// Counts of what was read.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) parameters: u64,
    pub(crate) ternary_parameters: u64,
    /// Bytes as stored for use: packed ternary, norms as f32, dense as in the file.
    pub(crate) stored_bytes: u64,
    /// The part of them in memory of our own.
    pub(crate) resident_bytes: u64,
    /// Distinct types of the projections, in order of appearance.
    pub(crate) projection_types: Vec<String>,
    /// Ternary tensors without any weight but zero: allowed, but a sign of a damaged upload.
    pub(crate) all_zero: Vec<String>,
}

/// Reads tensors by name and counts them.
pub(crate) struct WeightReader<'a> {
    file: &'a ModelFile,
    compute: &'a Compute,
    options: &'a LoadOptions,
    rule: TernaryRule,
    progress: &'a mut dyn FnMut(usize, usize),
    done: usize,
    total: usize,
    pub(crate) tally: Tally,
}

impl<'a> WeightReader<'a> {
    pub(crate) fn new(
        file: &'a ModelFile,
        compute: &'a Compute,
        options: &'a LoadOptions,
        rule: TernaryRule,
        progress: &'a mut dyn FnMut(usize, usize),
    ) -> Self {
        let total = file.tensors().map(|tensor| tensor.bytes.len()).sum();
        Self {
            file,
            compute,
            options,
            rule,
            progress,
            done: 0,
            total,
            tally: Tally::default(),
        }
    }

    /// Whether the file holds a tensor of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.file.tensor(name).is_some()
    }

    /// A vector of `len` finite f32 values (norm weights, rotary factors).
    pub(crate) fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>, ModelError> {
        let tensor = self.tensor(name)?;
        expect_shape(&tensor, &[len])?;
        let values = self.float_values(&tensor)?;
        if let Some(bad) = values.iter().find(|value| !value.is_finite()) {
            return Err(ModelError::TensorValue {
                name: tensor.name,
                found: bad.to_string(),
            });
        }
        self.count(&tensor, len, 4 * len, 4 * len);
        Ok(values)
    }

    /// A matrix `[rows, cols]` that stays in the file: the embedding, the head.
    pub(crate) fn matrix(
        &mut self,
        name: &str,
        rows: usize,
        cols: usize,
    ) -> Result<DenseTensor, ModelError> {
        let tensor = self.tensor(name)?;
        expect_shape(&tensor, &[rows, cols])?;
        let dtype = dense_type(tensor.dtype).ok_or_else(|| wrong_type(&tensor, DENSE_TYPES))?;
        let dense = DenseTensor::new(rows, cols, dtype, tensor.dtype.name(), tensor.bytes.clone())
            .map_err(|source| ModelError::Weights {
                name: name.to_owned(),
                source,
            })?;
        self.count(&tensor, rows * cols, tensor.bytes.len(), 0);
        Ok(dense)
    }

    /// The projection `module`, `[rows, cols]`: `module.weight` and what goes with it.
    pub(crate) fn linear(
        &mut self,
        module: &str,
        rows: usize,
        cols: usize,
    ) -> Result<Linear, ModelError> {
        let tensor = self.projection_tensor(module, rows, cols)?;
        match self.ternary_matrix(module, &tensor, rows, cols)? {
            Some(matrix) => Ok(self.ternary(matrix, module, &tensor)),
            None => self.dense(module, &tensor, rows, cols),
        }
    }

    /// The same weights for those who do not multiply with them.
    pub(crate) fn projection(
        &mut self,
        module: &str,
        rows: usize,
        cols: usize,
    ) -> Result<Weight, ModelError> {
        let tensor = self.projection_tensor(module, rows, cols)?;
        Ok(match self.ternary_matrix(module, &tensor, rows, cols)? {
            Some(matrix) => Weight::Ternary(matrix),
            None => Weight::Dense {
                scale: self.output_scale(module)?.unwrap_or(1.0),
                tensor,
            },
        })
    }

    /// `module.weight`, of the shape that the configuration says.
    fn projection_tensor(
        &self,
        module: &str,
        rows: usize,
        cols: usize,
    ) -> Result<Tensor, ModelError> {
        if self.has(&format!("{module}.bias")) {
            return Err(ModelError::TensorType {
                name: format!("{module}.bias"),
                found: "a bias".to_owned(),
                expected: "projections without biases",
            });
        }
        let tensor = self.tensor(&format!("{module}.weight"))?;
        let rows = if tensor.dtype == Dtype::U8 {
            rows.div_ceil(4)
        } else {
            rows
        };
        expect_shape(&tensor, &[rows, cols])?;
        Ok(tensor)
    }

    fn tensor(&self, name: &str) -> Result<Tensor, ModelError> {
        self.file
            .tensor(name)
            .ok_or_else(|| ModelError::TensorMissing {
                name: name.to_owned(),
            })
    }

    fn ternary(&mut self, matrix: TernaryMatrix, module: &str, tensor: &Tensor) -> Linear {
        if matrix.is_zero() {
            self.tally.all_zero.push(format!("{module}.weight"));
        }
        self.tally.ternary_parameters += (matrix.rows() * matrix.cols()) as u64;
        self.note_type("ternary");
        self.count(
            tensor,
            matrix.rows() * matrix.cols(),
            matrix.bytes(),
            matrix.bytes(),
        );
        // The packed copy serves from here on: the mapped pages need not stay in memory beside it.
        tensor.bytes.release();
        Linear::Ternary(matrix)
    }

    fn dense(
        &mut self,
        module: &str,
        tensor: &Tensor,
        rows: usize,
        cols: usize,
    ) -> Result<Linear, ModelError> {
        let dtype = dense_type(tensor.dtype).ok_or_else(|| wrong_type(tensor, DENSE_TYPES))?;
        let scale = self.output_scale(module)?.unwrap_or(1.0);
        let weights =
            DenseTensor::new(rows, cols, dtype, tensor.dtype.name(), tensor.bytes.clone())
                .map_err(|source| ModelError::Weights {
                    name: tensor.name.clone(),
                    source,
                })?;
        self.note_type(tensor.dtype.name());
        self.count(tensor, rows * cols, tensor.bytes.len(), 0);
        Ok(Linear::Dense { weights, scale })
    }

    /// The values of a small F32, F16 or BF16 tensor.
    fn float_values(&self, tensor: &Tensor) -> Result<Vec<f32>, ModelError> {
        const EXPECTED: &str = "F32, F16 or BF16";
        let dtype = dense_type(tensor.dtype)
            .filter(|dtype| matches!(dtype, DenseType::F32 | DenseType::F16 | DenseType::Bf16))
            .ok_or_else(|| wrong_type(tensor, EXPECTED))?;
        let len = tensor.shape.iter().product();
        let mut values = vec![0.0; len];
        DenseMatrix::new(1, len, dtype, &tensor.bytes)
            .map_err(|source| ModelError::Weights {
                name: tensor.name.clone(),
                source,
            })?
            .dequantize_row(0, &mut values);
        Ok(values)
    }

    fn note_type(&mut self, name: &str) {
        if !self
            .tally
            .projection_types
            .iter()
            .any(|known| known == name)
        {
            self.tally.projection_types.push(name.to_owned());
        }
    }

    fn count(&mut self, tensor: &Tensor, parameters: usize, stored: usize, resident: usize) {
        self.tally.parameters += parameters as u64;
        self.tally.stored_bytes += stored as u64;
        self.tally.resident_bytes += resident as u64;
        self.done += tensor.bytes.len();
        (self.progress)(self.done.min(self.total), self.total);
    }
}

const DENSE_TYPES: &str =
    "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K … Q6_K, TQ1_0 or TQ2_0";

fn wrong_type(tensor: &Tensor, expected: &'static str) -> ModelError {
    ModelError::TensorType {
        name: tensor.name.clone(),
        found: tensor.dtype.to_string(),
        expected,
    }
}

fn expect_shape(tensor: &Tensor, expected: &[usize]) -> Result<(), ModelError> {
    if tensor.shape == expected {
        return Ok(());
    }
    Err(ModelError::TensorShape {
        name: tensor.name.clone(),
        expected: expected.to_vec(),
        found: tensor.shape.clone(),
    })
}

/// The kernels' name of a file type, `None` for those that are no dense weights.
#[must_use]
pub fn dense_type(dtype: Dtype) -> Option<DenseType> {
    Some(match dtype {
        Dtype::F32 => DenseType::F32,
        Dtype::F16 => DenseType::F16,
        Dtype::Bf16 => DenseType::Bf16,
        Dtype::Q8_0 => DenseType::Q8_0,
        Dtype::Q4_0 => DenseType::Q4_0,
        Dtype::Q4_1 => DenseType::Q4_1,
        Dtype::Q5_0 => DenseType::Q5_0,
        Dtype::Q5_1 => DenseType::Q5_1,
        Dtype::Q2K => DenseType::Q2K,
        Dtype::Q3K => DenseType::Q3K,
        Dtype::Q4K => DenseType::Q4K,
        Dtype::Q5K => DenseType::Q5K,
        Dtype::Q6K => DenseType::Q6K,
        Dtype::Tq1_0 => DenseType::Tq1_0,
        Dtype::Tq2_0 => DenseType::Tq2_0,
        _ => return None,
    })
}
