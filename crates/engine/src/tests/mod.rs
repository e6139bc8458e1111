//! The engine over a model that says what a test wants: answers, scheduling, limits and faults, without weights.

mod answers;
mod constraints;
mod embeddings;
mod fake;
mod faults;
mod kv_budget;
mod limits;
mod prefix_files;
mod scheduling;
mod speculation;
