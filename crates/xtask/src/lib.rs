//! What developers' tasks share with tests: how what is shipped is packed.

pub mod image;
