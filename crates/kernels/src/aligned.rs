use std::mem::MaybeUninit;

use crate::disjoint::DisjointMut;
use crate::pool::Pool;

/// One line of a panel: 64 bytes, a cache line and a 512-bit vector, so that no load crosses two cache lines.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u8; 64]);

/// `count` parts of `part` lines each, made by `fill(index, lines)` on the pool's threads.
///
/// The lines handed to `fill` hold `init`. Each thread touches the pages of its own parts first, so that the system's zeroing
/// of fresh pages is shared between the threads too.
pub(crate) fn fill_parts<F>(
    pool: &Pool,
    count: usize,
    part: usize,
    init: Line,
    fill: F,
) -> Vec<Line>
where
    F: Fn(usize, &mut [Line]) + Sync,
{
    let mut lines: Vec<Line> = Vec::with_capacity(count * part);
    let parts = DisjointMut::new(&mut lines.spare_capacity_mut()[..count * part]);
    pool.run(count, 1, &|range| {
        for index in range {
            // SAFETY: the pool hands out every index once, and parts of different indices do not overlap.
            let lines = unsafe { parts.slice(index * part..(index + 1) * part) };
            fill(index, initialize(lines, init));
        }
    });
    // SAFETY: the pool has run every part, and each was initialised above.
    unsafe { lines.set_len(count * part) };
    lines
}

fn initialize(lines: &mut [MaybeUninit<Line>], value: Line) -> &mut [Line] {
    for line in lines.iter_mut() {
        line.write(value);
    }
    // SAFETY: every element was written in the loop above.
    unsafe { &mut *(std::ptr::from_mut(lines) as *mut [Line]) }
}
