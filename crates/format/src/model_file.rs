//! From a path to a model file of either format.

use std::fs;
use std::path::Path;

use crate::error::FormatError;
use crate::files;
use crate::gguf::{self, Gguf};
use crate::hf_folder::HfFolder;
use crate::tensor::Tensor;

/// An opened model.
#[derive(Debug)]
pub enum ModelFile {
    /// One GGUF file: metadata, vocabulary and weights together.
    Gguf(Gguf),
    /// A folder with `config.json`, tokenizer files and safetensors weights.
    Folder(Box<HfFolder>),
}

/// Opens a model:
/// - a folder with `config.json`: its safetensors weights;
/// - a folder with exactly one `.gguf` file: that file;
/// - a `.safetensors` file: the folder it lies in, with that file's weights;
/// - any other file: GGUF, told by its first bytes.
///
/// # Errors
/// [`FormatError::NotFound`] when nothing is there, and the other variants for what is there but
/// cannot be used.
pub fn open(path: &Path) -> Result<ModelFile, FormatError> {
    let metadata = fs::metadata(path).map_err(|source| files::io_error(path, source))?;
    if metadata.is_dir() {
        return open_folder(path);
    }
    if has_extension(path, "safetensors") {
        return HfFolder::open_weights(path).map(|folder| ModelFile::Folder(Box::new(folder)));
    }
    let map = files::map_file(path)?;
    if !gguf::has_magic(map.as_slice()) && !has_extension(path, "gguf") {
        return Err(FormatError::UnknownFormat {
            path: path.to_owned(),
        });
    }
    Gguf::from_map(path, map).map(ModelFile::Gguf)
}

impl ModelFile {
    /// The path of the file or folder.
    pub fn path(&self) -> &Path {
        match self {
            Self::Gguf(gguf) => gguf.path(),
            Self::Folder(folder) => folder.path(),
        }
    }

    /// The tensor of that name, if there is one.
    pub fn tensor(&self, name: &str) -> Option<Tensor> {
        match self {
            Self::Gguf(gguf) => gguf.tensor(name),
            Self::Folder(folder) => folder.tensor(name),
        }
    }

    /// All tensors: in file order for GGUF, by name for folders.
    pub fn tensors(&self) -> Box<dyn Iterator<Item = Tensor> + '_> {
        match self {
            Self::Gguf(gguf) => Box::new(gguf.tensors()),
            Self::Folder(folder) => Box::new(folder.tensors()),
        }
    }

    /// Bytes of the weight files.
    pub fn file_len(&self) -> u64 {
        match self {
            Self::Gguf(gguf) => gguf.file_len(),
            Self::Folder(folder) => folder.file_len(),
        }
    }
}

fn open_folder(path: &Path) -> Result<ModelFile, FormatError> {
    if files::is_present(&path.join("config.json")) {
        return HfFolder::open(path).map(|folder| ModelFile::Folder(Box::new(folder)));
    }
    let mut names = names_with_extension(path, "gguf")?;
    match names.len() {
        0 => Err(FormatError::NoModel {
            path: path.to_owned(),
        }),
        1 => Gguf::open(&path.join(names.remove(0))).map(ModelFile::Gguf),
        _ => Err(FormatError::SeveralGguf {
            path: path.to_owned(),
            names,
        }),
    }
}

/// Names of the entries of `folder` that end in `.extension`, sorted.
pub(crate) fn names_with_extension(
    folder: &Path,
    extension: &str,
) -> Result<Vec<String>, FormatError> {
    let io_error = |source| files::io_error(folder, source);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(io_error)? {
        let name = entry.map_err(io_error)?.file_name();
        if let (Some(name), true) = (name.to_str(), has_extension(Path::new(&name), extension)) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension()
        .is_some_and(|found| found.eq_ignore_ascii_case(extension))
}
