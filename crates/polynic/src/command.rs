//! The program under its own name.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use polynic_install::files::FileError;
use polynic_install::programs::Programs;

use crate::{cluster, controller, explain};

const HELP: &str = "\
polynic: many networks for Kubernetes pods

  polynic install DIR [PLUGIN...]
                          put CNI plugins (all, or those named) into DIR, as links to one file; what was there is kept aside
  polynic uninstall [ROOT]
                          take configuration, credentials and plugins off the node below ROOT (default /); what was there comes back
  polynic agent           run the node agent: every service whose configuration is there, or those that are named;
                          each also under the name of the daemon that it replaces (spiderpool-agent, ...)
  polynic controller      run the cluster controller; also as spiderpool-controller
  polynic plugins         list the built-in plugins
  polynic pools [POOL]    how full the address pools are; with POOL: who holds what
  polynic doctor          check pools, endpoints and pods against each other: what is wrong, and what to do
  polynic doctor node [ROOT]
                          on a node: what keeps its pods from their networks (plugins, configurations, sockets, full disks)
  polynic explain POD --to ADDRESS[:PORT] [--from ADDRESS] [--iface NIC] [-n NAMESPACE] [--node-side] [--netns PATH]
                          why a packet of the pod takes the path it takes, and whether the reply comes back
  polynic names           list every name by which this program can be called
  polynic version         print the version
  polynic help            print this

pools and doctor take --kubeconfig FILE (or KUBECONFIG), all three -o json. doctor exits with 1 if something is wrong,
explain if the packet or its reply is lost. explain runs on the pod's node.

Called by the name of a plugin (macvlan, bridge, host-local, ...) it is that plugin.
";

/// The program that runs.
const OWN: &str = "/proc/self/exe";

/// Whether a command line asks what there is: by itself, or behind any command but `agent` and `controller`, which have helps of their own.
pub(crate) fn asks_for_help(args: &[OsString]) -> bool {
    let is_help = |word: &OsString| word == "-h" || word == "--help";
    match args {
        [] => true,
        [first, ..] if first == "agent" || first == "controller" => false,
        [first, ..] => first == "help" || args.iter().any(is_help),
    }
}

/// Says what there is.
pub(crate) fn help() -> ExitCode {
    help_text(HELP)
}

/// Says what was asked for: on standard output, and with success.
pub(crate) fn help_text(text: &str) -> ExitCode {
    exit(say(text).map(|()| true))
}

/// Serves a command line.
pub(crate) fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<String> = args.map(|a| a.to_string_lossy().into_owned()).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["version" | "-V" | "--version"] => say(concat!("polynic ", env!("CARGO_PKG_VERSION"), "\n")),
        ["names"] => names().into_iter().try_for_each(|name| say(&format!("{name}\n"))),
        ["plugins"] => plugins().try_for_each(|t| say(&format!("{t}\n"))),
        ["pools", args @ ..] => cluster::pools(args).and_then(|text| say(&text)),
        ["doctor", args @ ..] => return verdict(cluster::doctor(args)),
        ["explain", args @ ..] => return verdict(explain::run(args)),
        ["install", directory, names @ ..] if !directory.starts_with('-') => {
            install(Path::new(OWN), Path::new(directory), names)
        }
        ["install", ..] => Err(io::Error::other("which directory? usage: polynic install DIR [PLUGIN...]")),
        ["uninstall"] => crate::install::uninstall("/"),
        ["uninstall", root] => crate::install::uninstall(root),
        _ => Err(io::Error::other(format!(
            "unknown command: {}; \"polynic help\" says what there is",
            args.join(" ")
        ))),
    };
    exit(done.map(|()| true))
}

/// Prints a report; the exit status says whether it is a good one.
fn verdict(report: io::Result<(String, bool)>) -> ExitCode {
    exit(report.and_then(|(text, well)| say(&text).map(|()| well)))
}

fn exit(done: io::Result<bool>) -> ExitCode {
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(e) => {
            let _ = writeln!(io::stderr(), "polynic: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Every name under which the program is a CNI plugin.
fn plugins() -> impl Iterator<Item = &'static str> {
    polynic_plugins::types().chain([crate::multus::NAME, crate::shim::NAME])
}

/// Every name by which the program can be called.
fn names() -> BTreeSet<&'static str> {
    let daemons = polynic_agent::command::services().chain([controller::NAME, controller::INIT]);
    plugins().chain(daemons).chain(crate::install::names()).chain(["polynic"]).collect()
}

fn say(text: &str) -> io::Result<()> {
    io::stdout().write_all(text.as_bytes())
}

/// Puts a program into a directory as plugins: all, or those named.
fn install(program: &Path, directory: &Path, names: &[&str]) -> io::Result<()> {
    let unknown = names.iter().find(|name| plugins().all(|known| known != **name));
    if let Some(name) = unknown {
        return Err(io::Error::other(format!("{name} is no plugin of ours; \"polynic plugins\" lists them")));
    }
    let all: Vec<&str> = if names.is_empty() { plugins().collect() } else { names.to_vec() };
    Programs::new(directory).install(program, all).map_err(with_cause)
}

fn with_cause(error: FileError) -> io::Error {
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
    io::Error::other(format!("{error}{}", cause.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    /// Our own one is large while it is tested.
    fn small_program() -> tempfile::NamedTempFile {
        tempfile::NamedTempFile::new().unwrap()
    }

    #[test]
    fn installed_plugins_are_one_file_even_when_installed_twice() {
        let directory = tempfile::tempdir().unwrap();
        let program = small_program();
        install(program.path(), directory.path(), &[]).unwrap();
        install(program.path(), directory.path(), &[]).unwrap();
        let files = fs::read_dir(directory.path()).unwrap().map(|f| f.unwrap());
        let files: Vec<_> = files.filter(|f| f.file_type().unwrap().is_file()).collect();
        let mut names: Vec<_> = files.iter().map(|f| f.file_name().into_string().unwrap()).collect();
        names.sort();
        let mut expected: Vec<&str> = plugins().chain(["polynic"]).collect();
        expected.sort_unstable();
        assert_eq!(names, expected);
        let inode = files[0].metadata().unwrap().ino();
        assert!(files.iter().all(|f| f.metadata().unwrap().ino() == inode));
    }

    #[test]
    fn help_is_had_behind_any_command() {
        let asks =
            |line: &str| asks_for_help(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>());
        for line in ["", "help", "-h", "pools --help", "explain web -h"] {
            assert!(asks(line), "{line}");
        }
        for line in ["pools", "agent flanneld --help", "agent --help", "controller daemon --help", "plugins"]
        {
            assert!(!asks(line), "{line}");
        }
    }

    #[test]
    fn only_known_plugins_are_installed_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let program = small_program();
        install(program.path(), directory.path(), &["macvlan", "passthru"]).unwrap();
        assert!(directory.path().join("macvlan").exists() && !directory.path().join("bridge").exists());
        let error = install(program.path(), directory.path(), &["nonsense"]).unwrap_err();
        assert!(error.to_string().starts_with("nonsense is no plugin"), "{error}");
    }
}
