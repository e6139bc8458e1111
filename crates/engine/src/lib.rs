//! One loaded model that can talk.
//!
//! [`Engine::open`] reads a model; [`Engine::generate`] starts an answer and returns its stream, a [`Generation`]. A thread
//! of the engine's own computes, many answers at a time; callers only ever wait on streams and [`Task`]s, on a thread of
//! theirs or as futures under any executor.
//!
//! The same prompt, seed and options give the same tokens on every instruction set and thread count, whatever else runs
//! beside it and whatever was asked before.
//!
//! ```no_run
//! use llm_engine::{Engine, EngineConfig, GenerateRequest, Prompt, TextEvent};
//!
//! # fn main() -> Result<(), llm_engine::EngineError> {
//! let engine = Engine::open("models/demo".as_ref(), &EngineConfig::default(), &mut |_| {})?;
//! let prompt = Prompt::Text { text: "What is BitNet?".to_owned(), raw: false };
//! let mut answer = engine.generate(GenerateRequest::new(prompt))?;
//! let mut text = String::new();
//! while let Some(event) = answer.next_blocking() {
//!     match event? {
//!         TextEvent::Text(piece) => text += &piece,
//!         TextEvent::Done(completion) => assert!(completion.usage.completion_tokens > 0),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod codes;
mod config;
mod constraint;
mod embed;
mod engine;
mod error;
mod events;
mod i2s_layout;
mod inbox;
mod info;
mod job;
mod kv_budget;
mod load;
mod prefix_cache;
mod prefix_file;
mod request;
mod rng;
mod sampler;
mod sampling;
mod scheduler;
mod self_test;
mod sequence;
mod speculation;
mod task;
#[cfg(test)]
mod tests;
mod threads;
mod vocabulary;

pub use config::{DEFAULT_MAX_TOKENS, Driver, EngineConfig, head_mode};
pub use constraint::ResponseFormat;
pub use engine::Engine;
pub use error::EngineError;
pub use events::{CancelHandle, Generation};
pub use i2s_layout::I2sLayout;
pub use info::{EngineInfo, MemoryInfo};
pub use job::Perplexity;
pub use kv_budget::KvBudget;
pub use llm_kernels::Isa;
pub use llm_model::HeadMode;
pub use llm_text::{Message, RenderOptions};
pub use load::{LoadPhase, LoadProgress};
pub use request::{
    ChoiceLogprobs, Completion, ContextOverflow, FinishReason, GenerateRequest, Prompt, TextEvent,
    Timings, TokenLogprob, Usage,
};
pub use sampling::SamplingOptions;
pub use speculation::Speculation;
pub use task::{Task, TaskHandle};
