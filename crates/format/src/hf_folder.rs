//! A Hugging Face model folder: configuration files and safetensors weights.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{FormatError, ShardError};
use crate::files;
use crate::model_file::names_with_extension;
use crate::safetensors::{Entry, WeightFile};
use crate::shards::ShardIndex;
use crate::tensor::{Bytes, Tensor};

const CONFIG: &str = "config.json";
const SINGLE_FILE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Model configurations have a few kilobytes.
const MAX_CONFIG_LEN: u64 = 1 << 22;
/// Tokenizer configurations list added tokens: a megabyte for some vocabularies.
const MAX_TOKENIZER_CONFIG_LEN: u64 = 1 << 24;
/// Chat templates have some ten kilobytes.
const MAX_TEMPLATE_LEN: u64 = 1 << 22;

/// An opened folder. The tokenizer itself is read elsewhere, from [`HfFolder::tokenizer_json`].
#[derive(Debug)]
pub struct HfFolder {
    path: PathBuf,
    config: Value,
    generation_config: Option<Value>,
    tokenizer_config: Option<Value>,
    special_tokens_map: Option<Value>,
    pooling_config: Option<Value>,
    chat_template_jinja: Option<String>,
    tokenizer_json: PathBuf,
    weights: Weights,
}

impl HfFolder {
    /// Opens a folder: `config.json`, the optional configuration files, and the weights of
    /// `model.safetensors`, else of the shards that `model.safetensors.index.json` lists, else of
    /// the only `.safetensors` file.
    ///
    /// # Errors
    /// Names the file that is missing or broken; a broken optional file is an error as well.
    pub fn open(path: &Path) -> Result<Self, FormatError> {
        Self::with_weights(path, || Weights::find(path))
    }

    /// Opens the folder of a `.safetensors` file with that file's weights, or with all shards when
    /// the folder's index lists the file.
    pub(crate) fn open_weights(file: &Path) -> Result<Self, FormatError> {
        let folder = match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        Self::with_weights(folder, || Weights::of_file(folder, file))
    }

