//! The storage of cached keys and values.
//!
//! A ternary product is a whole number times a factor that a token's row shares (`Compute::ternary_matmul`), and that number
//! hardly ever leaves 16 bits. So a row is kept as 16-bit codes and its factor whenever `code as f32 * factor` is every number
//! of it, bit for bit, which is verified as it is written: half the memory, and attention half the traffic. Rows of which that
//! is not true are kept as f32. Keys are kept as they were before the rotary embedding, which is applied as they are read.

use crate::simd::{LANES, ROUND};

/// Positions of one cache block.
pub const KV_BLOCK: usize = 64;

/// The system has no room for keys or values.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no memory for {bytes} bytes of keys or values")]
pub struct KvOutOfMemory {
    /// What was asked for.
    pub bytes: usize,
}

/// Codes of neighbouring numbers of a head: a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct CodeRow(pub(crate) [i16; LANES]);

/// Neighbouring numbers of a head.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct FloatRow(pub(crate) [f32; LANES]);

/// The keys or the values of one layer at [`KV_BLOCK`] positions, without loss.
///
/// Laid out `[head][column][KV_BLOCK][32]`, a column being 32 neighbouring numbers of a head (the last one padded), so that a
/// column's positions lie one behind the other.
#[derive(Clone, Debug)]
pub struct KvPlane {
    heads: usize,
    head_dim: usize,
    rows: Rows,
}

#[derive(Clone, Debug)]
enum Rows {
    /// Codes, and the factor of each position.
    Codes {
        codes: Vec<CodeRow>,
        factors: Box<[f32; KV_BLOCK]>,
    },
    Floats(Vec<FloatRow>),
}

impl KvPlane {
    /// A plane of zeros that keeps rows as codes where they come with a factor (`coded`), or as f32.
    ///
    /// # Errors
    /// [`KvOutOfMemory`].
    pub fn new(heads: usize, head_dim: usize, coded: bool) -> Result<Self, KvOutOfMemory> {
        let rows = heads * head_dim.div_ceil(LANES) * KV_BLOCK;
        let rows = if coded {
            Rows::Codes {
                codes: filled(rows, CodeRow([0; LANES]))?,
                factors: Box::new([0.0; KV_BLOCK]),
            }
        } else {
            Rows::Floats(filled(rows, FloatRow([0.0; LANES]))?)
        };
        Ok(Self {
            heads,
            head_dim,
            rows,
        })
    }

