//! Texts to vectors.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use llm_engine::{Task, TaskHandle};
use napi::bindgen_prelude::{Env, Float32Array, PromiseRaw};
use napi_derive::napi;

use crate::error::{Failure, inference_failed};

type Vectors = Vec<Vec<f32>>;

/// Vectors on their way. Dropped by the garbage collector or with its worker, it cancels.
#[napi]
pub struct NativeEmbedding {
    /// Until somebody waits for it.
    task: Arc<Mutex<Option<Task<Vectors>>>>,
    handle: TaskHandle<Vectors>,
}

impl NativeEmbedding {
    pub(crate) fn new(task: Task<Vectors>) -> Self {
        Self {
            handle: task.handle(),
            task: Arc::new(Mutex::new(Some(task))),
        }
    }
}

impl Drop for NativeEmbedding {
    fn drop(&mut self) {
        self.handle.cancel();
    }
}

#[napi]
impl NativeEmbedding {
    /// All vectors, in the order of the texts; to be asked for once.
    ///
    /// # Errors
    /// What ended the work early, with its code.
    #[napi(catch_unwind)]
    pub fn result<'env>(
        &self,
        env: &'env Env,
    ) -> napi::Result<PromiseRaw<'env, Vec<Float32Array>>> {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        let task = task
            .take()
            .ok_or_else(|| Failure::internal("the vectors were asked for twice"))?;
        env.spawn_future(async move {
            let vectors = Pin::from(Box::new(task)).await.map_err(inference_failed)?;
            Ok(vectors.into_iter().map(Float32Array::new).collect())
        })
    }

    /// Ends the work within one step of the engine; the result is the error ABORTED.
    #[napi(catch_unwind)]
    pub fn cancel(&self) {
        self.handle.cancel();
    }
}
