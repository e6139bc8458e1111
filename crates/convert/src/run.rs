//! Carrying a conversion out.

use std::fs::File;
use std::io::BufWriter;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use llm_format::{
    Dtype, GgufWriter, KernelShape, SafetensorsWriter, Tensor, TensorPlan, WriteError,
    read_kernel_config,
};
use llm_kernels::{
    Compute, Isa, KernelError, Kernels, TernaryMatrix, TlTiles, pack_master, reorder_rows,
    write_hf, write_i2s, write_i2s_arm, write_iq1_bn, write_iq2_bn, write_tiles, write_tl1,
    write_tl2, write_tq1_0, write_tq2_0,
};
use llm_model::{
    Blueprint, Container, EXACT_SCALES_KEYS, I2sOrder, LoadOptions, Role, Weight, dense_type,
};

use crate::dense::{paired_rows, write_matrix};
use crate::error::ConvertError;
use crate::options::{ConvertOptions, OutputType};
use crate::output::Output;
use crate::plan::{Content, Plan, Request, Step, becomes_adjacent, plan};
use crate::{folder, gguf};

/// Bytes that are collected before they go to the file.
const BUFFER: usize = 1 << 20;

/// Grows when the same input becomes another output than before, so that what was made by an older one is made anew.
pub const VERSION: u32 = 1;

/// How far a conversion is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The tensor that has been written.
    pub tensor: String,
    /// Bytes of tensors written.
    pub done: u64,
    /// Bytes of all tensors.
    pub total: u64,
}

/// What a conversion made.
#[derive(Debug, Clone, PartialEq)]
pub struct Converted {
    /// The file or folder.
    pub path: PathBuf,
    /// Bytes of its weights.
    pub bytes: u64,
    /// Its tensors.
    pub tensors: usize,
    /// What the ternary weights are stored as; `None` where there are none.
    pub ternary: Option<OutputType>,
    /// What the model is called there.
    pub architecture: String,
    /// What the output has no place for, in words.
    pub losses: Vec<String>,
}

/// Converts the model at `input` to a file or folder at `output`, where nothing may lie yet. `progress` hears of every tensor,
/// and ends the conversion by [`ControlFlow::Break`].
///
/// # Errors
/// What keeps the input from being loaded; what the output cannot hold; [`ConvertError::Cancelled`]. Nothing is left at
/// `output` then.
pub fn convert(
    input: &Path,
    output: &Path,
    options: &ConvertOptions,
    progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Converted, ConvertError> {
    let output = Output::new(output)?;
    let file = llm_format::open(input)?;
    let compute = compute(options.threads)?;
    let shapes = kernel_shapes(input, options.kernel_config.as_deref())?;
    let load = LoadOptions {
        i2s_order: options.i2s_order,
        kernel_shapes: shapes.clone(),
        ..LoadOptions::default()
    };
    let blueprint = Blueprint::read(&file)?;
    let container = match options.to {
        Some(OutputType::HuggingFace) => Container::Folder,
        Some(_) => Container::Gguf,
        None if output.place_ends_in("gguf") => Container::Gguf,
        None => Container::Folder,
    };
    let request = Request {
        file: &file,
        blueprint: &blueprint,
        compute: &compute,
        load: &load,
        options,
        container,
        shapes: &shapes,
    };
    let mut plan = plan(&request)?;
    let tensors: Vec<TensorPlan> = plan.steps.iter().flat_map(Step::tensors).collect();
    let mut job = Job {
        request: &request,
        progress,
        output: &output,
        scales: Vec::new(),
        state: Progress {
            tensor: String::new(),
            done: 0,
            total: total(&tensors),
        },
    };
    let architecture = match container {
        Container::Gguf => job.write_gguf(&mut plan, &tensors)?,
        Container::Folder => job.write_folder(&plan, &tensors)?,
    };
    let bytes = job.state.total;
    let path = output.commit()?;
    Ok(Converted {
        path,
        bytes,
        tensors: tensors.len(),
        ternary: plan.ternary,
        architecture,
        losses: plan.losses,
    })
}

/// Kernels whose panels are read back the fastest: those that keep two bits a weight.
pub(crate) fn compute(threads: Option<usize>) -> Result<Compute, ConvertError> {
    let wanted = [Isa::Avx512Vnni, Isa::Avx2, Isa::Neon];
    let kernels = wanted.into_iter().find_map(Kernels::for_isa);
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.unwrap_or(available.min(Compute::MAX_THREADS));
    Ok(Compute::new(
        kernels.unwrap_or_else(Kernels::detect),
        threads,
    )?)
}

/// Tile sizes of lookup kernels: those of the file that is named, else of the one beside the input.
pub(crate) fn kernel_shapes(
    input: &Path,
    named: Option<&Path>,
) -> Result<Vec<KernelShape>, ConvertError> {
    let beside = input.with_file_name("kernel_config.ini");
    Ok(match named {
        Some(given) => read_kernel_config(given)?,
        None if beside.is_file() => read_kernel_config(&beside)?,
        None => Vec::new(),
    })
}

fn total(tensors: &[TensorPlan]) -> u64 {
    let len = |tensor: &TensorPlan| tensor.dtype.byte_len(&tensor.shape).unwrap_or(0) as u64;
    tensors.iter().map(len).sum()
}

/// A conversion under way.
struct Job<'a> {
    request: &'a Request<'a>,
    progress: &'a mut dyn FnMut(&Progress) -> ControlFlow<()>,
    output: &'a Output,
    /// Scales of the ternary tensors so far.
    scales: Vec<f32>,
    state: Progress,
}

