//! The classes that `loaders/BitNetLoader.js` and `lib/model.js` hold.

use std::path::Path;
use std::sync::Arc;

use llm_engine::{Engine, KvBudget, Perplexity, Prompt, RenderOptions};
use llm_router::{LoadedModel, Router};
use napi::bindgen_prelude::{Env, Float32Array, PromiseRaw, spawn_blocking};
use napi_derive::napi;

use crate::embedding::NativeEmbedding;
use crate::error::{Failure, inference_failed};
use crate::generation::{NativeGeneration, count};
use crate::hub::{NativeCancel, Progress, ProgressCallback, report};
use crate::info::ModelInfo;
use crate::options::{GenerateCall, LoadRequest, parse_messages, render_options};

/// Runs `work` on a thread that may block; its panic is an error.
pub(crate) async fn blocking<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Failure>
where
    T: Send + 'static,
    E: Into<Failure> + Send + 'static,
{
    spawn_blocking(work)
        .await
        .map_err(Failure::internal)?
        .map_err(Into::into)
}

fn to_js(progress: llm_router::Progress) -> Progress {
    match progress {
        llm_router::Progress::Download(progress) => progress.into(),
        llm_router::Progress::Convert(progress) => crate::convert::to_js("convert", &progress),
        llm_router::Progress::Open(progress) => Progress {
            phase: progress.phase.name().to_owned(),
            loaded_bytes: progress.done as f64,
            total_bytes: progress.total as f64,
            file: None,
        },
    }
}

/// Loads models and keeps them by id.
///
/// As everywhere here, futures own what they use: Node frees objects when a worker ends, whatever promise is pending.
#[napi]
pub struct NativeRouter {
    router: Arc<Router>,
    kv_budget: KvBudget,
}

#[napi]
impl NativeRouter {
    #[napi(constructor, catch_unwind)]
    pub fn new() -> Self {
        Self {
            router: Arc::new(Router::new()),
            kv_budget: KvBudget::default(),
        }
    }

    /// Loads a model, fetching it first where that is needed and allowed, on a thread that may block.
    ///
    /// # Errors
    /// Whatever keeps the model from loading, with its code.
    #[napi(catch_unwind)]
    pub fn load<'env>(
        &self,
        env: &'env Env,
        request: LoadRequest,
        cancel: &NativeCancel,
        on_progress: Option<ProgressCallback>,
    ) -> napi::Result<PromiseRaw<'env, NativeModel>> {
        let router = Arc::clone(&self.router);
        let cancel = cancel.handle();
        let kv_budget = self.kv_budget.clone();
        let model = blocking(move || -> Result<_, Failure> {
            let spec = request.into_spec(cancel, kv_budget)?;
            let model = router.load(spec, &mut |progress| {
                report(on_progress.as_ref(), to_js(progress));
            })?;
            Ok(model)
        });
        env.spawn_future(async move {
            Ok(NativeModel {
                model: model.await?,
            })
        })
    }

    /// Limits what keys and values of all models take together, in bytes.
    #[napi(catch_unwind)]
    pub fn limit_kv(&self, bytes: f64) {
        self.kv_budget.set_limit(bytes as u64);
    }

    /// Ends what runs on a model and frees its memory.
    ///
    /// # Errors
    /// MODEL_NOT_FOUND when there is none of this id.
    #[napi(catch_unwind)]
    pub fn unload<'env>(&self, env: &'env Env, id: String) -> napi::Result<PromiseRaw<'env, ()>> {
        let router = Arc::clone(&self.router);
        env.spawn_future(async move { Ok(blocking(move || router.unload(&id)).await?) })
    }
}

/// One loaded model. Its methods fail with MODEL_NOT_LOADED once it has been unloaded.
#[napi]
pub struct NativeModel {
    model: Arc<LoadedModel>,
}

impl NativeModel {
    fn engine(&self) -> Result<Arc<Engine>, Failure> {
        Ok(self.model.engine()?)
    }
}

#[napi]
impl NativeModel {
    /// What is loaded and how it runs.
    #[napi(catch_unwind)]
    pub fn info(&self) -> napi::Result<ModelInfo> {
        Ok(ModelInfo::new(self.model.path(), self.engine()?.info()))
    }

    /// The file or folder that the source led to; what is open may have been made of it.
    #[napi(catch_unwind)]
    pub fn origin(&self) -> String {
        self.model.origin().display().to_string()
    }

    #[napi(catch_unwind)]
    pub fn tokenize(&self, text: String, add_special: bool) -> napi::Result<Vec<u32>> {
        Ok(self
            .engine()?
            .tokenize(&text, add_special)
            .map_err(Failure::from)?)
    }

    #[napi(catch_unwind)]
    pub fn detokenize(&self, ids: Vec<u32>, skip_special: bool) -> napi::Result<String> {
        Ok(self.engine()?.detokenize(&ids, skip_special))
    }

    /// Renders a chat; `messages` and `variables` (an object for the template) are JSON.
    #[napi(catch_unwind)]
    pub fn apply_chat_template(
        &self,
        messages: String,
        add_generation_prompt: bool,
        variables: String,
    ) -> napi::Result<String> {
        let messages = parse_messages(&messages)?;
        let options = render_options(add_generation_prompt, &variables)?;
        Ok(self
            .engine()?
            .apply_chat_template(&messages, &options)
            .map_err(Failure::from)?)
    }

