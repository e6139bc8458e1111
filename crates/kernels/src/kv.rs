//! The storage of cached keys and values.
//!
//! A ternary product is a whole number times a factor that a token's row shares (`Compute::ternary_matmul`), and that number
//! hardly ever leaves 16 bits. So a row is kept as 16-bit codes and its factor whenever the two give every number of it back, bit
//! for bit, which is verified as it is written: half the memory, and attention half the traffic. A block with rows of which that
//! is not true keeps f32: of whole numbers still where a row has a factor, so that attention does the same with a row whatever
//! else the block holds. Keys are kept as they were before the rotary embedding, which is applied as they are read.
//!
//! Attention multiplies values by their position's weight, but keys by the query's numbers. So values lie position after position,
//! and keys number after number, [`LANES`] positions side by side: neither sum runs across a vector.

use crate::memory::prefer_huge_pages;
use crate::simd::{KEY_UNIT, LANES, ROUND};

/// Positions of one cache block.
pub const KV_BLOCK: usize = 64;

/// Tiles of [`LANES`] positions that the keys of a block are cut into.
pub(crate) const KEY_TILES: usize = KV_BLOCK / LANES;

/// The system has no room for keys or values.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no memory for {bytes} bytes of keys or values")]
pub struct KvOutOfMemory {
    /// What was asked for.
    pub bytes: usize,
}

/// A cache line of codes.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct CodeRow(pub(crate) [i16; LANES]);

/// Two cache lines of numbers.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct FloatRow(pub(crate) [f32; LANES]);

/// Keys and values, such as those of all layers, at [`KV_BLOCK`] positions; without loss. Planes of even index hold keys, the
/// others values.
///
/// Values are laid out `[head][column][KV_BLOCK][32]`, a column being 32 neighbouring numbers of a head (the last one padded).
/// Keys are laid out `[head][tile][pair][32 positions][2]` as codes and `[head][tile][pair][2][32 positions]` as f32; a pair are
/// the numbers `i` and `i + half` of a head, of which the last may be padding, and two rows of 32.
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

/// What each position's whole numbers are multiplied by; 1 where they are the numbers themselves.
type Factors = Box<[f32; KV_BLOCK]>;

/// Where the rows of a plane are.
#[derive(Debug)]
enum Plane {
    /// In the block's codes, from an index on.
    Codes(usize, Factors),
    /// In the block's f32 rows, from an index on: the numbers themselves.
    Floats(usize),
    /// Of its own, after a row that codes cannot hold.
    Widened(Vec<FloatRow>, Factors),
}

/// How the numbers of a plane lie in its rows.
#[derive(Clone, Copy)]
struct Layout {
    keys: bool,
    head_dim: usize,
}

impl Layout {
    fn of(plane: usize, head_dim: usize) -> Self {
        Self {
            keys: plane.is_multiple_of(2),
            head_dim,
        }
    }

    /// Rows of a head.
    fn rows(self) -> usize {
        if self.keys {
            KEY_TILES * 2 * self.half()
        } else {
            self.head_dim.div_ceil(LANES) * KV_BLOCK
        }
    }

    /// Pairs of a head.
    fn half(self) -> usize {
        self.head_dim.div_ceil(2)
    }

    /// What whole numbers are multiples of once they are read.
    fn unit(self) -> f32 {
        if self.keys { KEY_UNIT } else { 1.0 }
    }

    /// Calls `visit(i, code, float)` for each number `i` of a head: the row and lane that it has at place `at` among codes, and
    /// among f32.
    #[inline(always)]
    fn places(self, at: usize, mut visit: impl FnMut(usize, (usize, usize), (usize, usize))) {
        if !self.keys {
            for i in 0..self.head_dim {
                let place = (i / LANES * KV_BLOCK + at, i % LANES);
                visit(i, place, place);
            }
            return;
        }
        let (tile, lane) = (at / LANES, at % LANES);
        let (code_row, code_lane) = (lane / (LANES / 2), lane % (LANES / 2) * 2);
        for which in 0..2 {
            for (pair, i) in (which * self.half()..self.head_dim)
                .enumerate()
                .take(self.half())
            {
                let first = 2 * (tile * self.half() + pair);
                visit(
                    i,
                    (first + code_row, code_lane + which),
                    (first + which, lane),
                );
            }
        }
    }
}