/// Where tensors go: their name and some of their bytes.
type Sink<'a> = dyn FnMut(&str, &[u8]) -> Result<(), WriteError> + 'a;

impl Job<'_> {
    fn failed(&self, source: WriteError) -> ConvertError {
        ConvertError::Write {
            path: self.output.place().to_owned(),
            source,
        }
    }

    /// Writes a GGUF file; returns the architecture that it names.
    fn write_gguf(
        &mut self,
        plan: &mut Plan,
        tensors: &[TensorPlan],
    ) -> Result<String, ConvertError> {
        let header = gguf::metadata(self.request, plan)?;
        let out = BufWriter::with_capacity(BUFFER, self.output.create_file()?);
        let writer = GgufWriter::new(out, &header.pairs, tensors);
        let mut writer = writer.map_err(|source| self.failed(source))?;
        self.write_steps(plan, &mut |name, bytes| writer.write(name, bytes))?;
        let scales = std::mem::take(&mut self.scales);
        let finished = writer.finish(&[(EXACT_SCALES_KEYS[1], scales)]);
        finished.map_err(|source| self.failed(source))?;
        Ok(header.architecture)
    }

    /// Writes a Hugging Face folder; returns the architecture that it names.
    fn write_folder(
        &mut self,
        plan: &Plan,
        tensors: &[TensorPlan],
    ) -> Result<String, ConvertError> {
        self.output.create_folder()?;
        folder::write_files(self.request, plan, self.output.partial())?;
        let path = self.output.partial().join("model.safetensors");
        let out = File::create_new(path).map_err(|source| self.output.failed(source))?;
        let out = BufWriter::with_capacity(BUFFER, out);
        let mut writer =
            SafetensorsWriter::new(out, tensors).map_err(|source| self.failed(source))?;
        self.write_steps(plan, &mut |name, bytes| writer.write(name, bytes))?;
        writer.finish().map_err(|source| self.failed(source))?;
        Ok(plan.target.architecture.to_owned())
    }

    fn write_steps(&mut self, plan: &Plan, sink: &mut Sink<'_>) -> Result<(), ConvertError> {
        for step in &plan.steps {
            let adjacent = becomes_adjacent(&plan.target);
            match &step.content {
                Content::Values { values, dtype } => {
                    self.write_values(step, values, *dtype, sink)?
                }
                Content::Ternary {
                    role,
                    dtype,
                    tiles,
                    reorder,
                    ..
                } => {
                    let order = reorder.then_some(adjacent);
                    self.write_ternary(step, *role, *dtype, *tiles, order, sink)?;
                }
                Content::Dense {
                    role,
                    dtype,
                    reorder,
                    ..
                } => {
                    let order = reorder.then_some(adjacent);
                    self.write_dense(step, *role, *dtype, order, sink)?;
                }
            }
            step.name.clone_into(&mut self.state.tensor);
            if (self.progress)(&self.state).is_break() {
                return Err(ConvertError::Cancelled);
            }
        }
        Ok(())
    }

    fn put(&mut self, name: &str, bytes: &[u8], sink: &mut Sink<'_>) -> Result<(), ConvertError> {
        sink(name, bytes).map_err(|source| self.failed(source))?;
        self.state.done += bytes.len() as u64;
        Ok(())
    }

    fn write_values(
        &mut self,
        step: &Step,
        values: &[f32],
        dtype: Dtype,
        sink: &mut Sink<'_>,
    ) -> Result<(), ConvertError> {
        let bytes = values.iter().map(|value| value.to_le_bytes());
        let bytes: Vec<u8> = match dtype {
            Dtype::Bf16 => bytes.flat_map(|[_, _, a, b]| [a, b]).collect(),
            _ => bytes.flatten().collect(),
        };
        self.put(&step.name, &bytes, sink)
    }

    fn write_ternary(
        &mut self,
        step: &Step,
        role: Role,
        dtype: Dtype,
        tiles: Option<TlTiles>,
        adjacent: Option<bool>,
        sink: &mut Sink<'_>,
    ) -> Result<(), ConvertError> {
        let Request {
            blueprint,
            compute,
            load,
            ..
        } = *self.request;
        let mut matrix = match blueprint.weight(role, compute, load)? {
            Weight::Ternary(matrix) => matrix,
            Weight::Dense { tensor, scale: 1.0 } if self.request.options.ternarize => {
                rounded(compute, &tensor)?
            }
            Weight::Dense { .. } | Weight::Norm(_) => {
                return Err(ConvertError::tensor(
                    &blueprint.name(role),
                    "its blocks have several scales, so that it is not ternary as a whole",
                ));
            }
        };
        let named = |source| ConvertError::Weights {
            name: step.name.clone(),
            source,
        };
        if let Some(adjacent) = adjacent {
            let order = paired_rows(matrix.rows(), blueprint.config().head_dim, adjacent);
            matrix = reorder_rows(compute, &matrix, &order).map_err(named)?;
        }
        let layout = Layout {
            dtype,
            tiles,
            i2s_order: self.request.options.output_i2s_order,
        };
        let bytes = layout.write(compute, &matrix).map_err(named)?;
        self.put(&step.name, &bytes, sink)?;
        if dtype == Dtype::U8 {
            self.put(&step.scale_name(), &matrix.scale().to_le_bytes(), sink)?;
        }
        self.scales.push(matrix.scale());
        Ok(())
    }

    fn write_dense(
        &mut self,
        step: &Step,
        role: Role,
        dtype: Dtype,
        adjacent: Option<bool>,
        sink: &mut Sink<'_>,
    ) -> Result<(), ConvertError> {
        let Request {
            blueprint,
            compute,
            load,
            ..
        } = *self.request;
        let (tensor, scale) = match blueprint.weight(role, compute, load)? {
            Weight::Dense { tensor, scale } => (tensor, scale),
            Weight::Norm(_) | Weight::Ternary(_) => {
                return Err(ConvertError::tensor(
                    &blueprint.name(role),
                    "it is no dense matrix",
                ));
            }
        };
        if scale != 1.0 {
            return Err(ConvertError::tensor(
                &tensor.name,
                "it is dense, with a scale in a tensor beside it",
            ));
        }
        let head_dim = blueprint.config().head_dim;
        let order = adjacent.map(|adjacent| paired_rows(tensor.shape[0], head_dim, adjacent));
        write_matrix(compute, &tensor, dtype, order.as_deref(), |bytes| {
            self.put(&step.name, bytes, sink)
        })
    }
}