    /// Starts a generation. Tokenising a long prompt takes a while, so that is not done on Node's thread.
    ///
    /// # Errors
    /// Options or a prompt that the engine refuses.
    #[napi(catch_unwind)]
    pub fn generate<'env>(
        &self,
        env: &'env Env,
        call: GenerateCall,
    ) -> napi::Result<PromiseRaw<'env, NativeGeneration>> {
        let engine = self.engine()?;
        env.spawn_future(async move {
            let start =
                move || -> Result<_, Failure> { Ok(engine.generate(call.into_request()?)?) };
            blocking(start)
                .await
                .map(NativeGeneration::new)
                .map_err(inference_failed)
        })
    }

    /// Logits `[vocab]` after the last id, or `[ids.len() * vocab]` with `all`.
    ///
    /// # Errors
    /// Ids that are none of the model's, or too many.
    #[napi(catch_unwind)]
    pub fn forward<'env>(
        &self,
        env: &'env Env,
        ids: Vec<u32>,
        all: bool,
    ) -> napi::Result<PromiseRaw<'env, Float32Array>> {
        let task = self
            .engine()?
            .forward(&ids, all)
            .map_err(inference_failed)?;
        env.spawn_future(async move { task.await.map(Float32Array::new).map_err(inference_failed) })
    }

    /// Looks for signs of a damaged model; `thorough` lets it write a few tokens.
    ///
    /// # Errors
    /// MODEL_SELFTEST_FAILED with what was seen.
    #[napi(catch_unwind)]
    pub fn self_test<'env>(
        &self,
        env: &'env Env,
        thorough: bool,
    ) -> napi::Result<PromiseRaw<'env, ()>> {
        let engine = self.engine()?;
        env.spawn_future(async move { Ok(blocking(move || engine.self_test(thorough)).await?) })
    }

    /// Starts to turn texts into vectors. As with generations, tokenising is not done on Node's thread.
    ///
    /// # Errors
    /// A text that is empty or too long, or a model that pools in a way of its own.
    #[napi(catch_unwind)]
    pub fn embed<'env>(
        &self,
        env: &'env Env,
        texts: Vec<String>,
    ) -> napi::Result<PromiseRaw<'env, NativeEmbedding>> {
        let engine = self.engine()?;
        env.spawn_future(async move {
            blocking(move || engine.embed(&texts))
                .await
                .map(NativeEmbedding::new)
                .map_err(inference_failed)
        })
    }

    /// Writes what is kept of the beginning of a chat (JSON) to a file; gives the number of tokens.
    ///
    /// # Errors
    /// IO_ERROR; what tokenizer and template say.
    #[napi(catch_unwind)]
    pub fn save_context<'env>(
        &self,
        env: &'env Env,
        messages: String,
        path: String,
    ) -> napi::Result<PromiseRaw<'env, u32>> {
        let engine = self.engine()?;
        env.spawn_future(async move {
            let save = move || -> Result<_, Failure> {
                let prompt = Prompt::Messages {
                    messages: parse_messages(&messages)?,
                    options: RenderOptions::default(),
                };
                Ok(engine.save_prefix(prompt, Path::new(&path))?)
            };
            Ok(count(blocking(save).await?))
        })
    }

    /// Reads such a file; gives the number of tokens, 0 where it is none of this model.
    ///
    /// # Errors
    /// MODEL_NOT_LOADED when the model goes away meanwhile.
    #[napi(catch_unwind)]
    pub fn load_context<'env>(
        &self,
        env: &'env Env,
        path: String,
    ) -> napi::Result<PromiseRaw<'env, u32>> {
        let engine = self.engine()?;
        env.spawn_future(async move {
            let load = move || engine.load_prefix(Path::new(&path));
            Ok(count(blocking(load).await?))
        })
    }

    /// How well the model predicts a text.
    ///
    /// # Errors
    /// A text that is too short or too long.
    #[napi(catch_unwind)]
    pub fn perplexity<'env>(
        &self,
        env: &'env Env,
        text: String,
    ) -> napi::Result<PromiseRaw<'env, TextPerplexity>> {
        let engine = self.engine()?;
        env.spawn_future(async move {
            let task = blocking(move || engine.perplexity(&text)).await;
            task.map_err(inference_failed)?
                .await
                .map(Into::into)
                .map_err(inference_failed)
        })
    }

    /// How well the model predicts each of `ids` but the first.
    ///
    /// # Errors
    /// Fewer than two, more than the context takes, or one outside of the vocabulary.
    #[napi(catch_unwind)]
    pub fn perplexity_of<'env>(
        &self,
        env: &'env Env,
        ids: Vec<u32>,
    ) -> napi::Result<PromiseRaw<'env, TextPerplexity>> {
        let engine = self.engine()?;
        env.spawn_future(async move {
            let task = engine.perplexity_of(ids).map_err(inference_failed)?;
            task.await.map(Into::into).map_err(inference_failed)
        })
    }
}

/// How well a model predicts a text.
#[napi(object)]
#[derive(Debug)]
pub struct TextPerplexity {
    /// `exp(nll)`.
    pub perplexity: f64,
    /// Mean negative log-likelihood of a token, in nats.
    pub nll: f64,
    /// Tokens of the text, the first one (which nothing predicts) included.
    pub tokens: u32,
    /// The negative log-likelihood of each token but the first.
    pub token_nll: Vec<f64>,
}

impl From<Perplexity> for TextPerplexity {
    fn from(perplexity: Perplexity) -> Self {
        Self {
            perplexity: perplexity.perplexity,
            nll: perplexity.mean_nll,
            tokens: u32::try_from(perplexity.tokens).unwrap_or(u32::MAX),
            token_nll: perplexity.nll,
        }
    }
}
