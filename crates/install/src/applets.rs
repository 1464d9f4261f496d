//! Small programs of the replaced images: `install_multus` (spec/multus.md 14.2), `install-conf` (spec/flannel.md 1) and `cp`, which
//! manifests call in images that have no shell.
//!
//! Each is a function from a command line to what was done; printing and exit codes are the caller's.

use std::path::{Path, PathBuf};

use crate::files::{self, FileError};
use crate::programs::Programs;

/// Why an applet did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum AppletError {
    /// The command line is not understood.
    #[error("{0}")]
    Usage(String),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// How `cp` is called.
pub const CP: &str = "usage: cp [-f] SRC... DST";
/// How `install-conf` is called.
pub const INSTALL_CONF: &str = "usage: install-conf SRC DST";

const INSTALL_MULTUS: &str = "usage: install_multus -t thick|thin [-d DIRECTORY]
  -d, --dest-dir  where plugins go (default \"/host/opt/cni/bin\")
  -t, --type      thick for multus-shim, thin for multus; passthru comes with both";

/// `install_multus`: puts the plugins of a mode into the node's directory, from the program that runs.
///
/// # Errors
/// The mode is missing or unknown, help is asked for, or the directory cannot be written.
pub fn install_multus(arguments: &[String], program: &Path) -> Result<(), AppletError> {
    let usage = |why: &str| AppletError::Usage(format!("{why}\n{INSTALL_MULTUS}"));
    let (mut directory, mut mode) = ("/host/opt/cni/bin".to_owned(), String::new());
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let (name, value) = argument.split_once('=').map_or((argument.as_str(), None), |(n, v)| (n, Some(v)));
        let slot = match name {
            "-d" | "--dest-dir" => &mut directory,
            "-t" | "--type" => &mut mode,
            "-h" | "--help" => return Err(usage("install_multus installs the plugins of Multus")),
            _ => return Err(usage(&format!("unknown flag: {argument}"))),
        };
        let value = value.or_else(|| arguments.next().map(String::as_str));
        *slot = value.ok_or_else(|| usage(&format!("{name} needs a value")))?.to_owned();
    }
    let plugin = match mode.as_str() {
        "thick" => "multus-shim",
        "thin" => "multus",
        _ => return Err(usage(&format!("--type is thick or thin, not {mode:?}"))),
    };
    Ok(Programs::new(directory).install(program, [plugin, "passthru"])?)
}

/// `install-conf SRC DST`: an atomic copy.
///
/// # Errors
/// There are not two arguments, or the copy fails.
pub fn install_conf(arguments: &[String]) -> Result<(), AppletError> {
    match arguments {
        [from, to] => Ok(files::copy(Path::new(from), Path::new(to))?),
        _ => Err(AppletError::Usage(INSTALL_CONF.to_owned())),
    }
}

/// `cp [-f] SRC... DST`: files only; each appears complete or not at all.
///
/// # Errors
/// Another flag than those that change nothing here, a directory as source, or a copy that fails.
pub fn cp(arguments: &[String]) -> Result<(), AppletError> {
    let usage = |why: String| AppletError::Usage(format!("{why}\n{CP}"));
    let (flags, paths): (Vec<&String>, Vec<&String>) =
        arguments.iter().partition(|a| a.len() > 1 && a.starts_with('-'));
    // Copies keep permissions and replace what is there, whatever is asked for.
    if let Some(flag) = flags.iter().find(|flag| !["-f", "-p", "--force", "--"].contains(&flag.as_str())) {
        return Err(usage(format!("{flag} is not supported")));
    }
    let Some((to, from)) = paths.split_last().filter(|(_, from)| !from.is_empty()) else {
        return Err(usage("source and destination are needed".to_owned()));
    };
    let to = Path::new(to);
    if from.len() > 1 && !to.is_dir() {
        return Err(usage(format!("{} is not a directory", to.display())));
    }
    from.iter().try_for_each(|from| Ok(files::copy(Path::new(from), &destination(Path::new(from), to))?))
}

/// Into a directory under its own name.
fn destination(from: &Path, to: &Path) -> PathBuf {
    if to.is_dir() { to.join(from.file_name().unwrap_or_default()) } else { to.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn multus_is_installed_in_either_mode() {
        let root = tempfile::tempdir().unwrap();
        let (program, bin) = (root.path().join("program"), root.path().join("bin"));
        fs::write(&program, "polynic").unwrap();
        let bin_text = bin.display().to_string();
        install_multus(&words(&["-d", &bin_text, "-t", "thick"]), &program).unwrap();
        assert!(
            bin.join("multus-shim").exists() && bin.join("passthru").exists() && !bin.join("multus").exists()
        );
        install_multus(&words(&[&format!("--dest-dir={bin_text}"), "--type=thin"]), &program).unwrap();
        assert_eq!(fs::read(bin.join("multus")).unwrap(), b"polynic");
        for wrong in [&["-d", &bin_text][..], &["-t", "fat"], &["-t"], &["-h"], &["--nonsense"]] {
            assert!(
                matches!(install_multus(&words(wrong), &program), Err(AppletError::Usage(_))),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn cp_copies_as_manifests_call_it() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name).display().to_string();
        fs::write(path("flannel"), "plugin").unwrap();
        fs::write(path("b"), "b").unwrap();
        fs::create_dir(path("bin")).unwrap();
        cp(&words(&["-f", &path("flannel"), &path("bin/flannel")])).unwrap();
        cp(&words(&[&path("flannel"), &path("b"), &path("bin")])).unwrap();
        assert_eq!(fs::read(path("bin/flannel")).unwrap(), b"plugin");
        assert_eq!(fs::read(path("bin/b")).unwrap(), b"b");
        install_conf(&words(&[&path("b"), &path("10-flannel.conflist")])).unwrap();
        assert_eq!(fs::read(path("10-flannel.conflist")).unwrap(), b"b");
        assert!(
            cp(&words(&["-r", &path("bin"), &path("c")]))
                .unwrap_err()
                .to_string()
                .starts_with("-r is not supported")
        );
        assert!(
            cp(&words(&[&path("b")])).is_err()
                && cp(&words(&[&path("b"), &path("b"), &path("new")])).is_err()
        );
        assert!(cp(&words(&[&path("none"), &path("c")])).unwrap_err().to_string().ends_with("/none"));
        assert!(install_conf(&words(&[&path("b")])).is_err());
    }
}
