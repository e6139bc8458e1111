//! A tensor as it lies in its file: name, type, shape, bytes.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use crate::dtype::Dtype;
use crate::mmap::Map;

/// A named array inside a model file. Its bytes are checked to be exactly what `dtype` and `shape`
/// need.
#[derive(Debug, Clone)]
pub struct Tensor {
    /// The name in the file.
    pub name: String,
    /// How values are stored.
    pub dtype: Dtype,
    /// Row-major shape, `[rows, cols]` for a matrix (GGUF's order is reversed on reading).
    pub shape: Vec<usize>,
    /// The values, little-endian, without any alignment promised.
    pub bytes: Bytes,
}

impl Tensor {
    /// Number of values. It fits, or the file would not have opened.
    pub fn n_elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A range of a file. Clones share the file's mapping and keep it alive.
#[derive(Clone)]
pub struct Bytes {
    map: Arc<Map>,
    /// Inside the map: `new` is the only way to make one.
    range: Range<usize>,
}

impl Bytes {
    /// The bytes of `range`, or `None` when it is not inside the file.
    pub(crate) fn new(map: &Arc<Map>, range: Range<usize>) -> Option<Self> {
        map.as_slice().get(range.clone())?;
        Some(Self {
            map: Arc::clone(map),
            range,
        })
    }

    /// Tells the operating system that these pages may leave memory; reading them again is slower,
    /// never wrong. Call it after copying weights out. Does nothing where there is no such advice.
    pub fn release(&self) {
        self.map.release(&self.range);
    }

    /// Copies the bytes of `part`, counted from the start of these, to `out`. Unlike a read of the slice this leaves no page of
    /// the file mapped, which is what a few rows out of a large matrix want.
    ///
    /// # Panics
    /// When the part does not lie in these bytes.
    pub fn read_part(&self, start: usize, out: &mut [u8]) {
        let inside = start
            .checked_add(out.len())
            .is_some_and(|end| end <= self.len());
        assert!(
            inside && self.map.read_at(self.range.start + start, out),
            "part outside of the bytes"
        );
    }

    /// The same for a part, `part` counted from the start of these bytes.
    pub fn release_part(&self, part: Range<usize>) {
        let end = self
            .range
            .start
            .saturating_add(part.end)
            .min(self.range.end);
        let start = self.range.start.saturating_add(part.start).min(end);
        self.map.release(&(start..end));
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map.as_slice()[self.range.clone()]
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({:?})", self.range)
    }
}
