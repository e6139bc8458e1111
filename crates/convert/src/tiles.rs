//! Tile sizes of TL1 and TL2 tensors that are written.

use llm_format::{Dtype, KernelShape};
use llm_kernels::TlTiles;

use crate::error::ConvertError;

/// Tiles of a `rows` x `cols` matrix: those of a kernel configuration, else the largest that divide it.
pub(crate) fn choose(
    dtype: Dtype,
    rows: usize,
    cols: usize,
    given: &[KernelShape],
) -> Result<TlTiles, ConvertError> {
    let is_tl2 = dtype == Dtype::Tl2;
    if let Some(shape) = given
        .iter()
        .find(|shape| (shape.rows, shape.cols) == (rows, cols))
    {
        return Ok(TlTiles {
            bm: shape.bm,
            bk: shape.bk,
            bmm: if is_tl2 { 32 } else { shape.bmm },
        });
    }
    // What the generators of the lookup kernels are called with, largest first.
    let bm = [320, 256, 160, 128, 96, 64, 32]
        .into_iter()
        .find(|&bm| rows.is_multiple_of(bm));
    let bk = if is_tl2 {
        [192, 96]
            .into_iter()
            .find(|&bk| cols >= 256 && (cols % bk).is_multiple_of(32))
    } else {
        [128, 64, 32, 16, 8]
            .into_iter()
            .find(|&bk| cols.is_multiple_of(bk))
    };
    match (bm, bk) {
        (Some(bm), Some(bk)) => Ok(TlTiles { bm, bk, bmm: 32 }),
        _ => Err(ConvertError::Unsupported {
            what: format!("a matrix of {rows} x {cols} as {dtype}"),
            why: "no tiles of the layout divide it".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_tiles_come_first_and_others_divide_the_matrix() {
        let given = [KernelShape {
            rows: 640,
            cols: 2560,
            bm: 64,
            bk: 256,
            bmm: 64,
        }];
        let tiles = |bm, bk, bmm| TlTiles { bm, bk, bmm };
        assert_eq!(
            choose(Dtype::Tl1, 640, 2560, &given).unwrap(),
            tiles(64, 256, 64)
        );
        assert_eq!(
            choose(Dtype::Tl2, 640, 2560, &given).unwrap(),
            tiles(64, 256, 32)
        );
        assert_eq!(
            choose(Dtype::Tl1, 6912, 2560, &given).unwrap(),
            tiles(256, 128, 32)
        );
        assert_eq!(
            choose(Dtype::Tl2, 2560, 6912, &given).unwrap(),
            tiles(320, 192, 32)
        );
        assert!(choose(Dtype::Tl1, 48, 2560, &given).is_err());
        assert!(choose(Dtype::Tl2, 64, 128, &given).is_err());
    }
}
