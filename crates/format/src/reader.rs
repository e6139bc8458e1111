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
        if count > cap as u64 {
            return Err(GgufError::TooMany {
                what,
                count,
                limit: cap as u64,
            });
        }
        match usize::try_from(count) {
            Ok(count) if count <= self.left() / min_size => Ok(count),
            _ => Err(GgufError::CountBeyondEnd {
                what,
                count,
                left: self.left(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_stops_at_the_end_and_says_what_was_missing() {
        let mut reader = Reader::new(&[1, 0, 0, 0, 9]);
        assert_eq!(reader.u32("version").expect("four bytes"), 1);
        let error = reader
            .u32("tensor type")
            .expect_err("one byte left")
            .to_string();
        assert!(
            error.contains("in tensor type at byte 4: 4 bytes needed, 1 left"),
            "{error}"
        );
        assert_eq!(reader.take(1, "rest").expect("the last byte"), [9]);
        assert_eq!((reader.left(), reader.position()), (0, 5));
    }

    #[test]
    fn counts_are_held_against_the_cap_and_the_rest_of_the_file() {
        let read = |count: u64, rest: usize, cap: usize| {
            let mut bytes = count.to_le_bytes().to_vec();
            bytes.resize(8 + rest, 0);
            Reader::new(&bytes).count("tensor count", 4, cap)
        };
        assert_eq!(read(3, 12, 3).expect("fits both"), 3);
        assert!(matches!(
            read(3, 11, 3),
            Err(GgufError::CountBeyondEnd {
                count: 3,
                left: 11,
                ..
            })
        ));
        assert!(matches!(
            read(4, 99, 3),
            Err(GgufError::TooMany {
                count: 4,
                limit: 3,
                ..
            })
        ));
        assert!(matches!(
            read(u64::MAX, 99, usize::MAX),
            Err(GgufError::CountBeyondEnd { .. })
        ));
    }

    #[test]
    fn strings_are_checked_for_length_cap_and_utf8() {
        let read = |len: u64, text: &[u8], cap: usize| {
            let bytes = [&len.to_le_bytes(), text].concat();
            Reader::new(&bytes)
                .string("metadata key", cap)
                .map(str::to_owned)
        };
        assert_eq!(read(2, "é!".as_bytes(), 2).expect("two bytes"), "é");
        assert!(matches!(
            read(5, b"four", 99),
            Err(GgufError::UnexpectedEnd { needed: 5, .. })
        ));
        assert!(matches!(
            read(u64::MAX, b"", 99),
            Err(GgufError::UnexpectedEnd { .. })
        ));
        assert!(matches!(
            read(4, b"four", 3),
            Err(GgufError::TooMany { count: 4, .. })
        ));
        assert!(matches!(
            read(1, "é".as_bytes(), 9),
            Err(GgufError::NotUtf8 { offset: 8, .. })
        ));
    }
}
