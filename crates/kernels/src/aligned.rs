use std::mem::MaybeUninit;

use crate::KernelError;
use crate::disjoint::DisjointMut;
use crate::pool::Pool;

/// One line of a panel: 64 bytes, a cache line and a 512-bit vector, so that no load crosses two cache lines.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u8; 64]);

/// A buffer that begins at a cache line, so that vectors of whole lines load from one line each.
#[derive(Default)]
pub(crate) struct Scratch(Vec<Line>);

impl Scratch {
    /// The first `len` lines; what they hold is left over from earlier uses.
    pub(crate) fn lines(&mut self, len: usize) -> &mut [Line] {
        if self.0.len() < len {
            self.0.resize(len, Line([0; 64]));
        }
        &mut self.0[..len]
    }

    /// The first `len` numbers; what they hold is left over from earlier uses.
    pub(crate) fn f32s(&mut self, len: usize) -> &mut [f32] {
        const PER_LINE: usize = size_of::<Line>() / size_of::<f32>();
        let lines = self.lines(len.div_ceil(PER_LINE));
        // SAFETY: the lines are initialised, at least `len` numbers long and aligned for f32, of which all bits are valid.
        unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), len) }
    }
}

/// `count` parts of `part` lines each, made by `fill(index, lines)` on the pool's threads.
///
/// The lines handed to `fill` hold `init`. Each thread touches the pages of its own parts first, so that the system's zeroing
/// of fresh pages is shared between the threads too.
///
/// # Errors
/// [`KernelError::OutOfMemory`].
pub(crate) fn fill_parts<F>(
    pool: &Pool,
    count: usize,
    part: usize,
    init: Line,
    fill: F,
) -> Result<Vec<Line>, KernelError>
where
    F: Fn(usize, &mut [Line]) + Sync,
{
    let len = count.saturating_mul(part);
    let mut lines: Vec<Line> = Vec::new();
    let refused = |_| KernelError::OutOfMemory {
        bytes: len.saturating_mul(size_of::<Line>()),
    };
    lines.try_reserve_exact(len).map_err(refused)?;
    let parts = DisjointMut::new(&mut lines.spare_capacity_mut()[..len]);
    pool.run(count, 1, &|range| {
        for index in range {
            // SAFETY: the pool hands out every index once, and parts of different indices do not overlap.
            let lines = unsafe { parts.slice(index * part..(index + 1) * part) };
            fill(index, initialize(lines, init));
        }
    });
    // SAFETY: the pool has run every part, and each was initialised above.
    unsafe { lines.set_len(len) };
    Ok(lines)
}

fn initialize(lines: &mut [MaybeUninit<Line>], value: Line) -> &mut [Line] {
    for line in lines.iter_mut() {
        line.write(value);
    }
    // SAFETY: every element was written in the loop above.
    unsafe { &mut *(std::ptr::from_mut(lines) as *mut [Line]) }
}
