//! What the tests of this crate share.

use std::path::{Path, PathBuf};

/// The reference models and files.
pub(crate) fn oracle() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/oracle")
}
