//! The routing plugins on the fake kernel.

mod check;
mod families;
mod golden;
mod machine;
mod multipath;
mod odds;
mod pods;
mod two_nics;
