//! Forward passes against golden outputs of reference implementations in testdata/oracle, by the rules of its README, and what they
//! promise of each other.

mod embeddings;
mod goldens;
mod head;
mod support;
