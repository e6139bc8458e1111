//! The storage of cached keys and values.
//!
//! A ternary product is a whole number times a factor that a token's row shares (`Compute::ternary_matmul`), and that number
//! hardly ever leaves 16 bits. So a row is kept as 16-bit codes and its factor whenever `code as f32 * factor` is every number
//! of it, bit for bit, which is verified as it is written: half the memory, and attention half the traffic. Rows of which that
//! is not true are kept as f32. Keys are kept as they were before the rotary embedding, which is applied as they are read.

use crate::memory::prefer_huge_pages;
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

/// Planes of keys and values, such as those of all layers, at [`KV_BLOCK`] positions; without loss.
///
/// A plane is laid out `[head][column][KV_BLOCK][32]`, a column being 32 neighbouring numbers of a head (the last one padded),
/// so that a column's positions lie one behind the other.
#[derive(Debug)]
pub struct KvBlock {
    heads: usize,
    head_dim: usize,
    /// The planes that keep codes, one after another.
    codes: Vec<CodeRow>,
    /// Those that were made to keep f32.
    floats: Vec<FloatRow>,
    planes: Vec<Plane>,
}

/// Where the rows of a plane are.
#[derive(Debug)]
enum Plane {
    /// In the block's codes, from an index on, with the factor of each position.
    Codes(usize, Box<[f32; KV_BLOCK]>),
    /// In the block's f32 rows, from an index on.
    Floats(usize),
    /// Of its own, after a row that codes cannot hold.
    Widened(Vec<FloatRow>),
}

impl KvBlock {
    /// Planes of zeros; each keeps rows as codes where they come with a factor (`coded`), or as f32.
    ///
    /// # Errors
    /// [`KvOutOfMemory`].
    pub fn new(heads: usize, head_dim: usize, coded: &[bool]) -> Result<Self, KvOutOfMemory> {
        let rows = heads * head_dim.div_ceil(LANES) * KV_BLOCK;
        let n_coded = coded.iter().filter(|&&coded| coded).count();
        let mut next = [0; 2];
        let plane = |&coded: &bool| {
            let next = &mut next[usize::from(coded)];
            let first = std::mem::replace(next, *next + rows);
            if coded {
                Plane::Codes(first, Box::new([0.0; KV_BLOCK]))
            } else {
                Plane::Floats(first)
            }
        };
        Ok(Self {
            heads,
            head_dim,
            codes: filled(n_coded * rows, CodeRow([0; LANES]))?,
            floats: filled((coded.len() - n_coded) * rows, FloatRow([0.0; LANES]))?,
            planes: coded.iter().map(plane).collect(),
        })
    }

