//! The program under its own name.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

const HELP: &str = "\
polynic: many networks for Kubernetes pods

  polynic install DIR     put the CNI plugins into DIR (as hard links to this program, or copies)
  polynic plugins         list the built-in plugins
  polynic version         print the version
  polynic help            print this

Called by the name of a plugin (macvlan, bridge, host-local, ...) it is that plugin.
";

/// Serves a command line.
pub(crate) fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<String> = args.map(|a| a.to_string_lossy().into_owned()).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        [] | ["help" | "-h" | "--help"] => say(HELP),
        ["version" | "-V" | "--version"] => say(concat!("polynic ", env!("CARGO_PKG_VERSION"), "\n")),
        ["plugins"] => polynic_plugins::types().try_for_each(|t| say(&format!("{t}\n"))),
        ["install", directory] => install(Path::new(directory)),
        _ => Err(io::Error::other(format!("unknown command: {}\n\n{HELP}", args.join(" ")))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(io::stderr(), "polynic: {e}");
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) -> io::Result<()> {
    io::stdout().write_all(text.as_bytes())
}

/// Puts every plugin into a directory. Each file is complete at every instant: made under another name, then renamed.
fn install(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let mut program = fs::canonicalize("/proc/self/exe")?;
    for name in polynic_plugins::types().chain(std::iter::once("polynic")) {
        let new = directory.join(format!(".{name}.new"));
        let _ = fs::remove_file(&new);
        // Another file system takes no link, but the second plugin can be one to the first: they know each other by the inode.
        fs::hard_link(&program, &new).or_else(|_| fs::copy(&program, &new).map(drop))?;
        program = directory.join(name);
        fs::rename(&new, &program)?;
    }
    Ok(())
}
