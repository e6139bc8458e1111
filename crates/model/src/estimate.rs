//! How much memory a model will take, from what its file says of its tensors.

use llm_format::{Dtype, ModelFile, Tensor};
use llm_kernels::{Kernels, TernaryMatrix};

/// Bytes that the copy of a head for its search takes of each weight, at most.
const HEAD_COPY_BYTES: u64 = 2;

/// Bytes of our own memory that the weights of `file` take once they are loaded, at most.
///
/// Matrices of whatever type count as if they were packed for `kernels`; the larger of embedding and head with the copy
/// that its search reads; vectors as f32. What stays in the mapped file is not counted, as the system takes such pages back when
/// memory is short. Keys and values come on top as sequences grow.
#[must_use]
pub fn resident_bound(file: &ModelFile, kernels: Kernels) -> u64 {
    let mut projections = 0_u64;
    let mut head = 0_u64;
    for tensor in file.tensors() {
        if is_vocabulary(&tensor) {
            head = head.max(elements(&tensor).saturating_mul(HEAD_COPY_BYTES));
        } else {
            projections = projections.saturating_add(packed(&tensor, kernels));
        }
    }
    projections.saturating_add(head)
}

fn elements(tensor: &Tensor) -> u64 {
    tensor
        .shape
        .iter()
        .fold(1, |product, &size| product.saturating_mul(size as u64))
}

/// The bytes of a tensor as it is used: a matrix in panels for `kernels`.
fn packed(tensor: &Tensor, kernels: Kernels) -> u64 {
    match (tensor.dtype, tensor.shape.as_slice()) {
        // Four rows in a byte.
        (Dtype::U8, &[rows, cols]) => {
            TernaryMatrix::bytes_of(kernels, rows.saturating_mul(4), cols)
        }
        (_, &[rows, cols]) => TernaryMatrix::bytes_of(kernels, rows, cols),
        _ => elements(tensor).saturating_mul(4),
    }
}

/// Whether a tensor is the embedding or the head, by the names of all families.
fn is_vocabulary(tensor: &Tensor) -> bool {
    let name = tensor.name.as_str();
    name.contains("embed_tokens")
        || name.starts_with("lm_head.")
        || name.starts_with("token_embd.")
        || name.starts_with("output.")
}
