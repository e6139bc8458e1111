//! Tile sizes of TL1 and TL2 tensors.
//!
//! bitnet.cpp compiles them into its kernels and writes them to a `kernel_config.ini`, but not to the model file. A file of our
//! own states them; for others the configuration is given, or the shape is one for which there is only one set.

use llm_format::{Dtype, ModelFile, Tensor};
use llm_kernels::TlTiles;

use super::WeightReader;
use crate::error::ModelError;

/// The metadata key under which our own files keep tile sizes: five numbers a shape: rows and
/// columns of the matrix, then rows and columns of a tile, and rows of a group.
pub const TILES_KEY: &str = "llm_runner.tl_tiles";

/// Rows and columns of a matrix, then its tiles: rows, columns, rows of a group.
type Shape = [usize; 5];

/// What the generator of TL1 kernels makes for bitnet_b1_58-large and -3B. For Llama3-8B there are two sets, one checked in and
/// one that setting up generates, so that neither can be taken for granted.
const TL1: [Shape; 6] = [
    [1536, 4096, 256, 128, 32],
    [1536, 1536, 128, 64, 64],
    [4096, 1536, 256, 128, 32],
    [3200, 8640, 160, 64, 32],
    [3200, 3200, 320, 128, 64],
    [8640, 3200, 320, 64, 32],
];

/// What the generator of TL2 kernels makes for bitnet_b1_58-large, -3B and Llama3-8B.
const TL2: [Shape; 10] = [
    [1536, 4096, 256, 96, 32],
    [1536, 1536, 128, 192, 32],
    [4096, 1536, 256, 96, 32],
    [3200, 8640, 160, 96, 32],
    [3200, 3200, 320, 96, 32],
    [8640, 3200, 320, 96, 32],
    [14336, 4096, 256, 96, 32],
    [4096, 14336, 128, 96, 32],
    [1024, 4096, 256, 96, 32],
    [4096, 4096, 128, 96, 32],
];

impl WeightReader<'_> {
    /// The tiles of a TL1 or TL2 tensor: as given, as its file states, as generated for its shape.
    pub(super) fn tiles(
        &self,
        tensor: &Tensor,
        rows: usize,
        cols: usize,
    ) -> Result<TlTiles, ModelError> {
        let given = self.options.kernel_shapes.iter().map(|shape| {
            // TL2 kernels know groups of 32 rows only, whatever a configuration says.
            let group = if tensor.dtype == Dtype::Tl2 {
                32
            } else {
                shape.bmm
            };
            [shape.rows, shape.cols, shape.bm, shape.bk, group]
        });
        let generated = if tensor.dtype == Dtype::Tl1 {
            &TL1[..]
        } else {
            &TL2
        };
        given
            .chain(stated(self.file)?)
            .chain(generated.iter().copied())
            .find(|shape| shape[..2] == [rows, cols])
            .map(|[_, _, bm, bk, bmm]| TlTiles { bm, bk, bmm })
            .ok_or_else(|| ModelError::TilesUnknown {
                name: tensor.name.clone(),
                dtype: tensor.dtype.name(),
                rows,
                cols,
            })
    }
}

/// The tile sizes that a file states.
fn stated(file: &ModelFile) -> Result<Vec<Shape>, ModelError> {
    let ModelFile::Gguf(gguf) = file else {
        return Ok(Vec::new());
    };
    let numbers = gguf.metadata().u32s(TILES_KEY)?.unwrap_or_default();
    let shapes = numbers.as_chunks().0.iter();
    Ok(shapes.map(|shape| shape.map(|n: u32| n as usize)).collect())
}
