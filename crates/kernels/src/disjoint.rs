use std::marker::PhantomData;
use std::ops::Range;

/// A mutable slice whose disjoint parts several threads may write at the same time.
pub(crate) struct DisjointMut<'a, T> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: the parts that threads get are disjoint by `slice`'s contract, so sharing the whole is sharing none of its elements;
// moving elements to another thread needs `T: Send`.
unsafe impl<T: Send> Sync for DisjointMut<'_, T> {}

impl<'a, T> DisjointMut<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            slice: PhantomData,
        }
    }

    /// The elements of `range`.
    ///
    /// # Panics
    /// When `range` does not lie within the slice.
    ///
    /// # Safety
    /// No other part that is alive may overlap `range`.
    pub(crate) unsafe fn slice(&self, range: Range<usize>) -> &'a mut [T] {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "part outside of the slice"
        );
        // SAFETY: the range lies within the slice that `self` borrows mutably for 'a, and the caller promises disjointness.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}
