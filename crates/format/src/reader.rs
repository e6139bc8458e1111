//! The one cursor that GGUF headers are read with: every length is checked against what is left
//! before it is used or allocated.

use crate::error::GgufError;

/// Reads little-endian values from the front of a byte slice.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Bytes read so far.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// Bytes not read yet.
    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// The next `len` bytes. `what` names the part in the error.
    pub(crate) fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], GgufError> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let Some(taken) = rest.get(..len) else {
            return Err(GgufError::UnexpectedEnd {
                what,
                offset: self.position,
                needed: len as u64,
                left: rest.len(),
            });
        };
        self.position += len;
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    pub(crate) fn array<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<[u8; N], GgufError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }

    /// An unsigned 32-bit number.
    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    /// An unsigned 64-bit number.
    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A 64-bit count of things that take at least `min_size` bytes each: at most `cap`, and no
    /// more than the rest of the file can hold.
    pub(crate) fn count(
        &mut self,
        what: &'static str,
        min_size: usize,
        cap: usize,
    ) -> Result<usize, GgufError> {
        let count = self.u64(what)?;
        let limit = cap.min(self.left() / min_size);
        match usize::try_from(count) {
            Ok(count) if count <= limit => Ok(count),
            _ => Err(GgufError::TooMany {
                what,
                count,
                limit: limit as u64,
            }),
        }
    }

    /// A string: 64-bit length of at most `cap`, then UTF-8.
    pub(crate) fn string(&mut self, what: &'static str, cap: usize) -> Result<&'a str, GgufError> {
        let len = self.u64(what)?;
        let offset = self.position;
        if len > cap as u64 && len <= self.left() as u64 {
            return Err(GgufError::TooMany {
                what,
                count: len,
                limit: cap as u64,
            });
        }
        let Some(len) = usize::try_from(len).ok().filter(|&len| len <= self.left()) else {
            return Err(GgufError::UnexpectedEnd {
                what,
                offset,
                needed: len,
                left: self.left(),
            });
        };
        let bytes = self.take(len, what)?;
        std::str::from_utf8(bytes).map_err(|_| GgufError::NotUtf8 { what, offset })
    }
}
