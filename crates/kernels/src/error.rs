use crate::Isa;

/// What a kernel or a packer refuses.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The name is none of [`Isa`]'s.
    #[error("unknown instruction set `{name}`; known: {}", Isa::ALL.map(Isa::name).join(", "))]
    UnknownIsa {
        /// The name as given.
        name: String,
    },
    /// The processor lacks the instruction set.
    #[error("this processor has no {isa}")]
    IsaUnavailable {
        /// What was asked for.
        isa: Isa,
    },
    /// A buffer's length does not fit the shape.
    #[error("{what}: expected {expected} bytes, found {actual}")]
    Length {
        /// Which buffer.
        what: &'static str,
        /// Bytes that the shape needs.
        expected: usize,
        /// Bytes that are there.
        actual: usize,
    },
    /// A dimension does not divide into the layout's groups.
    #[error("{layout}: {dimension} must be a multiple of {multiple}, found {actual}")]
    NotMultiple {
        /// The weight layout.
        layout: &'static str,
        /// `rows` or `cols`.
        dimension: &'static str,
        /// The group size.
        multiple: usize,
        /// The dimension as given.
        actual: usize,
    },
    /// A dimension is zero, or so large that sizes or sums could overflow.
    #[error("unsupported matrix shape {rows} x {cols}")]
    Shape {
        /// Output features.
        rows: usize,
        /// Input features.
        cols: usize,
    },
    /// A two-bit code that stands for no weight.
    #[error("row {row}: code 3 is no ternary weight")]
    InvalidCode {
        /// The first row with such a code.
        row: usize,
    },
    /// Rows of a matrix that must have one scale have several.
    #[error(
        "row {row} has the scale {scale}, others have {expected}: only one for the whole tensor is supported"
    )]
    RowScales {
        /// The first such row.
        row: usize,
        /// Its scale.
        scale: f32,
        /// That of the rows before it.
        expected: f32,
    },
    /// The tiles of a layout for lookup kernels do not divide the matrix.
    #[error(
        "{layout}: tiles of {} rows (groups of {}) and {} columns do not fit a matrix of {rows} x {cols}",
        tiles.bm, tiles.bmm, tiles.bk
    )]
    Tiles {
        /// TL1 or TL2.
        layout: &'static str,
        /// Output features.
        rows: usize,
        /// Input features.
        cols: usize,
        /// The tiles as given.
        tiles: crate::TlTiles,
    },
    /// A weight scale is NaN or infinite.
    #[error("weight scale is {scale}, expected a finite number")]
    NonFiniteScale {
        /// The scale as given.
        scale: f32,
    },
    /// A master weight is NaN or infinite, so no scale can be formed.
    #[error("row {row}: a weight is NaN or infinite")]
    NonFiniteWeight {
        /// The first row with such a weight.
        row: usize,
    },
    /// Master weights come as F32, F16 or BF16 only.
    #[error("master weights cannot be of type {dtype}")]
    MasterType {
        /// The type as given.
        dtype: crate::DenseType,
    },
    /// Weights are not written in this type.
    #[error("weights cannot be converted to {dtype}; to F32, F16, BF16, Q8_0 and Q6_K they can")]
    EncodeType {
        /// The type as given.
        dtype: crate::DenseType,
    },
    /// A weight does not fit a type.
    #[error("row {row}: a weight is not finite, or beyond what {dtype} holds")]
    OutOfRange {
        /// The first row with such a weight.
        row: usize,
        /// The type.
        dtype: crate::DenseType,
    },
    /// The system has no room for the packed weights.
    #[error("no memory for {bytes} bytes of packed weights")]
    OutOfMemory {
        /// What they take.
        bytes: usize,
    },
    /// A pool has at least one thread (the caller) and at most [`MAX_THREADS`](crate::Compute::MAX_THREADS).
    #[error("thread count must be 1 to {max}, found {threads}")]
    ThreadCount {
        /// The count as given.
        threads: usize,
        /// The largest count allowed.
        max: usize,
    },
    /// The system refused a thread.
    #[error("cannot start a compute thread")]
    ThreadSpawn {
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
}
