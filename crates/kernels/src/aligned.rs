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

/// `count` parts of `part` lines each, made by `fill(index, lines)` on the pool's threads; see [`fill_parts_of`].
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
    let [lines] = fill_parts_of(pool, count, [part], init, |index, [lines]| {
        fill(index, lines);
    })?;
    Ok(lines)
}

/// `N` buffers of `count` parts each, `parts` lines long, made by `fill(index, lines)` on the pool's threads.
///
/// The lines handed to `fill` hold `init`. Each thread touches the pages of its own parts first, so that the system's zeroing
/// of fresh pages is shared between the threads too.
///
/// # Errors
/// [`KernelError::OutOfMemory`].
pub(crate) fn fill_parts_of<const N: usize, F>(
    pool: &Pool,
    count: usize,
    parts: [usize; N],
    init: Line,
    fill: F,
) -> Result<[Vec<Line>; N], KernelError>
where
    F: Fn(usize, [&mut [Line]; N]) + Sync,
{
    let mut buffers = [const { Vec::new() }; N];
    for (buffer, part) in buffers.iter_mut().zip(parts) {
        let len = count.saturating_mul(part);
        let refused = |_| KernelError::OutOfMemory {
            bytes: len.saturating_mul(size_of::<Line>()),
        };
        buffer.try_reserve_exact(len).map_err(refused)?;
        ask_for_huge_pages(buffer.spare_capacity_mut());
    }
    let spare = buffers.each_mut().map(|buffer| {
        let spare = buffer.spare_capacity_mut();
        DisjointMut::new(spare)
    });
    pool.run(count, 1, &|range| {
        for index in range {
            let lines = std::array::from_fn(|i| {
                // SAFETY: the pool hands out every index once, and parts of different indices do not overlap.
                let lines = unsafe { spare[i].slice(index * parts[i]..(index + 1) * parts[i]) };
                initialize(lines, init)
            });
            fill(index, lines);
        }
    });
    for (buffer, part) in buffers.iter_mut().zip(parts) {
        // SAFETY: the pool has run every part, and each was initialised above.
        unsafe { buffer.set_len(count * part) };
    }
    Ok(buffers)
}

/// Asks the system for large pages in the place of small ones, which it gives on their first touch where it can: weights that
/// are read from end to end come about a tenth faster with them, and fewer pages are to be zeroed.
#[cfg(target_os = "linux")]
fn ask_for_huge_pages(lines: &mut [MaybeUninit<Line>]) {
    use std::ffi::{c_int, c_void};
    /// The smallest page of a system that knows the advice.
    const PAGE: usize = 4096;
    const MADV_HUGEPAGE: c_int = 14;
    unsafe extern "C" {
        fn madvise(address: *mut c_void, bytes: usize, advice: c_int) -> c_int;
    }
    let bytes = size_of_val(lines);
    let start: *mut c_void = lines.as_mut_ptr().cast();
    let to_page = start.align_offset(PAGE);
    if bytes >= to_page + 2 * PAGE {
        let whole_pages = (bytes - to_page) / PAGE * PAGE;
        // SAFETY: the pages lie within the buffer, and the advice changes no content. That it may be refused does not matter.
        unsafe { madvise(start.byte_add(to_page), whole_pages, MADV_HUGEPAGE) };
    }
}

/// Other systems have no such advice.
#[cfg(not(target_os = "linux"))]
fn ask_for_huge_pages(_lines: &mut [MaybeUninit<Line>]) {}

fn initialize(lines: &mut [MaybeUninit<Line>], value: Line) -> &mut [Line] {
    for line in lines.iter_mut() {
        line.write(value);
    }
    // SAFETY: every element was written in the loop above.
    unsafe { &mut *(std::ptr::from_mut(lines) as *mut [Line]) }
}
