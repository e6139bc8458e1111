//! safetensors: a length, a JSON header, the tensors one after another.

use std::io::Write;

use serde_json::{Map, Value, json};

use super::{Body, TensorPlan, WriteError};
use crate::dtype::Dtype;

/// The header is padded to a multiple of this, with spaces.
const HEADER_ALIGNMENT: usize = 8;

/// A safetensors file being written.
#[derive(Debug)]
pub struct SafetensorsWriter<W> {
    body: Body<W>,
}

impl<W: Write> SafetensorsWriter<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// A type that safetensors lacks, a shape whose size overflows, or what the system says.
    pub fn new(mut out: W, tensors: &[TensorPlan]) -> Result<Self, WriteError> {
        let mut header = Map::new();
        // What readers look for to tell whose layout it is.
        header.insert("__metadata__".to_owned(), json!({ "format": "pt" }));
        let (mut planned, mut begin) = (Vec::new(), 0);
        for tensor in tensors {
            let dtype = type_name(tensor.dtype).ok_or_else(|| WriteError::Type {
                name: tensor.name.clone(),
                dtype: tensor.dtype,
                format: "safetensors",
            })?;
            let len = tensor.byte_len()?;
            let entry = json!({
                "dtype": dtype, "shape": tensor.shape, "data_offsets": [begin, begin + len],
            });
            header.insert(tensor.name.clone(), entry);
            planned.push((tensor.name.clone(), len));
            begin += len;
        }
        let mut header = Value::Object(header).to_string().into_bytes();
        header.resize(header.len().next_multiple_of(HEADER_ALIGNMENT), b' ');
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        Ok(Self {
            body: Body::new(out, 1, planned),
        })
    }

    /// Adds bytes to the tensor `name`: tensors come in the order of the plan, each in pieces of any size.
    ///
    /// # Errors
    /// [`WriteError::Length`] for another tensor than the next, or more bytes than it has; what the system says.
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), WriteError> {
        self.body.write(name, bytes)
    }

    /// Ends the file.
    ///
    /// # Errors
    /// [`WriteError::Length`] for bytes that have not come; what the system says.
    pub fn finish(self) -> Result<W, WriteError> {
        self.body.finish()
    }
}

fn type_name(dtype: Dtype) -> Option<&'static str> {
    match dtype {
        Dtype::F64
        | Dtype::F32
        | Dtype::F16
        | Dtype::Bf16
        | Dtype::I64
        | Dtype::U64
        | Dtype::I32
        | Dtype::U32
        | Dtype::I16
        | Dtype::U16
        | Dtype::I8
        | Dtype::U8
        | Dtype::Bool => Some(dtype.name()),
        _ => None,
    }
}
