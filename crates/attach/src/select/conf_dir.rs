//! Networks in files of a directory, by Multus' own rules: all kinds in the order of their names, nothing beside a list is loaded
//! (spec/multus.md 5.2 and 5.3; libcni's search, which differs, is `polynic_cni::conflist::find`).

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::SelectError;
use crate::delegate_conf::DelegateConf;

/// The first file whose network has the name. A broken file before it ends the search.
pub(super) fn by_name(directory: &Path, name: &str) -> Result<DelegateConf, SelectError> {
    let files = files(directory);
    if files.is_empty() {
        return Err(SelectError::NoFiles(directory.display().to_string()));
    }
    for file in files {
        let delegate = DelegateConf::from_lone_file(&file)?;
        if delegate.list.name == name {
            return Ok(delegate);
        }
    }
    Err(SelectError::NoFileOfName { name: name.to_owned(), directory: directory.display().to_string() })
}

/// The first file, whatever its network's name. Files that are only `.json` do not make a network directory.
pub(super) fn first(directory: &Path) -> Result<DelegateConf, SelectError> {
    let files = files(directory);
    let counts = files.iter().any(|file| extension(file) != Some(OsStr::new("json")));
    let none = || SelectError::NoFiles(directory.display().to_string());
    let file = files.first().filter(|_| counts).ok_or_else(none)?;
    Ok(DelegateConf::from_lone_file(file)?)
}

/// In the order of their names. A directory that cannot be read has none, and what is no file, whose end may never come, is passed over.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let files = entries.filter(|entry| entry.path().is_file());
    let is_network = |file: &PathBuf| {
        extension(file)
            .is_some_and(|extension| extension == "conf" || extension == "json" || extension == "conflist")
    };
    let mut files: Vec<PathBuf> = files.map(|entry| entry.path()).filter(is_network).collect();
    files.sort();
    files
}

fn extension(file: &Path) -> Option<&OsStr> {
    file.extension()
}
