//! GGUF, version 3.

use std::io::{Seek, SeekFrom, Write};

use super::{Body, TensorPlan, WriteError};
use crate::gguf::{Array, DEFAULT_ALIGNMENT, MAGIC, Value, type_id};

const VERSION: u32 = 3;

/// A GGUF file being written.
#[derive(Debug)]
pub struct GgufWriter<W> {
    body: Body<W>,
    /// Where the elements of arrays lie, by key.
    arrays: Vec<(String, u64)>,
}

impl<W: Write + Seek> GgufWriter<W> {
    /// Writes metadata and table.
    ///
    /// # Errors
    /// A type that GGUF lacks, a shape that a type does not take, or what the system says.
    pub fn new(
        mut out: W,
        metadata: &[(String, Value)],
        tensors: &[TensorPlan],
    ) -> Result<Self, WriteError> {
        let alignment = DEFAULT_ALIGNMENT as usize;
        let mut header = Header::default();
        header.bytes.extend(MAGIC);
        header.u32(VERSION);
        header.u64(tensors.len());
        header.u64(metadata.len());
        for (key, value) in metadata {
            header.string(key);
            header.u32(value_type(value));
            header.value(key, value);
        }
        let (mut planned, mut offset) = (Vec::new(), 0);
        for tensor in tensors {
            let id = type_id(tensor.dtype).ok_or_else(|| WriteError::Type {
                name: tensor.name.clone(),
                dtype: tensor.dtype,
                format: "GGUF",
            })?;
            header.string(&tensor.name);
            header.u32(tensor.shape.len() as u32);
            for &dim in tensor.shape.iter().rev() {
                header.u64(dim);
            }
            header.u32(id);
            header.u64(offset);
            let len = tensor.byte_len()?;
            offset += len.next_multiple_of(alignment);
            planned.push((tensor.name.clone(), len));
        }
        let padded = header.bytes.len().next_multiple_of(alignment);
        header.bytes.resize(padded, 0);
        out.write_all(&header.bytes)?;
        Ok(Self {
            body: Body::new(out, alignment, planned),
            arrays: header.arrays,
        })
    }

    /// Adds bytes to the tensor `name`: tensors come in the order of the table, each in pieces of any size.
    ///
    /// # Errors
    /// [`WriteError::Length`] for another tensor than the next, or more bytes than it has; what the system says.
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), WriteError> {
        self.body.write(name, bytes)
    }

    /// Ends the file. `numbers` replace the elements of metadata arrays of f32, by key: what is known only once all weights
    /// have been seen.
    ///
    /// # Errors
    /// [`WriteError::Length`] for bytes that have not come; what the system says.
    pub fn finish(self, numbers: &[(&str, Vec<f32>)]) -> Result<W, WriteError> {
        let mut out = self.body.finish()?;
        for (key, numbers) in numbers {
            let Some((_, at)) = self.arrays.iter().find(|(array, _)| array == key) else {
                continue;
            };
            out.seek(SeekFrom::Start(*at))?;
            let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
            out.write_all(&bytes)?;
        }
        out.flush()?;
        Ok(out)
    }
}

/// What stands before the tensors.
#[derive(Default)]
struct Header {
    bytes: Vec<u8>,
    arrays: Vec<(String, u64)>,
}

impl Header {
    fn u32(&mut self, n: u32) {
        self.bytes.extend(n.to_le_bytes());
    }

    fn u64(&mut self, n: usize) {
        self.bytes.extend((n as u64).to_le_bytes());
    }

    fn string(&mut self, text: &str) {
        self.u64(text.len());
        self.bytes.extend(text.as_bytes());
    }

    fn value(&mut self, key: &str, value: &Value) {
        match value {
            Value::U8(n) => self.bytes.push(*n),
            Value::I8(n) => self.bytes.extend(n.to_le_bytes()),
            Value::U16(n) => self.bytes.extend(n.to_le_bytes()),
            Value::I16(n) => self.bytes.extend(n.to_le_bytes()),
            Value::U32(n) => self.bytes.extend(n.to_le_bytes()),
            Value::I32(n) => self.bytes.extend(n.to_le_bytes()),
            Value::F32(n) => self.bytes.extend(n.to_le_bytes()),
            Value::Bool(flag) => self.bytes.push(u8::from(*flag)),
            Value::String(text) => self.string(text),
            Value::Array(array) => {
                self.array_head(array);
                self.arrays.push((key.to_owned(), self.bytes.len() as u64));
                self.elements(array);
            }
            Value::U64(n) => self.bytes.extend(n.to_le_bytes()),
            Value::I64(n) => self.bytes.extend(n.to_le_bytes()),
            Value::F64(n) => self.bytes.extend(n.to_le_bytes()),
        }
    }

    fn array_head(&mut self, array: &Array) {
        self.u32(element_type(array));
        self.u64(array.len());
    }

    fn elements(&mut self, array: &Array) {
        match array {
            Array::U8(items) => self.bytes.extend(items),
            Array::I8(items) => self.numbers(items, |n| n.to_le_bytes()),
            Array::U16(items) => self.numbers(items, |n| n.to_le_bytes()),
            Array::I16(items) => self.numbers(items, |n| n.to_le_bytes()),
            Array::U32(items) => self.numbers(items, |n| n.to_le_bytes()),
            Array::I32(items) => self.numbers(items, |n| n.to_le_bytes()),
            Array::F32(items) => self.numbers(items, |n| n.to_le_bytes()),
            Array::Bool(items) => self.numbers(items, |flag| [u8::from(*flag)]),
            Array::String(items) => items.iter().for_each(|text| self.string(text)),
            Array::Array(items) => {
                for inner in items {
                    self.array_head(inner);
                    self.elements(inner);
                }
            }
            Array::U64(items) => self.numbers(items, |n| n.to_le_bytes()),
            Array::I64(items) => self.numbers(items, |n| n.to_le_bytes()),
            Array::F64(items) => self.numbers(items, |n| n.to_le_bytes()),
        }
    }

    fn numbers<T, const N: usize>(&mut self, items: &[T], bytes: impl Fn(&T) -> [u8; N]) {
        self.bytes.extend(items.iter().flat_map(bytes));
    }
}

/// The id of a value's type.
fn value_type(value: &Value) -> u32 {
    match value {
        Value::U8(_) => 0,
        Value::I8(_) => 1,
        Value::U16(_) => 2,
        Value::I16(_) => 3,
        Value::U32(_) => 4,
        Value::I32(_) => 5,
        Value::F32(_) => 6,
        Value::Bool(_) => 7,
        Value::String(_) => 8,
        Value::Array(_) => 9,
        Value::U64(_) => 10,
        Value::I64(_) => 11,
        Value::F64(_) => 12,
    }
}

/// The id of an array's elements' type.
fn element_type(array: &Array) -> u32 {
    match array {
        Array::U8(_) => 0,
        Array::I8(_) => 1,
        Array::U16(_) => 2,
        Array::I16(_) => 3,
        Array::U32(_) => 4,
        Array::I32(_) => 5,
        Array::F32(_) => 6,
        Array::Bool(_) => 7,
        Array::String(_) => 8,
        Array::Array(_) => 9,
        Array::U64(_) => 10,
        Array::I64(_) => 11,
        Array::F64(_) => 12,
    }
}
