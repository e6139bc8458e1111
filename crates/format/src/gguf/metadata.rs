//! Key-value pairs of a GGUF file, typed.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::value::{Array, Value};
use crate::error::{FormatError, GgufError};
use crate::reader::Reader;

/// Real files have a few dozen keys.
const MAX_KEYS: usize = 1 << 16;
/// Smallest pair: empty key, type, one-byte value.
const MIN_PAIR_SIZE: usize = 8 + 4 + 1;
const MAX_KEY_LEN: usize = 1 << 16;
/// Embedded tokenizer files, the longest strings met, have some 20 MB.
const MAX_STRING_LEN: usize = 1 << 26;
/// Arrays in arrays are allowed by the format and used by nobody known.
const MAX_ARRAY_DEPTH: usize = 4;
/// Memory for all values. A vocabulary of 262,144 tokens with 500,000 merges takes about 60 MB.
const MAX_MEMORY: usize = 1 << 28;
/// What a string costs beside its text: the `String` itself and the allocator's share.
const STRING_OVERHEAD: usize = size_of::<String>() + 16;

/// All key-value pairs of a file. The typed getters give `None` for a key that is not there and
/// [`FormatError::MetadataType`] for one of another type.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    pairs: BTreeMap<String, Value>,
}

impl Metadata {
    /// The value of `key`, whatever its type.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.pairs.get(key)
    }

    /// All pairs, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.pairs.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// A string.
    pub fn str(&self, key: &str) -> Result<Option<&str>, FormatError> {
        self.typed(key, "string", |value| match value {
            Value::String(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// A whole number of at least 0, from any integer type.
    pub fn u64(&self, key: &str) -> Result<Option<u64>, FormatError> {
        self.typed(key, "unsigned integer", Value::as_u64)
    }

    /// A number, from any float or integer type.
    pub fn f64(&self, key: &str) -> Result<Option<f64>, FormatError> {
        self.typed(key, "number", Value::as_f64)
    }

    /// A boolean.
    pub fn bool(&self, key: &str) -> Result<Option<bool>, FormatError> {
        self.typed(key, "bool", |value| match value {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        })
    }

    /// An array of strings.
    pub fn strings(&self, key: &str) -> Result<Option<&[String]>, FormatError> {
        self.typed(key, "array of string", |value| match value {
            Value::Array(Array::String(items)) => Some(items.as_slice()),
            _ => None,
        })
    }

    /// An array of 32-bit floats.
    pub fn f32s(&self, key: &str) -> Result<Option<&[f32]>, FormatError> {
        self.typed(key, "array of f32", |value| match value {
            Value::Array(Array::F32(items)) => Some(items.as_slice()),
            _ => None,
        })
    }

    /// An array of unsigned 32-bit integers.
    pub fn u32s(&self, key: &str) -> Result<Option<&[u32]>, FormatError> {
        self.typed(key, "array of u32", |value| match value {
            Value::Array(Array::U32(items)) => Some(items.as_slice()),
            _ => None,
        })
    }

    /// An array of signed 32-bit integers.
    pub fn i32s(&self, key: &str) -> Result<Option<&[i32]>, FormatError> {
        self.typed(key, "array of i32", |value| match value {
            Value::Array(Array::I32(items)) => Some(items.as_slice()),
            _ => None,
        })
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        convert: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, FormatError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        convert(value)
            .map(Some)
            .ok_or_else(|| FormatError::MetadataType {
                key: key.to_owned(),
                expected,
                found: value.type_name(),
            })
    }
}

/// Reads the number of pairs and the pairs.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<Metadata, GgufError> {
    let n_pairs = reader.count("metadata key count", MIN_PAIR_SIZE, MAX_KEYS)?;
    let mut memory_left = MAX_MEMORY;
    let mut pairs = BTreeMap::new();
    for _ in 0..n_pairs {
        let key = reader.string("metadata key", MAX_KEY_LEN)?;
        charge(
            &mut memory_left,
            STRING_OVERHEAD + key.len() + size_of::<Value>(),
        )?;
        let type_id = reader.u32("metadata value type")?;
        let value = ValueReader {
            reader,
            key,
            memory_left: &mut memory_left,
        }
        .value(type_id)?;
        match pairs.entry(key.to_owned()) {
            Entry::Vacant(vacant) => vacant.insert(value),
            Entry::Occupied(occupied) => {
                return Err(GgufError::DuplicateKey {
                    key: occupied.key().clone(),
                });
            }
        };
    }
    Ok(Metadata { pairs })
}

/// Takes `size` bytes from the budget of [`MAX_MEMORY`], before they are allocated.
fn charge(memory_left: &mut usize, size: usize) -> Result<(), GgufError> {
    let error = GgufError::MetadataTooLarge { limit: MAX_MEMORY };
    *memory_left = memory_left.checked_sub(size).ok_or(error)?;
    Ok(())
}

/// Reads the value of one key.
struct ValueReader<'r, 'a> {
    reader: &'r mut Reader<'a>,
    key: &'a str,
    memory_left: &'r mut usize,
}

/// Reads `$n` little-endian numbers.
macro_rules! numbers {
    ($self:ident, $n:ident, $number:ty) => {{
        const SIZE: usize = size_of::<$number>();
        // Cannot overflow: `array` has checked n elements of at least this size against the file.
        charge($self.memory_left, $n * SIZE)?;
        let (chunks, _) = $self
            .reader
            .take($n * SIZE, "metadata array")?
            .as_chunks::<SIZE>();
        chunks
            .iter()
            .map(|&bytes| <$number>::from_le_bytes(bytes))
            .collect()
    }};
}

impl ValueReader<'_, '_> {
    fn value(&mut self, type_id: u32) -> Result<Value, GgufError> {
        const WHAT: &str = "metadata value";
        let reader = &mut *self.reader;
        Ok(match type_id {
            0 => Value::U8(u8::from_le_bytes(reader.array(WHAT)?)),
            1 => Value::I8(i8::from_le_bytes(reader.array(WHAT)?)),
            2 => Value::U16(u16::from_le_bytes(reader.array(WHAT)?)),
            3 => Value::I16(i16::from_le_bytes(reader.array(WHAT)?)),
            4 => Value::U32(u32::from_le_bytes(reader.array(WHAT)?)),
            5 => Value::I32(i32::from_le_bytes(reader.array(WHAT)?)),
            6 => Value::F32(f32::from_le_bytes(reader.array(WHAT)?)),
            7 => {
                let [byte] = reader.array(WHAT)?;
                Value::Bool(self.bool(byte)?)
            }
            8 => Value::String(self.string()?),
            9 => Value::Array(self.array(1)?),
            10 => Value::U64(u64::from_le_bytes(reader.array(WHAT)?)),
            11 => Value::I64(i64::from_le_bytes(reader.array(WHAT)?)),
            12 => Value::F64(f64::from_le_bytes(reader.array(WHAT)?)),
            id => {
                return Err(GgufError::ValueType {
                    key: self.key.to_owned(),
                    id,
                });
            }
        })
    }

    fn array(&mut self, depth: usize) -> Result<Array, GgufError> {
        if depth > MAX_ARRAY_DEPTH {
            let (key, limit) = (self.key.to_owned(), MAX_ARRAY_DEPTH);
            return Err(GgufError::ArrayDepth { key, limit });
        }
        let type_id = self.reader.u32("metadata array type")?;
        let Some(element_size) = min_element_size(type_id) else {
            return Err(GgufError::ValueType {
                key: self.key.to_owned(),
                id: type_id,
            });
        };
        let n = self
            .reader
            .count("metadata array length", element_size, usize::MAX)?;
        Ok(match type_id {
            0 => Array::U8(numbers!(self, n, u8)),
            1 => Array::I8(numbers!(self, n, i8)),
            2 => Array::U16(numbers!(self, n, u16)),
            3 => Array::I16(numbers!(self, n, i16)),
            4 => Array::U32(numbers!(self, n, u32)),
            5 => Array::I32(numbers!(self, n, i32)),
            6 => Array::F32(numbers!(self, n, f32)),
            7 => Array::Bool(self.bools(n)?),
            8 => Array::String((0..n).map(|_| self.string()).collect::<Result<_, _>>()?),
            9 => {
                charge(self.memory_left, n * size_of::<Array>())?;
                Array::Array(
                    (0..n)
                        .map(|_| self.array(depth + 1))
                        .collect::<Result<_, _>>()?,
                )
            }
            10 => Array::U64(numbers!(self, n, u64)),
            11 => Array::I64(numbers!(self, n, i64)),
            _ => Array::F64(numbers!(self, n, f64)),
        })
    }

    fn bools(&mut self, n: usize) -> Result<Vec<bool>, GgufError> {
        charge(self.memory_left, n)?;
        let bytes = self.reader.take(n, "metadata array")?;
        bytes.iter().map(|&byte| self.bool(byte)).collect()
    }

    fn bool(&self, byte: u8) -> Result<bool, GgufError> {
        match byte {
            0 => Ok(false),
            1 => Ok(true),
            found => Err(GgufError::Bool {
                key: self.key.to_owned(),
                found,
            }),
        }
    }

    fn string(&mut self) -> Result<String, GgufError> {
        let text = self.reader.string("metadata string", MAX_STRING_LEN)?;
        charge(self.memory_left, STRING_OVERHEAD + text.len())?;
        Ok(text.to_owned())
    }
}

/// The fewest bytes that an element of a type takes in the file; `None` for an unknown type.
fn min_element_size(type_id: u32) -> Option<usize> {
    match type_id {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        8 => Some(8),
        9 => Some(12),
        10..=12 => Some(8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads an array of `n` elements of `type_id`, all bytes zero, within a budget of memory.
    fn read_array(type_id: u32, n: u64, memory: usize) -> Result<Array, GgufError> {
        let mut bytes = [&type_id.to_le_bytes()[..], &n.to_le_bytes()].concat();
        bytes.resize(bytes.len() + 12 * 100, 0);
        let mut memory_left = memory;
        let mut reader = Reader::new(&bytes);
        ValueReader {
            reader: &mut reader,
            key: "k",
            memory_left: &mut memory_left,
        }
        .array(1)
    }

    #[test]
    fn values_are_charged_to_the_memory_budget_before_they_are_made() {
        let nested = size_of::<Array>();
        for (type_id, cost) in [
            (0, 1),
            (3, 2),
            (6, 4),
            (7, 1),
            (8, STRING_OVERHEAD),
            (9, nested),
        ] {
            let enough = read_array(type_id, 50, 50 * cost);
            assert_eq!(enough.expect("fits exactly").len(), 50, "type {type_id}");
            let error = read_array(type_id, 50, 50 * cost - 1).expect_err("one byte short");
            assert!(
                matches!(error, GgufError::MetadataTooLarge { .. }),
                "type {type_id}: {error}"
            );
        }
    }
}
