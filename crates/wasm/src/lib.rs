//! The engine as a WebAssembly module for one web worker: one model, no threads, requests and answers in JSON.
//!
//! The worker writes a request into the buffer that `request_buffer` returns, calls `handle`, and reads the answer from where
//! `answer_pointer` says. While `step` returns 1 there is something to compute. Everything that can be tested without
//! WebAssembly is in [`Host`].
#![deny(unsafe_code)]

#[cfg(target_family = "wasm")]
mod exports;
mod failure;
mod host;
mod request;
#[cfg(target_family = "wasm")]
mod threads;

pub use host::{Answer, Host};
