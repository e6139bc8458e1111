use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use llm_convert::OutputType;
use llm_engine::{Engine, EngineConfig, LoadProgress};
use llm_hub::{Cancel, DownloadProgress, HubConfig, HubError, Query, SearchPaths};

use crate::error::RouterError;
use crate::source;
use crate::{converted, quant};

/// What is to be loaded, and how.
#[derive(Debug, Clone, Default)]
pub struct LoadSpec {
    /// A path, a Hugging Face id or `demo`; a prefix `bitnet:`, `local:`, `file:`, `huggingface:` or `hf:` is allowed.
    pub source: String,
    /// The id that the model gets; a model that has it already is unloaded. `None`: made from the source.
    pub id: Option<String>,
    /// A packing of [`OutputType::PACKINGS`]: which file to take of several, or what to convert to where there is none; to `tl1` on
    /// ARM64 only, to `tl2` on x86-64 only. `i2_s` is content with the packed uint8 of folders: the same codes.
    pub quant_type: Option<String>,
    /// Where converted models are kept. The folder is made where it is not there.
    pub converted: PathBuf,
    /// A branch, tag or commit of a Hugging Face id.
    pub revision: Option<String>,
    /// Where sources are looked for.
    pub search: SearchPaths,
    /// Where a model that is not there is fetched; `None`: nothing is fetched.
    pub hub: Option<HubConfig>,
    /// Stops the download; a model that is open by then is closed again.
    pub cancel: Cancel,
    /// How the model runs.
    pub engine: EngineConfig,
}

/// How far loading is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Files come from the hub.
    Download(DownloadProgress),
    /// The files are there and being converted.
    Convert(llm_convert::Progress),
    /// The files are there and being read.
    Open(LoadProgress),
}

/// A model of the router.
#[derive(Debug)]
pub struct LoadedModel {
    id: String,
    source: String,
    origin: PathBuf,
    path: PathBuf,
    quant_type: Option<OutputType>,
    /// Taken out by unloading, so that the memory is free whoever still holds the model.
    engine: Mutex<Option<Arc<Engine>>>,
}

impl LoadedModel {
    /// Its id in the router.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The source as it was given.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The file or folder that the source led to.
    #[must_use]
    pub fn origin(&self) -> &Path {
        &self.origin
    }

    /// The file or folder that is open: that, or what it was converted to.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The packing that was asked for.
    #[must_use]
    pub fn quant_type(&self) -> Option<OutputType> {
        self.quant_type
    }

