//! The program as the cluster controller `spiderpool-controller`, and as `spiderpool-init`.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use polynic_cni::cause::chain;
use polynic_controller::command::{self, CommandError};

/// The name of the controller; also `polynic controller`.
pub(crate) const NAME: &str = "spiderpool-controller";
/// The name of the Job that makes the objects an installation starts with.
pub(crate) const INIT: &str = "spiderpool-init";

/// Serves a command line of the controller.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let environment = |name: &str| std::env::var(name).ok();
    ended(NAME, command::run(arguments, &environment))
}

/// Serves a command line of the Job.
pub(crate) fn init(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let environment = |name: &str| std::env::var(name).ok();
    ended(INIT, command::init(arguments, &environment))
}

fn ended(name: &str, outcome: Result<(), CommandError>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    let _ = writeln!(io::stderr(), "{name}: {}", chain(&error));
    ExitCode::FAILURE
}
