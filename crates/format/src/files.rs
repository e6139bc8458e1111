//! Opening files by the rules of the crate: regular files only, nothing read without a cap.

use std::fs::{self, File, FileType, Metadata};
use std::io::{self, Read};
use std::path::Path;

use serde_json::{Map as JsonMap, Value};

use crate::error::FormatError;
use crate::mmap::Map;

/// A JSON object, as configuration files are.
pub(crate) type JsonObject = JsonMap<String, Value>;

/// Maps a whole regular file. Links are followed (download caches are made of them); anything that
/// is not a regular file is refused before it is opened, because opening a pipe blocks.
pub(crate) fn map_file(path: &Path) -> Result<Map, FormatError> {
    let (file, _) = open_regular(path)?;
    Map::of_file(file).map_err(|source| io_error(path, source))
}

/// Reads a UTF-8 text file of at most `cap` bytes, without a byte order mark.
pub(crate) fn read_text(path: &Path, cap: u64) -> Result<String, FormatError> {
    let (file, metadata) = open_regular(path)?;
    let too_large = |actual| FormatError::FileTooLarge {
        path: path.to_owned(),
        actual,
        limit: cap,
    };
    if metadata.len() > cap {
        return Err(too_large(metadata.len()));
    }
    let mut bytes = Vec::new();
    // The size may be a lie (files of /proc say 0), so the reading is capped as well.
    file.take(cap + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| io_error(path, source))?;
    if bytes.len() as u64 > cap {
        return Err(too_large(bytes.len() as u64));
    }
    let text = String::from_utf8(bytes).map_err(|_| FormatError::NotUtf8 {
        path: path.to_owned(),
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

/// Reads a JSON file of at most `cap` bytes that must hold an object.
pub(crate) fn read_json_object(path: &Path, cap: u64) -> Result<JsonObject, FormatError> {
    let text = read_text(path, cap)?;
    let value: Value = serde_json::from_str(&text).map_err(|error| FormatError::Json {
        path: path.to_owned(),
        problem: error.to_string(),
    })?;
    match value {
        Value::Object(object) => Ok(object),
        other => Err(FormatError::JsonNotObject {
            path: path.to_owned(),
            found: json_type(&other),
        }),
    }
}

/// Like [`read_json_object`], but a file that is not there is `None`.
pub(crate) fn read_optional_json_object(
    path: &Path,
    cap: u64,
) -> Result<Option<JsonObject>, FormatError> {
    if is_present(path) {
        read_json_object(path, cap).map(Some)
    } else {
        Ok(None)
    }
}

/// Whether something lies at `path`, be it a link to nothing.
pub(crate) fn is_present(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// An input or output error of a file, with "not found" told apart.
pub(crate) fn io_error(path: &Path, source: io::Error) -> FormatError {
    if source.kind() == io::ErrorKind::NotFound {
        FormatError::NotFound {
            path: path.to_owned(),
        }
    } else {
        FormatError::Io {
            path: path.to_owned(),
            source,
        }
    }
}

/// The JSON type of a value, with its article.
pub(crate) fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn open_regular(path: &Path) -> Result<(File, Metadata), FormatError> {
    let refuse = |metadata: &Metadata| FormatError::NotAFile {
        path: path.to_owned(),
        found: describe(metadata.file_type()),
    };
    let before = fs::metadata(path).map_err(|source| io_error(path, source))?;
    if !before.is_file() {
        return Err(refuse(&before));
    }
    let file = File::open(path).map_err(|source| io_error(path, source))?;
    // Asked again of the open file: the path may have changed hands in between.
    let metadata = file.metadata().map_err(|source| io_error(path, source))?;
    if !metadata.is_file() {
        return Err(refuse(&metadata));
    }
    Ok((file, metadata))
}

#[cfg(unix)]
fn describe(file_type: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    if file_type.is_dir() {
        "a directory"
    } else if file_type.is_fifo() {
        "a named pipe"
    } else if file_type.is_char_device() || file_type.is_block_device() {
        "a device"
    } else if file_type.is_socket() {
        "a socket"
    } else {
        "a special file"
    }
}

#[cfg(not(unix))]
fn describe(file_type: FileType) -> &'static str {
    if file_type.is_dir() {
        "a directory"
    } else {
        "a special file"
    }
}
