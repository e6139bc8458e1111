//! Memory of packed weights, in huge pages where the system gives them.
//!
//! A decoded token reads all weights from end to end, and each page costs finding its address: with 4 KiB pages that is a tenth
//! of the time and more. Huge pages must be aligned and whole, but many matrices are smaller than one. So matrices are cut from
//! slabs, which live as long as one of their matrices.

use std::alloc::{Layout, alloc, dealloc};
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::KernelError;
use crate::aligned::Line;

/// What a huge page is on the usual systems, and what slabs are aligned to.
const HUGE_PAGE: usize = 2 << 20;

/// The largest slab that matrices share.
const MAX_SLAB: usize = 64 << 20;

/// Matrices that a slab has room for at least, so that little is left over at its end; larger ones get one of their own.
const MATRICES: usize = 4;

/// Lines of a matrix that is packed.
pub(crate) struct Lines {
    start: NonNull<Line>,
    len: usize,
    /// Keeps the memory; `None` when there is none.
    _slab: Option<Arc<Slab>>,
}

// SAFETY: lines own their part of the slab: no others were given the same ones, and they are written through `&mut` only.
unsafe impl Send for Lines {}
// SAFETY: as above.
unsafe impl Sync for Lines {}

impl Deref for Lines {
    type Target = [Line];

    fn deref(&self) -> &[Line] {
        // SAFETY: the lines lie within the slab, which `self` keeps, and are initialised by the promise of `assume_init`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

/// Lines that are still to be written.
pub(crate) struct FreshLines(Lines);

impl FreshLines {
    pub(crate) const EMPTY: Self = Self(Lines {
        start: NonNull::dangling(),
        len: 0,
        _slab: None,
    });

    pub(crate) fn as_uninit(&mut self) -> &mut [MaybeUninit<Line>] {
        // SAFETY: the lines lie within the slab, which `self` keeps, and no others were given the same ones.
        unsafe { std::slice::from_raw_parts_mut(self.0.start.as_ptr().cast(), self.0.len) }
    }

    /// # Safety
    /// Every line has been written.
    pub(crate) unsafe fn assume_init(self) -> Lines {
        self.0
    }
}

/// Hands out lines.
#[derive(Default)]
pub(crate) struct Memory(Mutex<Current>);

/// The slab that lines are cut from.
#[derive(Default)]
struct Current {
    /// Owned by what was cut from it.
    slab: Weak<Slab>,
    used: usize,
    /// Its bytes; the next is twice as large, so that small models take little.
    size: usize,
}

impl Memory {
    /// `len` lines of no content.
    ///
    /// # Errors
    /// [`KernelError::OutOfMemory`].
    pub(crate) fn take(&self, len: usize) -> Result<FreshLines, KernelError> {
        let bytes = len.saturating_mul(size_of::<Line>());
        let refused = KernelError::OutOfMemory { bytes };
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slab) = current.slab.upgrade()
            && len <= slab.len - current.used
        {
            let start = current.used;
            current.used += len;
            return Ok(slab.lines(start, len));
        }
        let size = (2 * current.size).max(bytes.saturating_mul(MATRICES));
        let size = size.clamp(HUGE_PAGE, MAX_SLAB);
        let shares = bytes.saturating_mul(MATRICES) <= size;
        let shared = shares.then(|| Slab::new(size)).flatten();
        if let Some(slab) = &shared {
            *current = Current {
                slab: Arc::downgrade(slab),
                used: len,
                size,
            };
        }
        let slab = shared.or_else(|| Slab::new(bytes)).ok_or(refused)?;
        Ok(slab.lines(0, len))
    }
}

/// A piece of memory that begins at a huge page.
struct Slab {
    memory: NonNull<Line>,
    len: usize,
    layout: Layout,
}

// SAFETY: a slab owns its memory, and only gives out parts of it.
unsafe impl Send for Slab {}
// SAFETY: as above.
unsafe impl Sync for Slab {}

impl Slab {
    fn new(bytes: usize) -> Option<Arc<Self>> {
        let layout = Layout::from_size_align(bytes.max(size_of::<Line>()), HUGE_PAGE).ok()?;
        // SAFETY: the size is not zero.
        let memory = NonNull::new(unsafe { alloc(layout) })?;
        ask_for_huge_pages(memory, bytes);
        Some(Arc::new(Self {
            memory: memory.cast(),
            len: bytes / size_of::<Line>(),
            layout,
        }))
    }

