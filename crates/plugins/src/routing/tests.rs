//! The routing plugins on the fake kernel.

mod golden;
mod machine;
mod pods;
