//! `model.safetensors.index.json`: which shard holds which tensor.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::error::{FormatError, ShardError};
use crate::files::{self, JsonObject};

/// Index files of the largest models have a few megabytes.
const MAX_INDEX_LEN: u64 = 1 << 24;
const MAX_SHARDS: usize = 4096;
/// The longest file name that common file systems allow, in bytes.
const MAX_NAME_LEN: usize = 255;

/// A checked index: every shard is the plain name of a file in the folder.
#[derive(Debug)]
pub(crate) struct ShardIndex {
    shard_of: BTreeMap<String, String>,
}

impl ShardIndex {
    /// Reads an index file.
    pub(crate) fn read(path: &Path) -> Result<Self, FormatError> {
        let index = files::read_json_object(path, MAX_INDEX_LEN)?;
        Self::check(&index).map_err(|problem| FormatError::Shards {
            path: path.to_owned(),
            problem,
        })
    }

    fn check(index: &JsonObject) -> Result<Self, ShardError> {
        let weight_map = match index.get("weight_map") {
            Some(Value::Object(weight_map)) => weight_map,
            Some(other) => {
                return Err(ShardError::NoWeightMap {
                    found: files::json_type(other),
                });
            }
            None => return Err(ShardError::NoWeightMap { found: "nothing" }),
        };
        if weight_map.is_empty() {
            return Err(ShardError::EmptyWeightMap);
        }
        let mut shard_of = BTreeMap::new();
        for (tensor, shard) in weight_map {
            let Value::String(shard) = shard else {
                return Err(ShardError::NotAString {
                    name: tensor.clone(),
                });
            };
            check_name(shard)?;
            shard_of.insert(tensor.clone(), shard.clone());
        }
        let index = Self { shard_of };
        let count = index.shards().len();
        if count > MAX_SHARDS {
            return Err(ShardError::TooManyShards {
                count,
                limit: MAX_SHARDS,
            });
        }
        Ok(index)
    }

    /// Names of the shards, each once.
    pub(crate) fn shards(&self) -> BTreeSet<&str> {
        self.shard_of.values().map(String::as_str).collect()
    }

    /// Every tensor with the shard that should hold it.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.shard_of
            .iter()
            .map(|(tensor, shard)| (tensor.as_str(), shard.as_str()))
    }
}

/// A shard must not reach out of the folder, on any operating system.
fn check_name(shard: &str) -> Result<(), ShardError> {
    let problem = if shard.is_empty() {
        "but it is empty"
    } else if shard.len() > MAX_NAME_LEN {
        "but it is too long"
    } else if shard == "." || shard == ".." {
        "but it is a folder"
    } else if shard.contains(['/', '\\', ':']) {
        "but it is a path"
    } else if shard.contains(char::is_control) {
        "but it has a control character"
    } else {
        return Ok(());
    };
    Err(ShardError::ShardName {
        shard: shard.to_owned(),
        problem,
    })
}