impl KvBlock {
    /// Planes of zeros; each keeps rows as codes where they come with a factor (`coded`), or as f32.
    ///
    /// # Errors
    /// [`KvOutOfMemory`].
    pub fn new(heads: usize, head_dim: usize, coded: &[bool]) -> Result<Self, KvOutOfMemory> {
        let mut next = [0; 2];
        let plane = |(index, &coded): (usize, &bool)| {
            let next = &mut next[usize::from(coded)];
            let rows = heads * Layout::of(index, head_dim).rows();
            let first = std::mem::replace(next, *next + rows);
            if coded {
                Plane::Codes(first, Box::new([0.0; KV_BLOCK]))
            } else {
                Plane::Floats(first)
            }
        };
        let planes = coded.iter().enumerate().map(plane).collect();
        let [floats, codes] = next;
        Ok(Self {
            heads,
            head_dim,
            codes: filled(codes, CodeRow([0; LANES]))?,
            floats: filled(floats, FloatRow([0.0; LANES]))?,
            planes,
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
                Plane::Widened(rows, factors) => Plane::Widened(copied(rows)?, factors.clone()),
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
            Plane::Widened(rows, factors) => size_of_val(rows.as_slice()) + size_of_val(&**factors),
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
        let layout = self.layout(plane);
        let whole = factor.and_then(|factor| Whole::of(row, factor, layout.unit()));
        match (&mut self.planes[plane], whole) {
            (Plane::Codes(first, factors), Some(whole)) if whole.is_narrow() => {
                let heads = self.codes[*first..].chunks_exact_mut(layout.rows());
                for (rows, numbers) in heads.zip(whole.numbers.chunks_exact(self.head_dim)) {
                    layout.places(at, |i, (row, lane), _| {
                        rows[row].0[lane] = numbers[i] as i16
                    });
                }
                factors[at] = whole.factor;
                Ok(())
            }
            (_, whole) => self.write_floats(plane, at, row, whole),
        }
    }

    /// What the numbers of the row at place `at` of a plane are whole multiples of; `None` where rows are kept as f32.
    ///
    /// # Panics
    /// When there is no such plane or place.
    pub fn factor(&self, plane: usize, at: usize) -> Option<f32> {
        match &self.planes[plane] {
            Plane::Codes(_, factors) | Plane::Widened(_, factors) => {
                Some(factors[at] * self.layout(plane).unit())
            }
            Plane::Floats(_) => None,
        }
    }

    /// Copies the row at place `at` of a plane to `out`, `[heads][head_dim]`.
    ///
    /// # Panics
    /// As [`write`](Self::write).
    pub fn read(&self, plane: usize, at: usize, out: &mut [f32]) {
        self.check(at, out.len());
        let layout = self.layout(plane);
        for (head, out) in out.chunks_exact_mut(self.head_dim).enumerate() {
            let HeadRows { rows, factors } = self.head(plane, head);
            layout.places(at, |i, (code_row, code_lane), (row, lane)| {
                let number = match rows {
                    Rows::Codes(rows) => f32::from(rows[code_row].0[code_lane]) * layout.unit(),
                    Rows::Floats(rows) => rows[row].0[lane],
                };
                out[i] = number * factors[at];
            });
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

    fn layout(&self, plane: usize) -> Layout {
        Layout::of(plane, self.head_dim)
    }

    /// Keeps `row` as f32: as whole numbers where there are some, and room for their factor.
    fn write_floats(
        &mut self,
        plane: usize,
        at: usize,
        row: &[f32],
        whole: Option<Whole>,
    ) -> Result<(), KvOutOfMemory> {
        let layout = self.layout(plane);
        if let Plane::Codes(first, factors) = &self.planes[plane] {
            let wide = widened(&self.codes[*first..], self.heads, layout)?;
            self.planes[plane] = Plane::Widened(wide, factors.clone());
        }
        let scaled: Vec<f32>;
        let (rows, numbers) = match &mut self.planes[plane] {
            Plane::Floats(first) => (&mut self.floats[*first..], row),
            Plane::Widened(rows, factors) => match whole {
                Some(whole) => {
                    factors[at] = whole.factor;
                    scaled = whole.numbers.iter().map(|x| x * layout.unit()).collect();
                    (rows.as_mut_slice(), scaled.as_slice())
                }
                None => {
                    factors[at] = 1.0;
                    (rows.as_mut_slice(), row)
                }
            },
            Plane::Codes(..) => return Ok(()),
        };
        let heads = rows.chunks_exact_mut(layout.rows());
        for (rows, numbers) in heads.zip(numbers.chunks_exact(self.head_dim)) {
            layout.places(at, |i, _, (row, lane)| rows[row].0[lane] = numbers[i]);
        }
        Ok(())
    }

    /// One head of a plane.
    pub(crate) fn head(&self, plane: usize, head: usize) -> HeadRows<'_> {
        /// The factors of numbers that are what they are.
        static ONES: [f32; KV_BLOCK] = [1.0; KV_BLOCK];
        let rows = |first: usize| {
            let rows = self.layout(plane).rows();
            first + head * rows..first + (head + 1) * rows
        };
        match &self.planes[plane] {
            Plane::Codes(first, factors) => HeadRows {
                rows: Rows::Codes(&self.codes[rows(*first)]),
                factors,
            },
            Plane::Floats(first) => HeadRows {
                rows: Rows::Floats(&self.floats[rows(*first)]),
                factors: &ONES,
            },
            Plane::Widened(wide, factors) => HeadRows {
                rows: Rows::Floats(&wide[rows(0)]),
                factors,
            },
        }
    }
}

/// One head of a plane, in its layout.
#[derive(Clone, Copy)]
pub(crate) struct HeadRows<'a> {
    pub(crate) rows: Rows<'a>,
    /// What the numbers of each position are to be multiplied by. Codes of keys count [`KEY_UNIT`] each.
    pub(crate) factors: &'a [f32; KV_BLOCK],
}

/// How numbers are kept.
#[derive(Clone, Copy)]
pub(crate) enum Rows<'a> {
    Codes(&'a [CodeRow]),
    Floats(&'a [FloatRow]),
}

/// A row as whole numbers.
struct Whole {
    numbers: Vec<f32>,
    /// What `unit` times a number is to be multiplied by.
    factor: f32,
}

impl Whole {
    /// `None` unless these numbers, times `unit`, times a part of `factor` are `row`, bit for bit.
    fn of(row: &[f32], factor: f32, unit: f32) -> Option<Self> {
        // Anything near `1 / factor` serves: what is not the row's number does not pass the test.
        let (inverse, factor) = (1.0 / factor, factor / unit);
        let mut exact = true;
        let whole = |x: &f32| {
            let number = (x * inverse + ROUND) - ROUND;
            exact &= (number * unit * factor).to_bits() == x.to_bits();
            number
        };
        let numbers: Vec<f32> = row.iter().map(whole).collect();
        // Padding must become zeros.
        (exact && factor.is_finite()).then_some(Self { numbers, factor })
    }

    /// Whether 16 bits hold every number.
    fn is_narrow(&self) -> bool {
        let limit = f32::from(i16::MAX);
        // Without a way out, so that it becomes vectors.
        self.numbers
            .iter()
            .fold(true, |narrow, number| narrow & (number.abs() <= limit))
    }
}

/// The f32 rows of a plane that has been kept as codes.
fn widened(
    codes: &[CodeRow],
    heads: usize,
    layout: Layout,
) -> Result<Vec<FloatRow>, KvOutOfMemory> {
    let mut wide = filled(heads * layout.rows(), FloatRow([0.0; LANES]))?;
    let heads = wide.chunks_exact_mut(layout.rows());
    for (wide, codes) in heads.zip(codes.chunks_exact(layout.rows())) {
        for at in 0..KV_BLOCK {
            layout.places(at, |_, (code_row, code_lane), (row, lane)| {
                wide[row].0[lane] = f32::from(codes[code_row].0[code_lane]) * layout.unit();
            });
        }
    }
    Ok(wide)
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
