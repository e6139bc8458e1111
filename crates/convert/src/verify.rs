//! Whether two model files hold the same weights, whatever they store them in.

use std::ops::{ControlFlow, Range};
use std::path::Path;

use llm_kernels::{Compute, DenseMatrix, DenseType, TernaryMatrix, encode_rows, reorder_rows};
use llm_model::{
    Blueprint, I2sOrder, LoadOptions, ProjectionKind, Role, RopePairing, Weight, dense_type,
};
use serde::Serialize;

use crate::dense::paired_rows;
use crate::error::ConvertError;
use crate::run::{Progress, compute, kernel_shapes};

/// Rows of dense matrices that are compared at a time.
const ROWS: usize = 256;

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Tensors that both have.
    pub compared: usize,
    /// Those that differ, and those that one of them lacks.
    pub differences: Vec<Difference>,
}

/// A weight that is not the same in both.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The tensor's name in the first file, or in the second where the first lacks it.
    pub name: String,
    /// What differs, in words.
    pub what: String,
    /// The largest difference of two numbers, where they could be compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub largest: Option<f64>,
}

impl Comparison {
    /// One line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Numbers and strings under fixed names always serialise.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// One of two models that are compared.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// File or folder.
    pub path: &'a Path,
    /// As [`ConvertOptions::i2s_order`](crate::ConvertOptions::i2s_order).
    pub i2s_order: Option<I2sOrder>,
    /// As [`ConvertOptions::kernel_config`](crate::ConvertOptions::kernel_config).
    pub kernel_config: Option<&'a Path>,
}

impl<'a> Side<'a> {
    /// A file that says all of itself.
    #[must_use]
    pub fn new(path: &'a Path) -> Self {
        Self {
            path,
            i2s_order: None,
            kernel_config: None,
        }
    }

    fn load_options(self) -> Result<LoadOptions, ConvertError> {
        Ok(LoadOptions {
            i2s_order: self.i2s_order,
            kernel_shapes: kernel_shapes(self.path, self.kernel_config)?,
            ..LoadOptions::default()
        })
    }
}

/// A model being read.
struct Reader<'a> {
    blueprint: Blueprint<'a>,
    options: LoadOptions,
}

/// Compares the weights of `first` and `second`, one after another; `progress` hears of each, and ends it by
/// [`ControlFlow::Break`].
///
/// # Errors
/// What keeps either from being loaded, [`ConvertError::Cancelled`].
pub fn compare(
    first: Side<'_>,
    second: Side<'_>,
    progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Comparison, ConvertError> {
    let files = [
        llm_format::open(first.path)?,
        llm_format::open(second.path)?,
    ];
    let reader = |side: Side<'_>, file| -> Result<Reader<'_>, ConvertError> {
        Ok(Reader {
            blueprint: Blueprint::read(file)?,
            options: side.load_options()?,
        })
    };
    let [first, second] = [reader(first, &files[0])?, reader(second, &files[1])?];
    let [a, b] = [&first.blueprint, &second.blueprint];
    let compute = compute(None)?;
    let mut found = Comparison {
        compared: 0,
        differences: Vec::new(),
    };
    let (roles, others) = (a.roles(), b.roles());
    let lone = |blueprint: &Blueprint<'_>, role: Role, which| Difference {
        name: blueprint.name(role),
        what: format!("only in the {which}"),
        largest: None,
    };
    let total = roles.len() as u64;
    for (index, &role) in roles.iter().enumerate() {
        if others.contains(&role) {
            found.compared += 1;
            found
                .differences
                .extend(differ(&first, &second, role, &compute)?);
        } else {
            found.differences.push(lone(a, role, "first"));
        }
        let now = Progress {
            tensor: a.name(role),
            done: index as u64 + 1,
            total,
        };
        if progress(&now).is_break() {
            return Err(ConvertError::Cancelled);
        }
    }
    let missing = others.iter().filter(|role| !roles.contains(role));
    let missing = missing.map(|&role| lone(b, role, "second"));
    found.differences.extend(missing);
    Ok(found)
}

