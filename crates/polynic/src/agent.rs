//! The program as the node agent, and as each daemon that it replaces.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use polynic_agent::{CommandError, command};
use polynic_agent::{cni, flannel};

use crate::command::help_text;
use crate::multus::says_version;
use crate::plugin::seed;

/// Serves as one of the replaced daemons, if it is one, until a signal ends it.
pub(crate) fn run_alone(name: &str, arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    if !command::is_service(name) {
        return None;
    }
    let arguments: Vec<OsString> = arguments.collect();
    if name == cni::command::NAME && says_version(name, arguments.iter().cloned()) {
        // As the replaced daemon ends (spec/multus.md 1).
        return Some(ExitCode::from(4));
    }
    if name == flannel::command::NAME && flannel::command::says_version(&words(arguments.iter().cloned())) {
        let _ = writeln!(io::stderr(), "polynic {}", env!("CARGO_PKG_VERSION"));
        return Some(ExitCode::SUCCESS);
    }
    let words = words(arguments.into_iter());
    if command::asks_for_help(&words) {
        return Some(help_text(&command::help(Some(name))));
    }
    Some(ended(name, command::run(name, &words, &environment, seed())))
}

/// Serves as the agent with all its services until a signal ends it.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let words = words(arguments);
    if command::asks_for_help(&words) {
        return help_text(&command::help(words.first().map(String::as_str)));
    }
    ended("polynic agent", command::run_agent(&words, &environment, seed()))
}

fn words(arguments: impl Iterator<Item = OsString>) -> Vec<String> {
    arguments.map(|word| word.to_string_lossy().into_owned()).collect()
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn ended(name: &str, outcome: Result<(), CommandError>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    let text = error.text();
    // A service that runs alone has said its name by then.
    let own = command::services().find_map(|service| text.strip_prefix(service)?.strip_prefix(": "));
    let text = own.filter(|_| command::is_service(name)).unwrap_or(&text);
    let _ = writeln!(io::stderr(), "{name}: {text}");
    ExitCode::from(error.exit_code())
}
