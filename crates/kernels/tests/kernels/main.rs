//! The public interface, tested from outside.

mod attention;
mod common;
mod float;
mod formats;
mod pack;
mod pool;
mod twin;
