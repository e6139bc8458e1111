//! What a conversion writes: every tensor, its type and where it comes from, before the first weight is touched.

use llm_format::{Dtype, KernelShape, ModelFile, TensorPlan};
use llm_kernels::{Compute, TlTiles};
use llm_model::{
    Blueprint, Container, I2sOrder, LoadOptions, ProjectionKind, Role, RopePairing, RopeScaling,
    Target, Weight, dense_type,
};

use crate::dense::file_type;
use crate::error::ConvertError;
use crate::options::{ConvertOptions, OutputType};
use crate::tiles;

/// A conversion, planned.
pub(crate) struct Plan {
    pub(crate) container: Container,
    pub(crate) target: Target,
    /// The type of the ternary weights; `None` where there are none.
    pub(crate) ternary: Option<OutputType>,
    pub(crate) steps: Vec<Step>,
    /// Tiles of the shapes that TL1 and TL2 tensors have.
    pub(crate) tiles: Vec<(usize, usize, TlTiles)>,
    /// What the output cannot hold.
    pub(crate) losses: Vec<String>,
}

/// One weight.
pub(crate) struct Step {
    /// The name of its tensor.
    pub(crate) name: String,
    pub(crate) content: Content,
}

/// Where the bytes of a weight come from.
pub(crate) enum Content {
    /// They are here already, f32, to be written as F32 or BF16.
    Values { values: Vec<f32>, dtype: Dtype },
    /// A ternary matrix, `[rows, cols]`; in a folder its scale is a tensor of its own behind it.
    Ternary {
        role: Role,
        dtype: Dtype,
        rows: usize,
        cols: usize,
        tiles: Option<TlTiles>,
        reorder: bool,
    },
    /// A dense matrix.
    Dense {
        role: Role,
        dtype: Dtype,
        rows: usize,
        cols: usize,
        reorder: bool,
    },
}

impl Step {
    /// The tensors that it becomes.
    pub(crate) fn tensors(&self) -> Vec<TensorPlan> {
        let tensor = |name: &str, dtype, shape: &[usize]| TensorPlan {
            name: name.to_owned(),
            dtype,
            shape: shape.to_vec(),
        };
        match &self.content {
            Content::Values { values, dtype } => vec![tensor(&self.name, *dtype, &[values.len()])],
            Content::Dense {
                dtype, rows, cols, ..
            } => vec![tensor(&self.name, *dtype, &[*rows, *cols])],
            Content::Ternary {
                dtype: Dtype::U8,
                rows,
                cols,
                ..
            } => vec![
                tensor(&self.name, Dtype::U8, &[rows / 4, *cols]),
                tensor(&self.scale_name(), Dtype::F32, &[1]),
            ],
            Content::Ternary {
                dtype, rows, cols, ..
            } => vec![tensor(&self.name, *dtype, &[*rows, *cols])],
        }
    }

    /// The name of the scale's tensor in a folder.
    pub(crate) fn scale_name(&self) -> String {
        format!("{}_scale", self.name)
    }
}

/// What is asked for, and what a file offers.
pub(crate) struct Request<'a> {
    pub(crate) file: &'a ModelFile,
    pub(crate) blueprint: &'a Blueprint<'a>,
    pub(crate) compute: &'a Compute,
    pub(crate) load: &'a LoadOptions,
    pub(crate) options: &'a ConvertOptions,
    pub(crate) container: Container,
    /// Tile sizes as given.
    pub(crate) shapes: &'a [KernelShape],
}

impl Request<'_> {
    /// Whether a weight is ternary in the output: as it is, or because that is asked for.
    fn becomes_ternary(&self, role: Role) -> Result<bool, ConvertError> {
        let is_made = self.options.ternarize && matches!(role, Role::Projection(..));
        Ok(is_made || self.blueprint.is_ternary(role)?)
    }
}

pub(crate) fn plan(request: &Request<'_>) -> Result<Plan, ConvertError> {
    let target = request.blueprint.target(request.container)?;
    let mut plan = Plan {
        container: request.container,
        target,
        ternary: ternary_type(request)?,
        steps: Vec::new(),
        tiles: Vec::new(),
        losses: Vec::new(),
    };
    if request.container == Container::Gguf
        && let Some(values) = rope_factors(request)
    {
        plan.steps.push(Step {
            name: "rope_freqs.weight".to_owned(),
            content: Content::Values {
                values,
                dtype: Dtype::F32,
            },
        });
    }
    for role in request.blueprint.roles() {
        let step = plan.step(request, role)?;
        plan.steps.push(step);
    }
    Ok(plan)
}

/// What ternary weights become, if there are any.
fn ternary_type(request: &Request<'_>) -> Result<Option<OutputType>, ConvertError> {
    let wanted = request.options.to;
    let mut has_ternary = false;
    for role in request.blueprint.roles() {
        has_ternary |= request.becomes_ternary(role)?;
    }
    let is_i2s = has_ternary
        && request.container == Container::Gguf
        && wanted.is_none_or(|wanted| wanted == OutputType::I2S);
    if request.options.output_i2s_order == I2sOrder::Arm && !is_i2s {
        return Err(ConvertError::InvalidOption {
            name: "outputI2sLayout",
            given: "arm".to_owned(),
            allowed: "x86 where no i2_s is written".to_owned(),
        });
    }
    match (has_ternary, wanted, request.container) {
        (true, wanted, Container::Gguf) => Ok(Some(wanted.unwrap_or(OutputType::I2S))),
        (true, _, Container::Folder) => Ok(Some(OutputType::HuggingFace)),
        (false, Some(wanted), Container::Gguf) => Err(ConvertError::NotTernary {
            wanted: wanted.name(),
        }),
        (false, ..) => Ok(None),
    }
}

