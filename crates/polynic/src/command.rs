//! The program under its own name.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cluster;

const HELP: &str = "\
polynic: many networks for Kubernetes pods

  polynic install DIR     put the CNI plugins into DIR (as hard links to this program, or copies)
  polynic agent           run the node agent; also as spiderpool-agent
  polynic flanneld        run flannel's daemon of this node; also as flanneld
  polynic controller      run the cluster controller; also as spiderpool-controller
  polynic plugins         list the built-in plugins
  polynic pools [POOL]    how full the address pools are; with POOL: who holds what
  polynic doctor          check pools, endpoints and pods against each other: what is wrong, and what to do
  polynic version         print the version
  polynic help            print this

pools and doctor take --kubeconfig FILE (or KUBECONFIG) and -o json. doctor exits with 1 if something is wrong.

Called by the name of a plugin (macvlan, bridge, host-local, ...) it is that plugin.
";

/// Serves a command line.
pub(crate) fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<String> = args.map(|a| a.to_string_lossy().into_owned()).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        [] | ["help" | "-h" | "--help"] => say(HELP),
        ["version" | "-V" | "--version"] => say(concat!("polynic ", env!("CARGO_PKG_VERSION"), "\n")),
        ["plugins"] => plugins().try_for_each(|t| say(&format!("{t}\n"))),
        ["pools", args @ ..] => cluster::pools(args).and_then(|text| say(&text)),
        ["doctor", args @ ..] => match cluster::doctor(args) {
            Ok((text, true)) => say(&text),
            Ok((text, false)) => return say(&text).map_or(ExitCode::FAILURE, |()| ExitCode::from(1)),
            Err(e) => Err(e),
        },
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

/// Every name under which the program is a CNI plugin.
fn plugins() -> impl Iterator<Item = &'static str> {
    polynic_plugins::types().chain([crate::multus::NAME])
}

fn say(text: &str) -> io::Result<()> {
    io::stdout().write_all(text.as_bytes())
}

/// Puts every plugin into a directory. Each file is complete at every instant: made under another name, then renamed.
///
/// All are one file under many names: by that a plugin knows that another one in the directory is built in and needs no process.
fn install(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let program = fs::canonicalize("/proc/self/exe")?;
    let own = place(&program, directory, "polynic")?;
    plugins().try_for_each(|name| place(&own, directory, name).map(drop))
}

/// Puts `program` into a directory under a name.
fn place(program: &Path, directory: &Path, name: &str) -> io::Result<PathBuf> {
    let (file, new) = (directory.join(name), directory.join(format!(".{name}.new")));
    let _ = fs::remove_file(&new);
    // Another file system takes no link.
    fs::hard_link(program, &new).or_else(|_| fs::copy(program, &new).map(drop))?;
    fs::rename(&new, &file)?;
    // Renaming over another name of the same file does nothing and leaves both (rename(2)).
    let _ = fs::remove_file(&new);
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn installed_plugins_are_one_file_even_when_installed_twice() {
        let directory = tempfile::tempdir().unwrap();
        install(directory.path()).unwrap();
        install(directory.path()).unwrap();
        let files: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|f| f.unwrap()).collect();
        let mut names: Vec<_> = files.iter().map(|f| f.file_name().into_string().unwrap()).collect();
        names.sort();
        let mut expected: Vec<&str> = plugins().chain(["polynic"]).collect();
        expected.sort_unstable();
        assert_eq!(names, expected);
        let inode = files[0].metadata().unwrap().ino();
        assert!(files.iter().all(|f| f.metadata().unwrap().ino() == inode));
    }
}
