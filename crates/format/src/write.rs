//! Writing model files: a table first, then the tensors' bytes as they come, so that no file has to fit into memory.

mod gguf;
mod safetensors;

pub use gguf::GgufWriter;
pub use safetensors::SafetensorsWriter;

use std::io::{self, Write};

use thiserror::Error;

use crate::dtype::Dtype;

/// A tensor that is going to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorPlan {
    /// Its name.
    pub name: String,
    /// How its values are stored.
    pub dtype: Dtype,
    /// Row-major, as [`Tensor::shape`](crate::Tensor::shape).
    pub shape: Vec<usize>,
}

impl TensorPlan {
    /// Bytes of the tensor.
    fn byte_len(&self) -> Result<usize, WriteError> {
        let len = self.dtype.byte_len(&self.shape);
        len.ok_or_else(|| WriteError::Shape {
            name: self.name.clone(),
            dtype: self.dtype,
            shape: self.shape.clone(),
        })
    }
}

/// Why a model file could not be written.
#[derive(Debug, Error)]
pub enum WriteError {
    /// The operating system refused.
    #[error("cannot write: {0}")]
    Io(#[from] io::Error),
    /// The type's blocks do not divide the shape.
    #[error("tensor `{name}`: {dtype} cannot store the shape {shape:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// The type.
        dtype: Dtype,
        /// The shape, rows first.
        shape: Vec<usize>,
    },
    /// The format has no such type.
    #[error("tensor `{name}`: {format} has no type {dtype}")]
    Type {
        /// The tensor.
        name: String,
        /// The type.
        dtype: Dtype,
        /// The file format.
        format: &'static str,
    },
    /// Other bytes came than were planned.
    #[error("tensor `{name}`: {given} bytes were given, {planned} were planned")]
    Length {
        /// The tensor.
        name: String,
        /// What came.
        given: usize,
        /// What the table says.
        planned: usize,
    },
}

/// The bytes behind the table: every planned tensor, each from a multiple of an alignment on.
#[derive(Debug)]
struct Body<W> {
    out: W,
    alignment: usize,
    /// What is still to come, the next one first: name and length.
    planned: std::vec::IntoIter<(String, usize)>,
    current: Option<Current>,
}

/// The tensor that is being written.
#[derive(Debug)]
struct Current {
    name: String,
    planned: usize,
    written: usize,
}

impl<W: Write> Body<W> {
    fn new(out: W, alignment: usize, planned: Vec<(String, usize)>) -> Self {
        Self {
            out,
            alignment,
            planned: planned.into_iter(),
            current: None,
        }
    }

    /// Adds bytes to the tensor `name`, which is the one begun or the next.
    fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), WriteError> {
        if self.current.is_none() {
            self.current = self.planned.next().map(|(name, planned)| Current {
                name,
                planned,
                written: 0,
            });
        }
        let unplanned = |planned| WriteError::Length {
            name: name.to_owned(),
            given: bytes.len(),
            planned,
        };
        let current = self.current.as_mut().ok_or_else(|| unplanned(0))?;
        if current.name != name {
            return Err(unplanned(0));
        }
        let missing = current.planned - current.written;
        if bytes.len() > missing {
            return Err(unplanned(missing));
        }
        self.out.write_all(bytes)?;
        current.written += bytes.len();
        if bytes.len() == missing {
            let padding = current.planned.next_multiple_of(self.alignment) - current.planned;
            self.out.write_all(&vec![0; padding])?;
            self.current = None;
        }
        Ok(())
    }

    /// Checks that everything has come.
    fn finish(mut self) -> Result<W, WriteError> {
        let next = self
            .planned
            .next()
            .map(|(name, planned)| (name, 0, planned));
        let current = self.current.map(|c| (c.name, c.written, c.planned));
        if let Some((name, given, planned)) = current.or(next) {
            return Err(WriteError::Length {
                name,
                given,
                planned,
            });
        }
        self.out.flush()?;
        Ok(self.out)
    }
}