/// The divisors of the rotary frequencies: those of the file, or those that follow from its settings.
fn rope_factors(request: &Request<'_>) -> Option<Vec<f32>> {
    let config = request.blueprint.config();
    if let (ModelFile::Gguf(_), Some(tensor)) =
        (request.file, request.file.tensor("rope_freqs.weight"))
        && tensor.dtype == Dtype::F32
    {
        let values = tensor.bytes.as_chunks::<4>().0.iter();
        return Some(values.map(|bytes| f32::from_le_bytes(*bytes)).collect());
    }
    let RopeScaling::Llama3 { .. } = config.rope_scaling else {
        return None;
    };
    Some(crate::gguf::llama3_factors(config))
}

impl Plan {
    fn step(&mut self, request: &Request<'_>, role: Role) -> Result<Step, ConvertError> {
        let name = self.target.name(role);
        let shape = role.shape(request.blueprint.config());
        let content = match (role, shape.as_slice()) {
            (Role::Embedding | Role::Head, &[rows, cols]) => Content::Dense {
                role,
                dtype: match request.options.embedding {
                    Some(dtype) => file_type(dtype),
                    None => self.stored_type(request, role)?,
                },
                rows,
                cols,
                reorder: false,
            },
            (Role::Projection(_, kind), &[rows, cols]) => {
                let reorder = matches!(kind, ProjectionKind::Query | ProjectionKind::Key)
                    && self.target.rope_pairing != request.blueprint.config().rope_pairing;
                match self.ternary {
                    Some(output) if request.becomes_ternary(role)? => {
                        self.ternary_content(request, role, output.dtype(), [rows, cols], reorder)?
                    }
                    _ => Content::Dense {
                        role,
                        dtype: self.stored_type(request, role)?,
                        rows,
                        cols,
                        reorder,
                    },
                }
            }
            _ => self.norm_content(request, role)?,
        };
        Ok(Step { name, content })
    }

    fn ternary_content(
        &mut self,
        request: &Request<'_>,
        role: Role,
        dtype: Dtype,
        [rows, cols]: [usize; 2],
        reorder: bool,
    ) -> Result<Content, ConvertError> {
        let tiles = match dtype {
            Dtype::Tl1 | Dtype::Tl2 => Some(tiles::choose(dtype, rows, cols, request.shapes)?),
            _ => None,
        };
        if let Some(tiles) = tiles
            && !self.tiles.contains(&(rows, cols, tiles))
        {
            self.tiles.push((rows, cols, tiles));
        }
        if dtype == Dtype::U8 && !rows.is_multiple_of(4) {
            return Err(ConvertError::Unsupported {
                what: format!("a matrix of {rows} x {cols} as packed uint8"),
                why: "its rows do not come in fours".to_owned(),
            });
        }
        Ok(Content::Ternary {
            role,
            dtype,
            rows,
            cols,
            tiles,
            reorder,
        })
    }

    /// The type of a dense weight that keeps its values: its own, or F32 where the output does not have that.
    fn stored_type(&self, request: &Request<'_>, role: Role) -> Result<Dtype, ConvertError> {
        let name = request.blueprint.name(role);
        let tensor = request.file.tensor(&name);
        let dtype = tensor
            .ok_or(llm_model::ModelError::TensorMissing { name })?
            .dtype;
        let is_float = matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::Bf16);
        Ok(match self.container {
            Container::Folder if !is_float && dense_type(dtype).is_some() => Dtype::F32,
            _ => dtype,
        })
    }

    fn norm_content(&mut self, request: &Request<'_>, role: Role) -> Result<Content, ConvertError> {
        let Weight::Norm(mut values) =
            request
                .blueprint
                .weight(role, request.compute, request.load)?
        else {
            return Err(ConvertError::tensor(
                &request.blueprint.name(role),
                "it is no norm",
            ));
        };
        let offset = match role {
            Role::InputNorm(..) => 0.0,
            _ => self.target.norm_offset,
        };
        for value in &mut values {
            let stored = *value - offset;
            if stored + offset != *value {
                let loss = "norm weights far below 1 are rounded where they are stored less one";
                if !self.losses.iter().any(|known| known == loss) {
                    self.losses.push(loss.to_owned());
                }
            }
            *value = stored;
        }
        // BF16 is the upper half of an f32.
        let is_short = values.iter().all(|value| value.to_bits() & 0xFFFF == 0);
        let dtype = match self.container {
            Container::Folder if is_short => Dtype::Bf16,
            _ => Dtype::F32,
        };
        Ok(Content::Values { values, dtype })
    }
}

/// Whether pairs that turn together become neighbours.
pub(crate) fn becomes_adjacent(target: &Target) -> bool {
    target.rope_pairing == RopePairing::Adjacent
}