    /// A copy.
    ///
    /// # Errors
    /// [`KvOutOfMemory`].
    pub fn try_clone(&self) -> Result<Self, KvOutOfMemory> {
        let plane = |plane: &Plane| {
            Ok(match plane {
                Plane::Codes(first, factors) => Plane::Codes(*first, factors.clone()),
                Plane::Floats(first) => Plane::Floats(*first),
                Plane::Widened(rows) => Plane::Widened(copied(rows)?),
            })
        };
        Ok(Self {
            heads: self.heads,
            head_dim: self.head_dim,
            codes: copied(&self.codes)?,
            floats: copied(&self.floats)?,
            planes: self.planes.iter().map(plane).collect::<Result<_, _>>()?,
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

    /// Planes.
    pub fn planes(&self) -> usize {
        self.planes.len()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let of_plane = |plane: &Plane| match plane {
            Plane::Codes(_, factors) => size_of_val(&**factors),
            Plane::Floats(_) => 0,
            Plane::Widened(rows) => size_of_val(rows.as_slice()),
        };
        size_of_val(self.codes.as_slice())
            + size_of_val(self.floats.as_slice())
            + self.planes.iter().map(of_plane).sum::<usize>()
    }

    /// Keeps `row`, `[heads][head_dim]`, at place `at` of a plane. `factor`: what all its numbers may be whole multiples of.
    ///
    /// # Errors
    /// [`KvOutOfMemory`] when the row needs f32 and there is no room for it; all other rows are as before then.
    ///
    /// # Panics
    /// When there is no such plane or place, or the row has another length.
    pub fn write(
        &mut self,
        plane: usize,
        at: usize,
        row: &[f32],
        factor: Option<f32>,
    ) -> Result<(), KvOutOfMemory> {
        self.check(at, row.len());
        if !self.write_codes(plane, at, row, factor) {
            self.write_floats(plane, at, row)?;
        }
        Ok(())
    }

    /// What the numbers of the row at place `at` of a plane are whole multiples of; `None` where rows are kept as f32.
    ///
    /// # Panics
    /// When there is no such plane or place.
    pub fn factor(&self, plane: usize, at: usize) -> Option<f32> {
        match &self.planes[plane] {
            Plane::Codes(_, factors) => Some(factors[at]),
            Plane::Floats(_) | Plane::Widened(_) => None,
        }
    }

    /// Copies the row at place `at` of a plane to `out`, `[heads][head_dim]`.
    ///
    /// # Panics
    /// As [`write`](Self::write).
    pub fn read(&self, plane: usize, at: usize, out: &mut [f32]) {
        self.check(at, out.len());
        for (head, out) in out.chunks_exact_mut(self.head_dim).enumerate() {
            for (column, out) in out.chunks_mut(LANES).enumerate() {
                let numbers = match self.head(plane, head) {
                    HeadRows::Codes(rows) => rows.numbers(column, at),
                    HeadRows::Floats(rows) => rows.columns[column][at].0,
                };
                out.copy_from_slice(&numbers[..out.len()]);
            }
        }
    }

    fn check(&self, at: usize, len: usize) {
        assert!(at < KV_BLOCK, "no place {at} in a block");
        assert_eq!(
            len,
            self.heads * self.head_dim,
            "row is not [heads][head_dim]"
        );
    }

    /// Rows of a plane.
    fn rows(&self) -> usize {
        self.heads * self.head_dim.div_ceil(LANES) * KV_BLOCK
    }

    /// False when the row cannot be kept as codes.
    fn write_codes(&mut self, plane: usize, at: usize, row: &[f32], factor: Option<f32>) -> bool {
        let (Plane::Codes(first, factors), Some(factor)) = (&mut self.planes[plane], factor) else {
            return false;
        };
        let inverse = 1.0 / factor;
        let codes = &mut self.codes[*first..];
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

    fn write_floats(&mut self, plane: usize, at: usize, row: &[f32]) -> Result<(), KvOutOfMemory> {
        if matches!(self.planes[plane], Plane::Codes(..)) {
            let mut wide = filled(self.rows(), FloatRow([0.0; LANES]))?;
            let columns = self.head_dim.div_ceil(LANES);
            for (index, row) in wide.iter_mut().enumerate() {
                let (column, at) = (index / KV_BLOCK, index % KV_BLOCK);
                if let HeadRows::Codes(rows) = self.head(plane, column / columns) {
                    row.0 = rows.numbers(column % columns, at);
                }
            }
            self.planes[plane] = Plane::Widened(wide);
        }
        let rows = match &mut self.planes[plane] {
            Plane::Floats(first) => &mut self.floats[*first..],
            Plane::Widened(rows) => rows,
            Plane::Codes(..) => return Ok(()),
        };
        for (column, x) in columns_of(row, self.head_dim).enumerate() {
            rows[column * KV_BLOCK + at].0[..x.len()].copy_from_slice(x);
        }
        Ok(())
    }

    /// One head of a plane.
    pub(crate) fn head(&self, plane: usize, head: usize) -> HeadRows<'_> {
        let columns = self.head_dim.div_ceil(LANES);
        let rows = |first: usize| {
            let start = first + head * columns * KV_BLOCK;
            start..start + columns * KV_BLOCK
        };
        match &self.planes[plane] {
            Plane::Codes(first, factors) => HeadRows::Codes(CodeHead {
                columns: self.codes[rows(*first)].as_chunks().0,
                factors,
            }),
            Plane::Floats(first) => HeadRows::Floats(FloatHead {
                columns: self.floats[rows(*first)].as_chunks().0,
            }),
            Plane::Widened(wide) => HeadRows::Floats(FloatHead {
                columns: wide[rows(0)].as_chunks().0,
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

impl CodeHead<'_> {
    fn numbers(self, column: usize, at: usize) -> [f32; LANES] {
        self.columns[column][at]
            .0
            .map(|code| f32::from(code) * self.factors[at])
    }
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
    let mut rows = reserved(len)?;
    rows.resize(len, value);
    Ok(rows)
}

fn copied<T: Clone>(rows: &[T]) -> Result<Vec<T>, KvOutOfMemory> {
    let mut copy = reserved(rows.len())?;
    copy.extend_from_slice(rows);
    Ok(copy)
}

fn reserved<T>(len: usize) -> Result<Vec<T>, KvOutOfMemory> {
    let mut rows = Vec::new();
    rows.try_reserve_exact(len).map_err(|_| KvOutOfMemory {
        bytes: len.saturating_mul(size_of::<T>()),
    })?;
    prefer_huge_pages(rows.spare_capacity_mut());
    Ok(rows)
}
