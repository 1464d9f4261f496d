//! The program as the node agent `spiderpool-agent`.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use polynic_agent::command;

use crate::plugin::seed;

/// The name it is called by; also `polynic agent`.
pub(crate) const NAME: &str = "spiderpool-agent";

/// Serves until a signal ends it.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let environment = |name: &str| std::env::var(name).ok();
    match command::run(arguments, &environment, seed()) {
        Ok(()) => ExitCode::SUCCESS,
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