fn differ(
    first: &Reader<'_>,
    second: &Reader<'_>,
    role: Role,
    compute: &Compute,
) -> Result<Option<Difference>, ConvertError> {
    let [a, b] = [&first.blueprint, &second.blueprint];
    let difference = |what: String, largest| {
        Some(Difference {
            name: a.name(role),
            what,
            largest,
        })
    };
    let (shape, other) = (role.shape(a.config()), role.shape(b.config()));
    if shape != other {
        return Ok(difference(format!("shapes {shape:?} and {other:?}"), None));
    }
    let [first, second] = [first.read(role, compute)?, second.read(role, compute)?];
    if let (Weight::Ternary(first), Weight::Ternary(second)) = (&first, &second)
        && first.same_codes(second)
    {
        let apart = (first.scale() - second.scale()).abs();
        let what = format!("scales {} and {}", first.scale(), second.scale());
        return Ok((apart > 0.0)
            .then(|| difference(what, Some(f64::from(apart))))
            .flatten());
    }
    let rows = if shape.len() == 2 { shape[0] } else { 1 };
    let (mut largest, mut count) = (0.0_f64, 0_usize);
    for start in (0..rows).step_by(ROWS) {
        let end = rows.min(start + ROWS);
        let [x, y] = [
            values(a, role, &first, start..end, compute)?,
            values(b, role, &second, start..end, compute)?,
        ];
        for (x, y) in x.iter().zip(&y).filter(|(x, y)| x != y) {
            count += 1;
            largest = largest.max((f64::from(*x) - f64::from(*y)).abs());
        }
    }
    Ok((count > 0)
        .then(|| difference(format!("{count} numbers"), Some(largest)))
        .flatten())
}

impl Reader<'_> {
    /// A weight, its rows in the order of folders if it is ternary.
    fn read(&self, role: Role, compute: &Compute) -> Result<Weight, ConvertError> {
        let weight = self.blueprint.weight(role, compute, &self.options)?;
        Ok(match (weight, folder_order(&self.blueprint, role)) {
            (Weight::Ternary(matrix), Some(order)) => {
                Weight::Ternary(reorder_rows(compute, &matrix, &order)?)
            }
            (weight, _) => weight,
        })
    }
}

/// Where the rows of a folder's matrix lie in this file, if they lie elsewhere.
fn folder_order(blueprint: &Blueprint<'_>, role: Role) -> Option<Vec<usize>> {
    let config = blueprint.config();
    let Role::Projection(_, ProjectionKind::Query | ProjectionKind::Key) = role else {
        return None;
    };
    (config.rope_pairing == RopePairing::Adjacent)
        .then(|| paired_rows(role.shape(config)[0], config.head_dim, false))
}

/// The numbers of some rows, in the order of folders.
fn values(
    blueprint: &Blueprint<'_>,
    role: Role,
    weight: &Weight,
    rows: Range<usize>,
    compute: &Compute,
) -> Result<Vec<f32>, ConvertError> {
    match weight {
        Weight::Norm(values) => Ok(values.clone()),
        Weight::Ternary(matrix) => Ok(ternary_rows(matrix, rows)),
        Weight::Dense { tensor, scale } => {
            let (Some(dtype), &[all, cols]) = (dense_type(tensor.dtype), tensor.shape.as_slice())
            else {
                return Err(ConvertError::tensor(
                    &tensor.name,
                    format!("{} holds no numbers that can be compared", tensor.dtype),
                ));
            };
            let matrix = DenseMatrix::new(all, cols, dtype, &tensor.bytes)?;
            let order = folder_order(blueprint, role);
            let decode = |rows| encode_rows(compute, &matrix, rows, DenseType::F32);
            let bytes = match order {
                None => decode(rows.clone())?,
                Some(order) => {
                    let parts = rows.clone().map(|row| decode(order[row]..order[row] + 1));
                    parts.collect::<Result<Vec<_>, _>>()?.concat()
                }
            };
            tensor
                .bytes
                .release_part(row_bytes(tensor.bytes.len(), all, rows));
            let numbers = bytes.as_chunks::<4>().0.iter();
            Ok(numbers
                .map(|bytes| f32::from_le_bytes(*bytes) * scale)
                .collect())
        }
    }
}

fn row_bytes(len: usize, all: usize, rows: Range<usize>) -> Range<usize> {
    let row = len / all.max(1);
    rows.start * row..rows.end * row
}

fn ternary_rows(matrix: &TernaryMatrix, rows: Range<usize>) -> Vec<f32> {
    let mut codes = vec![0; matrix.cols()];
    let mut values = Vec::with_capacity(rows.len() * matrix.cols());
    for row in rows {
        matrix.read_row(row, &mut codes);
        values.extend(
            codes
                .iter()
                .map(|&code| (f32::from(code) - 1.0) * matrix.scale()),
        );
    }
    values
}
