//! The quickstart as a show.

use std::process::ExitCode;

use crate::error::{Error, Result};

/// x
pub fn run() -> Result<ExitCode> {
    Err(Error::Input("not yet".into()))
}

/// x
pub fn show(world: &crate::scenario::world::World) -> Result<ExitCode> {
    let _ = world;
    Err(Error::Input("not yet".into()))
}
