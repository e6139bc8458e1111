//! Model files into other model files, and what is in them.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use llm_convert::{ConvertOptions, Converted, Side, compare, convert, embedding_type, inspect};
use llm_engine::I2sLayout;
use llm_kernels::Isa;
use llm_model::I2sOrder;
use napi::bindgen_prelude::{Env, PromiseRaw};
use napi_derive::napi;

use crate::error::Failure;
use crate::hub::{FileProgress, NativeCancel, Progress, ProgressCallback, report};
use crate::router::blocking;

/// What to convert.
#[napi(object)]
#[derive(Debug)]
pub struct ConvertCall {
    /// File or folder.
    pub input: String,
    /// Where to.
    pub output: String,
    /// `i2_s` … `hf`.
    pub output_type: Option<String>,
    /// `f32` … `q6_k`.
    pub embedding_type: Option<String>,
    /// Rounds what is not ternary.
    pub ternarize: Option<bool>,
    /// CPU threads; one per processor when absent.
    pub threads: Option<u32>,
    /// `x86` or `arm`: the block order of the input's I2_S tensors.
    #[napi(js_name = "i2sLayout")]
    pub i2s_layout: Option<String>,
    /// The same of those that are written.
    #[napi(js_name = "outputI2sLayout")]
    pub output_i2s_layout: Option<String>,
    /// A `kernel_config.ini`.
    pub kernel_config: Option<String>,
}

impl ConvertCall {
    fn options(&self) -> Result<ConvertOptions, Failure> {
        Ok(ConvertOptions {
            to: self.output_type.as_deref().map(str::parse).transpose()?,
            embedding: self
                .embedding_type
                .as_deref()
                .map(embedding_type)
                .transpose()?,
            ternarize: self.ternarize.unwrap_or(false),
            threads: self.threads.map(|threads| threads as usize),
            i2s_order: i2s_order(self.i2s_layout.as_deref())?,
            output_i2s_order: i2s_order(self.output_i2s_layout.as_deref())?.unwrap_or_default(),
            kernel_config: self.kernel_config.as_deref().map(PathBuf::from),
        })
    }
}

fn i2s_order(layout: Option<&str>) -> Result<Option<I2sOrder>, Failure> {
    match layout.map(str::parse).transpose()? {
        None => Ok(None),
        Some(I2sLayout::X86) => Ok(Some(I2sOrder::X86)),
        Some(I2sLayout::Arm) => Ok(Some(I2sOrder::Arm)),
        Some(I2sLayout::Detect) => {
            let problem = "only a load finds it out: load the model with i2sLayout \"detect\"";
            Err(Failure::argument("i2sLayout", problem))
        }
    }
}

/// What a conversion made.
#[napi(object)]
#[derive(Debug)]
pub struct ConvertedModel {
    /// File or folder.
    pub path: String,
    /// Bytes of its tensors.
    pub bytes: f64,
    /// How many there are.
    pub tensors: u32,
    /// What ternary weights are stored as.
    pub output_type: Option<String>,
    /// As the output names it.
    pub architecture: String,
    /// What the output has no place for.
    pub losses: Vec<String>,
}

impl From<Converted> for ConvertedModel {
    fn from(converted: Converted) -> Self {
        Self {
            path: converted.path.display().to_string(),
            bytes: converted.bytes as f64,
            tensors: count(converted.tensors),
            output_type: converted.ternary.map(|output| output.name().to_owned()),
            architecture: converted.architecture,
            losses: converted.losses,
        }
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Converts, on a thread that may block.
///
/// # Errors
/// Whatever keeps the model from being read or written, with its code; nothing is left of the output then.
#[napi(catch_unwind)]
pub fn convert_model<'env>(
    env: &'env Env,
    call: ConvertCall,
    cancel: &NativeCancel,
    on_progress: Option<ProgressCallback>,
) -> napi::Result<PromiseRaw<'env, ConvertedModel>> {
    let cancel = cancel.handle();
    let work = blocking(move || -> Result<_, Failure> {
        let mut progress = |now: &llm_convert::Progress| {
            report(on_progress.as_ref(), to_js("convert", now));
            if cancel.is_cancelled() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let (input, output) = (Path::new(&call.input), Path::new(&call.output));
        Ok(convert(input, output, &call.options()?, &mut progress)?)
    });
    env.spawn_future(async move { Ok(work.await?.into()) })
}

pub(crate) fn to_js(phase: &str, now: &llm_convert::Progress) -> Progress {
    Progress {
        phase: phase.to_owned(),
        loaded_bytes: now.done as f64,
        total_bytes: now.total as f64,
        file: Some(FileProgress {
            name: now.tensor.clone(),
            loaded_bytes: now.done as f64,
            total_bytes: now.total as f64,
            waiting: false,
        }),
    }
}

/// Looks into a model file, on a thread that may block: JSON of [`llm_convert::Inspection`].
///
/// # Errors
/// Whatever keeps the file from being opened, with its code.
#[napi(catch_unwind)]
pub fn inspect_model<'env>(
    env: &'env Env,
    path: String,
    context_size: Option<u32>,
    isa: Option<String>,
) -> napi::Result<PromiseRaw<'env, String>> {
    let context = context_size.map(|size| size as usize);
    let isa: Option<Isa> = isa
        .as_deref()
        .map(str::parse)
        .transpose()
        .map_err(Failure::from)?;
    let work =
        blocking(move || inspect(Path::new(&path), context, isa).map(|found| found.to_json()));
    env.spawn_future(async move { Ok(work.await?) })
}

/// What to compare, and how each is to be read.
#[napi(object)]
#[derive(Debug)]
pub struct CompareCall {
    /// File or folder.
    pub first: String,
    /// File or folder.
    pub second: String,
    /// `x86` or `arm`: the block order of the first one's I2_S tensors.
    #[napi(js_name = "firstI2sLayout")]
    pub first_i2s_layout: Option<String>,
    /// The same of the second.
    #[napi(js_name = "secondI2sLayout")]
    pub second_i2s_layout: Option<String>,
    /// A `kernel_config.ini`.
    pub kernel_config: Option<String>,
}

impl CompareCall {
    fn sides(&self) -> Result<[Side<'_>; 2], Failure> {
        let side = |path, layout: &Option<String>| -> Result<_, Failure> {
            Ok(Side {
                path: Path::new(path),
                i2s_order: i2s_order(layout.as_deref())?,
                kernel_config: self.kernel_config.as_deref().map(Path::new),
            })
        };
        let first = side(&self.first, &self.first_i2s_layout);
        let second = side(&self.second, &self.second_i2s_layout);
        Ok([first?, second?])
    }
}

/// Compares the weights of two model files, on a thread that may block: JSON of [`llm_convert::Comparison`].
///
/// # Errors
/// Whatever keeps either file from being read, with its code.
#[napi(catch_unwind)]
pub fn compare_models<'env>(
    env: &'env Env,
    call: CompareCall,
    cancel: &NativeCancel,
    on_progress: Option<ProgressCallback>,
) -> napi::Result<PromiseRaw<'env, String>> {
    let cancel = cancel.handle();
    let work = blocking(move || -> Result<_, Failure> {
        let mut progress = |now: &llm_convert::Progress| {
            report(on_progress.as_ref(), to_js("verify", now));
            if cancel.is_cancelled() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let [first, second] = call.sides()?;
        let found = compare(first, second, &mut progress)?;
        Ok(found.to_json())
    });
    env.spawn_future(async move { Ok(work.await?) })
}
