//! The quickstart as a show.

use std::process::ExitCode;

use crate::error::{Error, Result};

/// x
pub fn run() -> Result<ExitCode> {
    Err(Error::Input("not yet".into()))
}
