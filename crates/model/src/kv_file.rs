//! Keys and values on their way to a file and back, bit for bit and the same on every machine.
//!
//! Position after position, plane after plane, a row is a tag and its numbers, little-endian: `1`, the factor (f32) and codes (i16), or
//! `2`, the factor and f32 numbers where codes do not hold them, or `0` and f32 numbers.

use std::io::{self, Read, Write};

use llm_kernels::KV_BLOCK;

use crate::kv_cache::KvCache;

const FLOATS: u8 = 0;
const CODES: u8 = 1;
const WHOLE: u8 = 2;

impl KvCache {
    /// Numbers of a row, and rows of a position.
    #[must_use]
    pub fn row_shape(&self) -> (usize, usize) {
        let shape = self.shape();
        (shape.n_kv_head * shape.head_dim, shape.ternary.len())
    }

    /// Writes all positions.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn save(&self, out: &mut impl Write) -> io::Result<()> {
        let (width, planes) = self.row_shape();
        let mut row = vec![0.0; width];
        let mut bytes = Vec::new();
        for position in 0..self.len() {
            let (block, at) = (&self.blocks()[position / KV_BLOCK], position % KV_BLOCK);
            for plane in 0..planes {
                block.read(plane, at, &mut row);
                bytes.clear();
                encode(&row, block.factor(plane, at), &mut bytes);
                out.write_all(&bytes)?;
            }
        }
        Ok(())
    }

    /// Adds `n` positions that [`save`](Self::save) has written.
    ///
    /// # Errors
    /// Those of `input`; [`io::ErrorKind::InvalidData`] for what cannot have been written, [`io::ErrorKind::OutOfMemory`]. The positions
    /// before the failure are there then.
    pub fn restore(&mut self, n: usize, input: &mut impl Read) -> io::Result<()> {
        let (width, planes) = self.row_shape();
        let out_of_memory = |error| io::Error::new(io::ErrorKind::OutOfMemory, error);
        let (mut row, mut bytes) = (vec![0.0; width], Vec::new());
        for _ in 0..n {
            self.reserve(1).map_err(out_of_memory)?;
            for plane in 0..planes {
                let factor = decode(&mut row, &mut bytes, input)?;
                self.write_row(plane, &row, factor).map_err(out_of_memory)?;
            }
            self.advance(1);
        }
        Ok(())
    }

    /// Whether the first `n` positions are the same, bit for bit.
    #[must_use]
    pub fn begins_like(&self, other: &Self, n: usize) -> bool {
        let (width, planes) = self.row_shape();
        let rows = |cache: &Self, position: usize, plane| {
            let mut row = vec![0.0; width];
            cache.blocks()[position / KV_BLOCK].read(plane, position % KV_BLOCK, &mut row);
            row.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        self.row_shape() == other.row_shape()
            && n <= self.len().min(other.len())
            && (0..n).all(|at| (0..planes).all(|p| rows(self, at, p) == rows(other, at, p)))
    }
}

fn encode(row: &[f32], factor: Option<f32>, bytes: &mut Vec<u8>) {
    let code = |x: f32, factor: f32| {
        let code = (x / factor).round_ties_even() as i16;
        (f32::from(code) * factor).to_bits() == x.to_bits()
    };
    match factor {
        Some(factor) if row.iter().all(|&x| code(x, factor)) => {
            bytes.push(CODES);
            bytes.extend(factor.to_le_bytes());
            bytes.extend(
                row.iter()
                    .flat_map(|x| ((x / factor).round_ties_even() as i16).to_le_bytes()),
            );
        }
        _ => {
            match factor {
                Some(factor) => {
                    bytes.push(WHOLE);
                    bytes.extend(factor.to_le_bytes());
                }
                None => bytes.push(FLOATS),
            }
            bytes.extend(row.iter().flat_map(|x| x.to_le_bytes()));
        }
    }
}

/// Reads a row; gives its factor. `bytes` is scratch space.
fn decode(row: &mut [f32], bytes: &mut Vec<u8>, input: &mut impl Read) -> io::Result<Option<f32>> {
    let mut tag = [0];
    input.read_exact(&mut tag)?;
    let (factor, size) = match tag {
        [CODES | WHOLE] => {
            let mut factor = [0; 4];
            input.read_exact(&mut factor)?;
            let size = if tag == [CODES] {
                size_of::<i16>()
            } else {
                size_of::<f32>()
            };
            (Some(f32::from_le_bytes(factor)), size)
        }
        [FLOATS] => (None, size_of::<f32>()),
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    // At once: piece by piece, reading would cost more than computing.
    bytes.resize(row.len() * size, 0);
    input.read_exact(bytes)?;
    for (x, bytes) in row.iter_mut().zip(bytes.chunks_exact(size)) {
        *x = match (factor, bytes) {
            (Some(factor), &[a, b]) => f32::from(i16::from_le_bytes([a, b])) * factor,
            (_, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
    }
    Ok(factor)
}
