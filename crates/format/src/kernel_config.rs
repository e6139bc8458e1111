//! `kernel_config.ini`: the shapes that bitnet.cpp's lookup kernels were generated for, and the tiles of each.

use std::path::Path;

use crate::error::FormatError;
use crate::files;

/// Real files have a few hundred bytes.
const MAX_LEN: u64 = 1 << 16;

/// One section: a weight matrix of `rows` x `cols`, cut into tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelShape {
    /// `m`: output features.
    pub rows: usize,
    /// `k`: input features.
    pub cols: usize,
    /// `bm`: rows of a tile.
    pub bm: usize,
    /// `bk`: columns of a tile.
    pub bk: usize,
    /// `bmm`: rows of a group within a tile.
    pub bmm: usize,
}

/// Reads the sections of a `kernel_config.ini`, in their order:
///
/// ```text
/// [Kernels_0]
/// m = 1536
/// k = 4096
/// bm = 256
/// bk = 128
/// bmm = 32
/// ```
///
/// # Errors
/// Why the file cannot be read; [`FormatError::KernelConfig`] with the section that lacks a key or has a number that is none.
pub fn read_kernel_config(path: &Path) -> Result<Vec<KernelShape>, FormatError> {
    let text = files::read_text(path, MAX_LEN)?;
    parse(&text).map_err(|problem| FormatError::KernelConfig {
        path: path.to_owned(),
        problem,
    })
}

fn parse(text: &str) -> Result<Vec<KernelShape>, String> {
    let mut shapes = Vec::new();
    // What stands before the first section is empty or a comment.
    for section in text.split('[').skip(1) {
        let (title, body) = section.split_once(']').unwrap_or((section, ""));
        let number = |key: &str| {
            body.lines()
                .filter_map(|line| line.split_once('='))
                .find(|(name, _)| name.trim() == key)
                .and_then(|(_, value)| value.trim().parse::<usize>().ok())
                .filter(|&value| value > 0)
                .ok_or_else(|| {
                    let title: String = title.chars().take(40).collect();
                    format!("section [{title}] lacks a number `{key}` above 0")
                })
        };
        shapes.push(KernelShape {
            rows: number("m")?,
            cols: number("k")?,
            bm: number("bm")?,
            bk: number("bk")?,
            bmm: number("bmm")?,
        });
    }
    if shapes.is_empty() {
        return Err("it has no section".to_owned());
    }
    Ok(shapes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_become_shapes() {
        let text = "[Kernels_0]\nm = 1536\nk = 4096\nbm = 256\nbk = 128\nbmm = 32\n\n[Kernels_1]\r\nm=8\r\nk=7\r\nbm=6\r\nbk=5\r\nbmm=4\r\n";
        let shape = |rows, cols, bm, bk, bmm| KernelShape {
            rows,
            cols,
            bm,
            bk,
            bmm,
        };
        let expected = [shape(1536, 4096, 256, 128, 32), shape(8, 7, 6, 5, 4)];
        assert_eq!(parse(text).as_deref(), Ok(&expected[..]));
    }

    #[test]
    fn what_is_missing_is_named() {
        for (text, expected) in [
            ("", "no section"),
            ("m = 5", "no section"),
            (
                "[Kernels_0]\nm = 5\nbm = 1",
                "[Kernels_0] lacks a number `k`",
            ),
            ("[a]\nm = 0", "[a] lacks a number `m`"),
            ("[a]\nm = x", "[a] lacks a number `m`"),
            ("[a", "[a] lacks a number `m`"),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.contains(expected), "{text:?}: {problem}");
        }
    }
}
