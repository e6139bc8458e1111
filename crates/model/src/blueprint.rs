//! What a model file holds, weight by weight and whatever it calls them: what inspection and conversion start from.

use llm_format::{ModelFile, Tensor};
use llm_kernels::{Compute, TernaryMatrix};

use crate::LoadOptions;
use crate::config::{ModelConfig, RopePairing};
use crate::error::ModelError;
use crate::families::{self, Recipe};
use crate::roles::{NormKind, ProjectionKind, Role, TensorNames};
use crate::weights::WeightReader;

pub use crate::families::LocalLayers;

/// The two kinds of model files, which name and store weights differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// GGUF.
    Gguf,
    /// A Hugging Face folder.
    Folder,
}

/// What a converted file calls the model and its tensors, and how it stores them.
#[derive(Debug)]
pub struct Target {
    /// `general.architecture`, or the class in `architectures`.
    pub architecture: &'static str,
    /// `model_type` of config.json.
    pub model_type: &'static str,
    /// Which elements of a head lie side by side for the rotary embedding.
    pub rope_pairing: RopePairing,
    /// What stored weights of norms lack, but for those inside projections: 0 or 1.
    pub norm_offset: f32,
    pub(crate) names: TensorNames,
}

impl Target {
    /// The tensor's name.
    #[must_use]
    pub fn name(&self, role: Role) -> String {
        self.names.of(role)
    }
}

/// A weight as it is read.
pub enum Weight {
    /// The values of a norm, whole whatever the file stores.
    Norm(Vec<f32>),
    /// A ternary matrix.
    Ternary(TernaryMatrix),
    /// A matrix as it lies in the file.
    Dense {
        /// The tensor.
        tensor: Tensor,
        /// What products are multiplied by: GGUF's optional `.scale`, else 1.
        scale: f32,
    },
}

/// A model file whose settings have been read.
pub struct Blueprint<'a> {
    file: &'a ModelFile,
    recipe: Recipe,
}

impl<'a> Blueprint<'a> {
    /// Reads the settings of `file`.
    ///
    /// # Errors
    /// [`ModelError`] naming the setting, or the architecture that is not known.
    pub fn read(file: &'a ModelFile) -> Result<Self, ModelError> {
        Ok(Self {
            file,
            recipe: families::recipe(file)?,
        })
    }

    /// Sizes and constants; what counts weights is not filled in.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.recipe.config
    }

    /// The layers that attend within a window, if there are any.
    #[must_use]
    pub fn local_layers(&self) -> Option<&LocalLayers> {
        self.recipe.local.as_ref()
    }

    /// Whether the head is the embedding.
    #[must_use]
    pub fn is_tied(&self) -> bool {
        self.recipe.is_tied
    }

    /// All weights, in the order in which they are used.
    #[must_use]
    pub fn roles(&self) -> Vec<Role> {
        let blocks = (0..self.recipe.config.n_layer).flat_map(|layer| self.block(layer));
        let head = (!self.recipe.is_tied).then_some(Role::Head);
        [Role::Embedding]
            .into_iter()
            .chain(blocks)
            .chain([Role::OutputNorm])
            .chain(head)
            .collect()
    }

    fn block(&self, layer: usize) -> impl Iterator<Item = Role> {
        let has_input_norms = self.recipe.projection_norms.is_some();
        let norms = self.recipe.norms;
        let norms = [
            (true, NormKind::Attention),
            (norms.q_and_k, NormKind::Query),
            (norms.q_and_k, NormKind::Key),
            (norms.sub, NormKind::AttentionSub),
            (norms.post, NormKind::AttentionPost),
            (true, NormKind::FeedForward),
            (norms.sub, NormKind::FeedForwardSub),
            (norms.post, NormKind::FeedForwardPost),
        ];
        let norms = norms
            .into_iter()
            .filter_map(move |(there, kind)| there.then_some(Role::Norm(layer, kind)));
        let projections = ProjectionKind::ALL.into_iter().flat_map(move |kind| {
            let inside = has_input_norms.then_some(Role::InputNorm(layer, kind));
            [Role::Projection(layer, kind)].into_iter().chain(inside)
        });
        norms.chain(projections)
    }

    /// The tensor's name in this file.
    #[must_use]
    pub fn name(&self, role: Role) -> String {
        self.recipe.names.of(role)
    }

    /// What the model and its tensors are called elsewhere.
    ///
    /// # Errors
    /// [`ModelError::SettingUnsupported`] for what the container cannot say of a model.
    pub fn target(&self, container: Container) -> Result<Target, ModelError> {
        families::target(&self.recipe, container)
    }

    /// Whether a weight is going to be read as [`Weight::Ternary`]: by type and settings. A TQ tensor of several scales turns
    /// out dense only when it is read.
    ///
    /// # Errors
    /// [`ModelError::TensorMissing`].
    pub fn is_ternary(&self, role: Role) -> Result<bool, ModelError> {
        let Role::Projection(layer, kind) = role else {
            return Ok(false);
        };
        let name = self.name(role);
        let tensor = self.file.tensor(&name);
        let tensor = tensor.ok_or(ModelError::TensorMissing { name })?;
        let module = self.recipe.names.module(layer, kind);
        Ok(self.recipe.rule.is_ternary(&module, tensor.dtype))
    }

    /// Reads a weight.
    ///
    /// # Errors
    /// As loading the model.
    pub fn weight(
        &self,
        role: Role,
        compute: &Compute,
        options: &LoadOptions,
    ) -> Result<Weight, ModelError> {
        let (config, mut ignored) = (&self.recipe.config, |_, _| {});
        let rule = self.recipe.rule.clone();
        let mut reader = WeightReader::new(self.file, compute, options, rule, &mut ignored);
        let name = self.name(role);
        match role {
            Role::Projection(layer, kind) => {
                let [rows, cols] = kind.shape(config);
                reader.projection(&self.recipe.names.module(layer, kind), rows, cols)
            }
            Role::Embedding | Role::Head => {
                reader.matrix(&name, config.n_vocab, config.n_embd)?;
                let tensor = self.file.tensor(&name);
                let tensor = tensor.ok_or(ModelError::TensorMissing { name })?;
                Ok(Weight::Dense { tensor, scale: 1.0 })
            }
            Role::OutputNorm | Role::Norm(..) => {
                Ok(Weight::Norm(self.recipe.norm(&mut reader, role)?))
            }
            Role::InputNorm(_, kind) => {
                Ok(Weight::Norm(reader.vector(&name, kind.shape(config)[1])?))
            }
        }
    }
}