    /// The engine.
    ///
    /// # Errors
    /// [`RouterError::Unloaded`] once the model has been unloaded.
    pub fn engine(&self) -> Result<Arc<Engine>, RouterError> {
        self.slot().clone().ok_or_else(|| RouterError::Unloaded {
            id: self.id.clone(),
        })
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Engine>>> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends what is under way and lets the engine go.
    fn unload(&self) {
        let engine = self.slot().take();
        if let Some(engine) = engine {
            engine.close();
        }
    }
}

/// The models that are loaded.
#[derive(Debug, Default)]
pub struct Router {
    /// In the order of loading.
    models: Mutex<Vec<Arc<LoadedModel>>>,
}

impl Router {
    /// A router without models.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Finds a model, fetching it where that is allowed, converts it where that is needed, and opens it. Blocks for as long as that takes; `progress` hears of it.
    ///
    /// # Errors
    /// [`RouterError::UnsupportedQuant`] and [`RouterError::EmptyId`] for the spec, [`RouterError::Hub`] when there is no
    /// such model or it cannot be fetched, [`RouterError::Convert`] and [`RouterError::Converted`] when it is needed in another
    /// packing and that cannot be made, [`RouterError::Engine`] when it cannot be opened.
    pub fn load(
        &self,
        spec: LoadSpec,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Arc<LoadedModel>, RouterError> {
        let quant_type = spec.quant_type.as_deref().map(quant::parse).transpose()?;
        if spec.id.as_deref() == Some("") {
            return Err(RouterError::EmptyId);
        }
        let name = source::strip_prefix(&spec.source);
        let origin = find(&spec, name, quant_type, progress)?;
        spec.cancel.check()?;
        let (path, config) = match quant_type {
            Some(wanted) => converted::provide(&origin, wanted, &spec, progress)?,
            None => (origin.clone(), spec.engine.clone()),
        };
        let mut opening = |at| progress(Progress::Open(at));
        let engine = Engine::open(&path, &config, &mut opening)?;
        spec.cancel.check()?;
        let short_name = source::short_name(name).to_owned();
        let mut models = self.lock();
        let id = spec.id.unwrap_or_else(|| unused_id(&models, &short_name));
        let model = Arc::new(LoadedModel {
            id,
            source: spec.source,
            origin,
            path,
            quant_type,
            engine: Mutex::new(Some(Arc::new(engine))),
        });
        let replaced = take(&mut models, &model.id);
        models.push(Arc::clone(&model));
        drop(models);
        if let Some(replaced) = replaced {
            replaced.unload();
        }
        Ok(model)
    }

    /// The model with this id.
    ///
    /// # Errors
    /// [`RouterError::UnknownModel`], with the ids that there are.
    pub fn get(&self, id: &str) -> Result<Arc<LoadedModel>, RouterError> {
        let models = self.lock();
        models
            .iter()
            .find(|model| model.id == id)
            .cloned()
            .ok_or_else(|| unknown(&models, id))
    }

    /// Unloads the model with this id: what it generates ends, and its memory is given back.
    ///
    /// # Errors
    /// [`RouterError::UnknownModel`], with the ids that there are.
    pub fn unload(&self, id: &str) -> Result<(), RouterError> {
        let mut models = self.lock();
        let model = take(&mut models, id).ok_or_else(|| unknown(&models, id))?;
        drop(models);
        model.unload();
        Ok(())
    }

    /// All models, in the order of loading.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<LoadedModel>> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<LoadedModel>>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find(
    spec: &LoadSpec,
    name: &str,
    quant_type: Option<OutputType>,
    progress: &mut dyn FnMut(Progress),
) -> Result<PathBuf, HubError> {
    let mut downloading = |at| progress(Progress::Download(at));
    let mut obtain = |may_convert, hub| {
        let query = Query {
            source: name,
            quant_type: quant_type.map(OutputType::name),
            may_convert,
            revision: spec.revision.as_deref(),
        };
        llm_hub::obtain(query, &spec.search, hub, &spec.cancel, &mut downloading)
    };
    let hub = spec.hub.as_ref();
    let found = match quant_type {
        // What is not converted is not fetched to be refused.
        Some(wanted) if !quant::is_made_here(wanted) => {
            obtain(true, None).or_else(|_| obtain(false, hub))
        }
        _ => obtain(true, hub),
    };
    Ok(found?.path)
}

fn take(models: &mut Vec<Arc<LoadedModel>>, id: &str) -> Option<Arc<LoadedModel>> {
    let at = models.iter().position(|model| model.id == id)?;
    Some(models.remove(at))
}

fn unknown(models: &[Arc<LoadedModel>], id: &str) -> RouterError {
    let loaded = models.iter().map(|model| model.id.clone()).collect();
    RouterError::UnknownModel {
        id: id.to_owned(),
        loaded,
    }
}

/// `name`, or `name-2`, `name-3` … when it is taken.
fn unused_id(models: &[Arc<LoadedModel>], name: &str) -> String {
    let is_free = |id: &str| models.iter().all(|model| model.id != id);
    let numbered = (2u32..).map(|n| format!("{name}-{n}"));
    std::iter::once(name.to_owned())
        .chain(numbered)
        .find(|id| is_free(id))
        .unwrap_or_default()
}