    fn with_weights(
        path: &Path,
        weights: impl FnOnce() -> Result<Weights, FormatError>,
    ) -> Result<Self, FormatError> {
        let optional = |name: &str, cap| {
            let object = files::read_optional_json_object(&path.join(name), cap)?;
            Ok::<_, FormatError>(object.map(Value::Object))
        };
        let config = files::read_json_object(&path.join(CONFIG), MAX_CONFIG_LEN)?;
        let template = path.join("chat_template.jinja");
        let chat_template_jinja = if files::is_present(&template) {
            Some(files::read_text(&template, MAX_TEMPLATE_LEN)?)
        } else {
            None
        };
        Ok(Self {
            path: path.to_owned(),
            config: Value::Object(config),
            generation_config: optional("generation_config.json", MAX_CONFIG_LEN)?,
            tokenizer_config: optional("tokenizer_config.json", MAX_TOKENIZER_CONFIG_LEN)?,
            special_tokens_map: optional("special_tokens_map.json", MAX_CONFIG_LEN)?,
            pooling_config: optional("1_Pooling/config.json", MAX_CONFIG_LEN)?,
            chat_template_jinja,
            tokenizer_json: path.join("tokenizer.json"),
            weights: weights()?,
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `config.json`, an object.
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// `generation_config.json`, an object, if there is one.
    pub fn generation_config(&self) -> Option<&Value> {
        self.generation_config.as_ref()
    }

    /// `tokenizer_config.json`, an object, if there is one.
    pub fn tokenizer_config(&self) -> Option<&Value> {
        self.tokenizer_config.as_ref()
    }

    /// `special_tokens_map.json`, an object, if there is one.
    pub fn special_tokens_map(&self) -> Option<&Value> {
        self.special_tokens_map.as_ref()
    }

    /// `1_Pooling/config.json` of models that embed, an object, if there is one.
    pub fn pooling_config(&self) -> Option<&Value> {
        self.pooling_config.as_ref()
    }

    /// The text of `chat_template.jinja`, if there is one. It goes before a template in
    /// `tokenizer_config.json`.
    pub fn chat_template_jinja(&self) -> Option<&str> {
        self.chat_template_jinja.as_deref()
    }

    /// Where `tokenizer.json` belongs. The file may be missing.
    pub fn tokenizer_json(&self) -> &Path {
        &self.tokenizer_json
    }

    /// The tensor of that name, if there is one.
    pub fn tensor(&self, name: &str) -> Option<Tensor> {
        let (name, place) = self.weights.tensors.get_key_value(name)?;
        self.weights.view(name, place)
    }

    /// All tensors, sorted by name.
    pub fn tensors(&self) -> impl Iterator<Item = Tensor> + '_ {
        self.weights
            .tensors
            .iter()
            .filter_map(|(name, place)| self.weights.view(name, place))
    }

    /// Bytes of all weight files together.
    pub fn file_len(&self) -> u64 {
        self.weights.files.iter().map(WeightFile::len).sum()
    }
}

/// The first PyTorch file of weights in a folder.
fn pickle(folder: &Path) -> Result<Option<String>, FormatError> {
    for extension in ["bin", "pt", "pth"] {
        let names = names_with_extension(folder, extension)?;
        if let Some(name) = names.into_iter().next() {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// The weight files of a folder and what lies in which.
#[derive(Debug, Default)]
struct Weights {
    files: Vec<WeightFile>,
    tensors: BTreeMap<String, Place>,
}

/// A tensor's file (a position in `Weights::files`) and place in it.
#[derive(Debug)]
struct Place {
    file: usize,
    entry: Entry,
}

impl Weights {
    fn find(folder: &Path) -> Result<Self, FormatError> {
        if files::is_present(&folder.join(SINGLE_FILE)) {
            return Self::single(&folder.join(SINGLE_FILE));
        }
        let index_path = folder.join(INDEX);
        if files::is_present(&index_path) {
            return Self::sharded(folder, &index_path, &ShardIndex::read(&index_path)?);
        }
        match names_with_extension(folder, "safetensors")?.as_slice() {
            [name] => Self::single(&folder.join(name)),
            [] if let Some(name) = pickle(folder)? => Err(FormatError::PickledWeights {
                path: folder.to_owned(),
                name,
            }),
            _ => Err(FormatError::NoWeights {
                path: folder.to_owned(),
            }),
        }
    }

    fn of_file(folder: &Path, file: &Path) -> Result<Self, FormatError> {
        let index_path = folder.join(INDEX);
        if files::is_present(&index_path) {
            let index = ShardIndex::read(&index_path)?;
            let name = file.file_name().and_then(|name| name.to_str());
            if name.is_some_and(|name| index.shards().contains(name)) {
                return Self::sharded(folder, &index_path, &index);
            }
        }
        Self::single(file)
    }

    fn single(file: &Path) -> Result<Self, FormatError> {
        let error = |problem| FormatError::Shards {
            path: file.to_owned(),
            problem,
        };
        let mut weights = Self::default();
        weights.add(WeightFile::open(file)?).map_err(error)?;
        Ok(weights)
    }

    fn sharded(folder: &Path, index_path: &Path, index: &ShardIndex) -> Result<Self, FormatError> {
        let error = |problem| FormatError::Shards {
            path: index_path.to_owned(),
            problem,
        };
        let mut weights = Self::default();
        let shards: Vec<&str> = index.shards().into_iter().collect();
        for &shard in &shards {
            let path = folder.join(shard);
            if !files::is_present(&path) {
                return Err(error(ShardError::MissingShard {
                    shard: shard.to_owned(),
                }));
            }
            weights.add(WeightFile::open(&path)?).map_err(error)?;
        }
        for (name, shard) in index.iter() {
            let found = weights
                .tensors
                .get(name)
                .and_then(|place| shards.get(place.file));
            if found != Some(&shard) {
                let (name, shard) = (name.to_owned(), shard.to_owned());
                return Err(error(ShardError::TensorNotInShard { name, shard }));
            }
        }
        Ok(weights)
    }

    /// Adds a file and its tensors; none may be there already.
    fn add(&mut self, mut file: WeightFile) -> Result<(), ShardError> {
        for (name, entry) in file.tensors.drain(..) {
            let place = Place {
                file: self.files.len(),
                entry,
            };
            if self.tensors.insert(name.clone(), place).is_some() {
                return Err(ShardError::DuplicateTensor { name });
            }
        }
        self.files.push(file);
        Ok(())
    }

    /// `None` never happens: the header's ranges were checked against the file.
    fn view(&self, name: &str, place: &Place) -> Option<Tensor> {
        let Place { file, entry } = place;
        Some(Tensor {
            name: name.to_owned(),
            dtype: entry.dtype,
            shape: entry.shape.clone(),
            bytes: Bytes::new(&self.files.get(*file)?.map, entry.range.clone())?,
        })
    }
}