    /// Heads.
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// Numbers of a head.
    pub fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        match &self.rows {
            Rows::Codes { codes, factors } => {
                size_of_val(codes.as_slice()) + size_of_val(&**factors)
            }
            Rows::Floats(rows) => size_of_val(rows.as_slice()),
        }
    }

    /// Keeps `row`, `[heads][head_dim]`, at place `at`. `factor`: what all its numbers may be whole multiples of.
    ///
    /// # Errors
    /// [`KvOutOfMemory`] when the row needs f32 and there is no room for it; all other rows are as before then.
    ///
    /// # Panics
    /// When there is no such place, or the row has another length.
    pub fn write(
        &mut self,
        at: usize,
        row: &[f32],
        factor: Option<f32>,
    ) -> Result<(), KvOutOfMemory> {
        assert!(at < KV_BLOCK, "no place {at} in a block");
        assert_eq!(
            row.len(),
            self.heads * self.head_dim,
            "row is not [heads][head_dim]"
        );
        if !self.write_codes(at, row, factor) {
            self.write_floats(at, row)?;
        }
        Ok(())
    }

    /// Copies the row at place `at` to `out`, `[heads][head_dim]`.
    ///
    /// # Panics
    /// As [`write`](Self::write).
    pub fn read(&self, at: usize, out: &mut [f32]) {
        assert!(at < KV_BLOCK, "no place {at} in a block");
        assert_eq!(
            out.len(),
            self.heads * self.head_dim,
            "row is not [heads][head_dim]"
        );
        for (column, out) in columns(out, self.head_dim).enumerate() {
            let place = column * KV_BLOCK + at;
            let row = match &self.rows {
                Rows::Codes { codes, factors } => {
                    codes[place].0.map(|code| f32::from(code) * factors[at])
                }
                Rows::Floats(rows) => rows[place].0,
            };
            out.copy_from_slice(&row[..out.len()]);
        }
    }

    /// False when the row cannot be kept as codes.
    fn write_codes(&mut self, at: usize, row: &[f32], factor: Option<f32>) -> bool {
        let (Rows::Codes { codes, factors }, Some(factor)) = (&mut self.rows, factor) else {
            return false;
        };
        let inverse = 1.0 / factor;
        let fits = |(column, x): (usize, &[f32])| {
            encode(x, factor, inverse, &mut codes[column * KV_BLOCK + at])
        };
        // Only a finite factor makes zeros of the padding.
        let exact = factor.is_finite() && columns_of(row, self.head_dim).enumerate().all(fits);
        if exact {
            factors[at] = factor;
        }
        exact
    }

    fn write_floats(&mut self, at: usize, row: &[f32]) -> Result<(), KvOutOfMemory> {
        if let Rows::Codes { codes, factors } = &self.rows {
            let mut rows = filled(codes.len(), FloatRow([0.0; LANES]))?;
            for (place, (row, codes)) in rows.iter_mut().zip(codes).enumerate() {
                row.0 = codes
                    .0
                    .map(|code| f32::from(code) * factors[place % KV_BLOCK]);
            }
            self.rows = Rows::Floats(rows);
        }
        if let Rows::Floats(rows) = &mut self.rows {
            for (column, x) in columns_of(row, self.head_dim).enumerate() {
                rows[column * KV_BLOCK + at].0[..x.len()].copy_from_slice(x);
            }
        }
        Ok(())
    }

    /// One head's columns.
    pub(crate) fn head(&self, head: usize) -> HeadRows<'_> {
        let columns = self.head_dim.div_ceil(LANES);
        let range = head * columns..(head + 1) * columns;
        match &self.rows {
            Rows::Codes { codes, factors } => HeadRows::Codes(CodeHead {
                columns: &codes.as_chunks().0[range],
                factors,
            }),
            Rows::Floats(rows) => HeadRows::Floats(FloatHead {
                columns: &rows.as_chunks().0[range],
            }),
        }
    }
}

/// One head of a plane, column by column.
#[derive(Clone, Copy)]
pub(crate) enum HeadRows<'a> {
    Codes(CodeHead<'a>),
    Floats(FloatHead<'a>),
}

/// Codes, and the factor of each position.
#[derive(Clone, Copy)]
pub(crate) struct CodeHead<'a> {
    pub(crate) columns: &'a [[CodeRow; KV_BLOCK]],
    pub(crate) factors: &'a [f32; KV_BLOCK],
}

#[derive(Clone, Copy)]
pub(crate) struct FloatHead<'a> {
    pub(crate) columns: &'a [[FloatRow; KV_BLOCK]],
}

/// The columns of all heads of a row.
fn columns_of(row: &[f32], head_dim: usize) -> impl Iterator<Item = &[f32]> {
    row.chunks_exact(head_dim)
        .flat_map(|head| head.chunks(LANES))
}

fn columns(row: &mut [f32], head_dim: usize) -> impl Iterator<Item = &mut [f32]> {
    row.chunks_exact_mut(head_dim)
        .flat_map(|head| head.chunks_mut(LANES))
}

/// Writes the codes of `x`, at most 32 numbers; whether they are exact. `inverse` may be anything near `1 / factor`.
fn encode(x: &[f32], factor: f32, inverse: f32, out: &mut CodeRow) -> bool {
    let mut exact = true;
    for (x, code) in x.iter().zip(&mut out.0) {
        // The nearest whole number lies in the low bits; those of a larger one do not pass the test that follows.
        *code = (x * inverse + ROUND).to_bits() as i16;
        exact &= (f32::from(*code) * factor).to_bits() == x.to_bits();
    }
    exact
}

fn filled<T: Clone>(len: usize, value: T) -> Result<Vec<T>, KvOutOfMemory> {
    let mut rows = Vec::new();
    rows.try_reserve_exact(len).map_err(|_| KvOutOfMemory {
        bytes: len.saturating_mul(size_of::<T>()),
    })?;
    rows.resize(len, value);
    Ok(rows)
}
