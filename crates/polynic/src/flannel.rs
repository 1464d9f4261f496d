//! The program as flannel's daemon `flanneld`.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use polynic_agent::flannel::command::{Asked, command};

use crate::plugin::seed;

/// The name it is called by.
pub(crate) const NAME: &str = "flanneld";

/// Serves until a signal ends it.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let environment = |name: &str| std::env::var(name).ok();
    match command(arguments, &environment, seed()) {
        Ok(Asked::Done) => ExitCode::SUCCESS,
        Ok(Asked::Version) => {
            let _ = writeln!(io::stderr(), "polynic {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            let _ = writeln!(io::stderr(), "{NAME}: {text}");
            ExitCode::FAILURE
        }
    }
}
