//! The whole engine against golden outputs of reference implementations: testdata/oracle and the demo model.
//!
//! The rules are those of testdata/oracle/README.md. Models with int8 activations may flip a rounding under another
//! order of float additions, which moves single logits; dense models must agree closely.

mod causal;
mod demo;
mod embedding;
mod gguf;
mod speculation;
mod support;