/// A dense matrix rounded to a ternary one.
fn rounded(compute: &Compute, tensor: &Tensor) -> Result<TernaryMatrix, ConvertError> {
    let (Some(dtype), &[rows, cols]) = (dense_type(tensor.dtype), tensor.shape.as_slice()) else {
        return Err(ConvertError::tensor(&tensor.name, "it is no dense matrix"));
    };
    let packed = pack_master(compute, rows, cols, dtype, &tensor.bytes);
    packed.map_err(|source| ConvertError::Weights {
        name: tensor.name.clone(),
        source,
    })
}

/// How a ternary matrix is stored.
struct Layout {
    dtype: Dtype,
    tiles: Option<TlTiles>,
    i2s_order: I2sOrder,
}

impl Layout {
    fn write(&self, compute: &Compute, matrix: &TernaryMatrix) -> Result<Vec<u8>, KernelError> {
        match (self.dtype, self.tiles) {
            (Dtype::Tl1, Some(tiles)) => write_tl1(compute, matrix, tiles),
            (Dtype::Tl2, Some(tiles)) => write_tl2(compute, matrix, tiles),
            (Dtype::Tq1_0, _) => write_tq1_0(compute, matrix),
            (Dtype::Tq2_0, _) => write_tq2_0(compute, matrix),
            (Dtype::Iq1Bn, _) => write_iq1_bn(compute, matrix),
            (Dtype::Iq2Bn, _) => write_iq2_bn(compute, matrix),
            (Dtype::Tiles, _) => write_tiles(compute, matrix),
            (Dtype::U8, _) => write_hf(compute, matrix),
            _ => match self.i2s_order {
                I2sOrder::X86 => write_i2s(compute, matrix),
                I2sOrder::Arm => write_i2s_arm(compute, matrix),
            },
        }
    }
}
