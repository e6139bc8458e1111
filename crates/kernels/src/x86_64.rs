pub(crate) mod avx2;
pub(crate) mod avx512_vbmi;
pub(crate) mod avx512_vnni;
pub(crate) mod avxvnni;
