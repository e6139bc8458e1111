use std::mem::MaybeUninit;

use crate::disjoint::DisjointMut;
use crate::memory::{FreshLines, Lines};
use crate::{Compute, KernelError};

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

/// `count` parts of `part` lines each, made by `fill(index, lines)` on the compute's threads; see [`fill_parts_of`].
///
/// # Errors
/// [`KernelError::OutOfMemory`].
pub(crate) fn fill_parts<F>(
    compute: &Compute,
    count: usize,
    part: usize,
    init: Line,
    fill: F,
) -> Result<Lines, KernelError>
where
    F: Fn(usize, &mut [Line]) + Sync,
{
    let [lines] = fill_parts_of(compute, count, [part], init, |index, [lines]| {
        fill(index, lines);
    })?;
    Ok(lines)
}

/// `N` buffers of `count` parts each, `parts` lines long, made by `fill(index, lines)` on the compute's threads.
///
/// The lines handed to `fill` hold `init`. Each thread touches the pages of its own parts first, so that the system's zeroing
/// of fresh pages is shared between the threads too.
///
/// # Errors
/// [`KernelError::OutOfMemory`].
pub(crate) fn fill_parts_of<const N: usize, F>(
    compute: &Compute,
    count: usize,
    parts: [usize; N],
    init: Line,
    fill: F,
) -> Result<[Lines; N], KernelError>
where
    F: Fn(usize, [&mut [Line]; N]) + Sync,
{
    let mut buffers = [const { FreshLines::EMPTY }; N];
    for (buffer, part) in buffers.iter_mut().zip(parts) {
        *buffer = compute.memory().take(count.saturating_mul(part))?;
    }
    let spare = buffers
        .each_mut()
        .map(|buffer| DisjointMut::new(buffer.as_uninit()));
    compute.pool().run(count, 1, &|range| {
        for index in range {
            let lines = std::array::from_fn(|i| {
                // SAFETY: the pool hands out every index once, and parts of different indices do not overlap.
                let lines = unsafe { spare[i].slice(index * parts[i]..(index + 1) * parts[i]) };
                initialize(lines, init)
            });
            fill(index, lines);
        }
    });
    // SAFETY: the pool has run every part, and each was initialised above.
    Ok(buffers.map(|buffer| unsafe { buffer.assume_init() }))
}

fn initialize(lines: &mut [MaybeUninit<Line>], value: Line) -> &mut [Line] {
    for line in lines.iter_mut() {
        line.write(value);
    }
    // SAFETY: every element was written in the loop above.
    unsafe { &mut *(std::ptr::from_mut(lines) as *mut [Line]) }
}
