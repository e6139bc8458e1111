//! Models in the packing that was asked for: converted where there is no such file, and kept.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use llm_convert::{
    ConvertError, ConvertOptions, I2sOrder, OutputType, VERSION, convert, is_stored_as,
};
use llm_engine::{EngineConfig, I2sLayout};
use llm_hub::HubError;

use crate::error::RouterError;
use crate::quant;
use crate::registry::{LoadSpec, Progress};

/// How the folder of a conversion under way is called.
const CONVERTING: &str = ".converting-";

/// No conversion takes longer: what is older was left by a process that was killed.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// Characters of the original's name in that of what is made of it; systems take 255 bytes in all.
const LONGEST_STEM: usize = 48;

/// Tile sizes that lie beside a model.
const KERNEL_CONFIG: &str = "kernel_config.ini";

/// What to open for a model at `found` whose weights are wanted as `wanted`, and how: that model if they are, else one that was
/// made of it, now or before, and lies in the folder for such models.
pub(crate) fn provide(
    found: &Path,
    wanted: OutputType,
    spec: &LoadSpec,
    progress: &mut dyn FnMut(Progress),
) -> Result<(PathBuf, EngineConfig), RouterError> {
    let failed = |source| {
        let source = match source {
            ConvertError::Cancelled => return RouterError::Hub(HubError::Cancelled),
            // Where it was being written is nobody's business.
            ConvertError::Write { source, .. } => ConvertError::Write {
                path: spec.converted.clone(),
                source,
            },
            source => source,
        };
        RouterError::Convert {
            path: found.to_owned(),
            wanted: wanted.name(),
            source: Box::new(source),
        }
    };
    if is_stored_as(found, wanted).map_err(failed)? {
        return Ok((found.to_owned(), spec.engine.clone()));
    }
    if !quant::is_made_here(wanted) {
        return Err(quant::refusal(wanted));
    }
    let options = options(wanted, &spec.engine).map_err(failed)?;
    let name = Name::new(found, wanted, &options).map_err(|source| RouterError::Converted {
        path: found.to_owned(),
        source,
    })?;
    let place = spec.converted.join(name.whole());
    if !place.is_file() {
        let kept = |source| RouterError::Converted {
            path: spec.converted.clone(),
            source,
        };
        fs::create_dir_all(&spec.converted).map_err(kept)?;
        remove_abandoned(&spec.converted);
        let work = tempfile::Builder::new()
            .prefix(CONVERTING)
            .tempdir_in(&spec.converted);
        let work = work.map_err(kept)?;
        let fresh = work.path().join(name.whole());
        let mut report = |now: &llm_convert::Progress| {
            progress(Progress::Convert(now.clone()));
            match spec.cancel.check() {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        };
        convert(found, &fresh, &options, &mut report).map_err(failed)?;
        match fs::rename(&fresh, &place) {
            // Another process that made the same may have it open.
            Err(_) if place.is_file() => {}
            moved => moved.map_err(kept)?,
        }
        name.remove_others(&spec.converted);
    }
    // What holds of the tensors of the original holds no more.
    let engine = EngineConfig {
        i2s_layout: None,
        kernel_config: None,
        ..spec.engine.clone()
    };
    Ok((place, engine))
}

/// Removes the folders of conversions that will never end. One that cannot be removed only takes room.
fn remove_abandoned(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_conversion = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(CONVERTING));
        let changed = entry.metadata().and_then(|metadata| metadata.modified());
        let age = changed.ok().and_then(|changed| changed.elapsed().ok());
        if is_conversion && age.is_some_and(|age| age > ABANDONED) {
            let _takes_room = fs::remove_dir_all(entry.path());
        }
    }
}

fn options(wanted: OutputType, engine: &EngineConfig) -> Result<ConvertOptions, ConvertError> {
    Ok(ConvertOptions {
        to: Some(wanted),
        threads: engine.threads,
        i2s_order: match engine.i2s_layout {
            None => None,
            Some(I2sLayout::X86) => Some(I2sOrder::X86),
            Some(I2sLayout::Arm) => Some(I2sOrder::Arm),
            Some(I2sLayout::Detect) => {
                return Err(ConvertError::InvalidOption {
                    name: "i2sLayout",
                    given: "detect".to_owned(),
                    allowed: "x86, arm where weights are converted".to_owned(),
                });
            }
        },
        kernel_config: engine.kernel_config.clone(),
        ..ConvertOptions::default()
    })
}

/// The name of a converted model: what it was made of and how, and the state in which that was.
struct Name {
    origin: String,
    state: u64,
    ending: String,
}

impl Name {
    fn new(found: &Path, wanted: OutputType, options: &ConvertOptions) -> io::Result<Self> {
        let path = fs::canonicalize(found)?;
        let origin = hash(&(&path, options.i2s_order, &options.kernel_config));
        let mut files = vec![row(&path)?];
        if path.is_dir() {
            for entry in fs::read_dir(&path)? {
                files.push(row(&entry?.path())?);
            }
            files.sort();
        }
        let beside = path.with_file_name(KERNEL_CONFIG);
        let tiles = options.kernel_config.as_deref().unwrap_or(&beside);
        // One that is named and not there is told by who reads it.
        files.extend(row(tiles).ok());
        // Links of a cache lead to files that are called by their hash.
        let stem = found.file_stem().or(path.file_stem());
        let stem = stem.unwrap_or_default().to_string_lossy();
        let stem: String = stem.chars().take(LONGEST_STEM).collect();
        Ok(Self {
            origin: format!("{stem}-{origin:016x}-"),
            state: hash(&(VERSION, files)),
            ending: format!(".{}.gguf", wanted.name()),
        })
    }

    fn whole(&self) -> String {
        format!("{}{:016x}{}", self.origin, self.state, self.ending)
    }

    /// Removes what was made of the same in an earlier state. A file that cannot be removed, as it is in use, only takes room.
    fn remove_others(&self, folder: &Path) {
        let whole = self.whole();
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.starts_with(&self.origin) && name.ends_with(&self.ending) && name != whole {
                let _in_use = fs::remove_file(entry.path());
            }
        }
    }
}

/// What tells that a file is still the one that it was.
fn row(path: &Path) -> io::Result<(OsString, u64, u128)> {
    let metadata = fs::metadata(path)?;
    let name = path.file_name().unwrap_or_default().to_owned();
    Ok((name, metadata.len(), changed(&metadata)))
}

/// Nanoseconds; 0 where the system does not tell.
fn changed(metadata: &Metadata) -> u128 {
    let time = metadata.modified().ok();
    let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_nanos())
}

/// Another hash after an update of the standard library means only that a model is converted again.
fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
