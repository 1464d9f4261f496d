//! The program as the cluster controller `spiderpool-controller`, and as `spiderpool-init`.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use polynic_agent::command::asks_for_help;
use polynic_cni::cause::chain;
use polynic_controller::command::{self, CommandError};

use crate::command::help_text;

/// The name of the controller; also `polynic controller`.
pub(crate) const NAME: &str = "spiderpool-controller";
/// The name of the Job that makes the objects an installation starts with.
pub(crate) const INIT: &str = "spiderpool-init";

/// Serves a command line of the controller.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    served(NAME, arguments, |arguments| command::run(arguments, &environment))
}

/// Serves a command line of the Job.
pub(crate) fn init(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    served(INIT, arguments, |arguments| command::init(arguments, &environment))
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn served(
    name: &str,
    arguments: impl Iterator<Item = OsString>,
    run: impl FnOnce(std::vec::IntoIter<OsString>) -> Result<(), CommandError>,
) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    let words: Vec<String> = arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    if asks_for_help(&words) {
        return help_text(&format!("{}\n", command::USAGE));
    }
    ended(name, run(arguments.into_iter()))
}

fn ended(name: &str, outcome: Result<(), CommandError>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    let _ = writeln!(io::stderr(), "{name}: {}", chain(&error));
    ExitCode::FAILURE
}
