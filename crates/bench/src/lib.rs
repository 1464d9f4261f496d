//! What several benchmarks need: API servers with objects, and what processes have used.

pub mod cluster;
pub mod process;
