//! The Node layer: JavaScript values in, one call of the core, JavaScript values out. No inference logic.
//!
//! Long work runs on the engine's own thread; promises are futures that only wait for it. Loading and tokenising happen
//! on a blocking thread. No panic reaches Node: synchronous methods catch unwinding, a panicking future rejects its
//! promise.

pub mod convert;
mod embedding;
mod error;
mod generation;
pub mod hub;
mod info;
pub mod limits;
mod options;
mod router;