    /// The `len` lines from `start` on, which the caller gives out once.
    fn lines(self: Arc<Self>, start: usize, len: usize) -> FreshLines {
        debug_assert!(start + len <= self.len, "lines outside of the slab");
        FreshLines(Lines {
            // SAFETY: the lines lie within the slab.
            start: unsafe { self.memory.add(start) },
            len,
            _slab: Some(self),
        })
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        // SAFETY: `new` allocated it with this layout, and lines hold no resources.
        unsafe { dealloc(self.memory.as_ptr().cast(), self.layout) };
    }
}

/// Asks for huge pages in the place of those small ones of `buffer` that have not been touched, where they fit.
pub(crate) fn prefer_huge_pages<T>(buffer: &mut [MaybeUninit<T>]) {
    /// What the system's advice wants; larger pages refuse it.
    const PAGE: usize = 4096;
    let (start, bytes) = (buffer.as_mut_ptr().cast::<u8>(), size_of_val(buffer));
    let to_page = start.align_offset(PAGE);
    if let Some(start) = NonNull::new(start.wrapping_add(to_page))
        && bytes > to_page + PAGE
    {
        ask_for_huge_pages(start, (bytes - to_page) / PAGE * PAGE);
    }
}

/// A refusal costs speed only, so it is not an error.
#[cfg(target_os = "linux")]
fn ask_for_huge_pages(memory: NonNull<u8>, bytes: usize) {
    use std::ffi::{c_int, c_void};
    const MADV_HUGEPAGE: c_int = 14;
    unsafe extern "C" {
        fn madvise(address: *mut c_void, bytes: usize, advice: c_int) -> c_int;
    }
    // SAFETY: the advice concerns memory of the caller's own, and does not change what reads and writes see.
    unsafe { madvise(memory.as_ptr().cast(), bytes, MADV_HUGEPAGE) };
}

/// Nothing: there is no such advice here.
#[cfg(not(target_os = "linux"))]
fn ask_for_huge_pages(_memory: NonNull<u8>, _bytes: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(memory: &Memory, len: usize, byte: u8) -> Lines {
        let mut lines = memory.take(len).expect("memory");
        for line in lines.as_uninit() {
            line.write(Line([byte; 64]));
        }
        // SAFETY: all are written above.
        unsafe { lines.assume_init() }
    }

    #[test]
    fn lines_of_all_sizes_keep_their_content_whatever_is_taken_and_given_back_beside_them() {
        let memory = Memory::default();
        let mut kept = Vec::new();
        for (round, len) in [1, 40_000, 0, 3, 32_768, 70_000, 100, 31]
            .into_iter()
            .enumerate()
        {
            let byte = round as u8;
            kept.push((byte, len, filled(&memory, len, byte)));
            drop(filled(&memory, len, 0xFF));
            if round % 3 == 2 {
                kept.remove(0);
            }
        }
        for (byte, len, lines) in &kept {
            assert_eq!(lines.len(), *len);
            assert!(lines.iter().all(|line| line.0 == [*byte; 64]), "{byte}");
        }
    }

    #[test]
    fn small_matrices_share_a_slab_and_a_slab_ends_with_the_last_of_them() {
        let memory = Memory::default();
        let (first, second) = (filled(&memory, 100, 1), filled(&memory, 100, 2));
        let slab_of = |lines: &Lines| Arc::downgrade(lines._slab.as_ref().expect("a slab"));
        let slab = slab_of(&first);
        assert!(slab.ptr_eq(&slab_of(&second)));
        drop(first);
        assert!(slab.upgrade().is_some());
        drop(second);
        assert!(slab.upgrade().is_none());
        assert_eq!(filled(&memory, 1, 3).len(), 1);
    }

    #[test]
    fn more_than_there_can_be_is_refused() {
        let refused = Memory::default().take(usize::MAX / 2).err();
        assert!(matches!(refused, Some(KernelError::OutOfMemory { .. })));
    }
}
