//! The public interface, tested from outside.

mod attention;
mod common;
mod encode;
mod float;
mod formats;
mod lookup;
mod pack;
mod pool;
mod repack;
mod twin;
