//! Networks in files: lists with what lies beside them, single configurations, and the search in a directory
//! (spec/cni.md 3.1-3.3).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{ConfList, LoadError, PluginEntry};

/// Loads one file: a list by its extension `conflist` (with the plugins beside it), else a single
/// configuration.
pub fn load(file: &Path) -> Result<ConfList, LoadError> {
    let bytes = read(file)?;
    let within = |source| LoadError::File { path: file.to_owned(), source: Box::new(source) };
    if !has_extension(file, &["conflist"]) {
        return ConfList::parse_single(&bytes).map_err(within);
    }
    let mut list = ConfList::parse(&bytes).map_err(within)?;
    if !list.load_only_inlined_plugins {
        list.plugins.extend(beside(file, &list.name)?);
    }
    if list.plugins.is_empty() {
        return Err(within(LoadError::NoPlugins));
    }
    Ok(list)
}

/// Finds a network by name: lists first, then single configurations, each sorted by file name. One broken
/// file on the way fails the search.
pub fn find(directory: &Path, name: &str) -> Result<ConfList, LoadError> {
    let lists = files(directory, &["conflist"])?;
    let singles = files(directory, &["conf", "json"])?;
    if lists.is_empty() && singles.is_empty() {
        return Err(LoadError::NoneInDirectory(directory.to_owned()));
    }
    for file in lists.iter().chain(&singles) {
        let list = load(file)?;
        if list.name == name {
            return Ok(list);
        }
    }
    Err(LoadError::NotFound { name: name.to_owned(), directory: directory.to_owned() })
}

/// What container runtimes take as the cluster's network: the first file in sorted order that can be loaded.
pub fn first_loadable(directory: &Path) -> Result<(PathBuf, ConfList), LoadError> {
    let mut first_failure = None;
    for file in files(directory, &["conf", "conflist", "json"])? {
        match load(&file) {
            Ok(list) => return Ok((file, list)),
            Err(failure) => first_failure = first_failure.or(Some(failure)),
        }
    }
    let directory = directory.to_owned();
    Err(match first_failure {
        None => LoadError::NoneInDirectory(directory),
        Some(failure) => LoadError::NoneLoadable { directory, source: Box::new(failure) },
    })
}

/// The plugins in `<directory of the list>/<network name>/*.conf`.
fn beside(file: &Path, name: &str) -> Result<Vec<PluginEntry>, LoadError> {
    // The name becomes a path here; only a plain file name may.
    if name.is_empty() || name.contains('/') || name == "." || name == ".." {
        return Ok(Vec::new());
    }
    let directory = file.parent().unwrap_or(Path::new(".")).join(name);
    files(&directory, &["conf"])?.iter().map(|file| plugin(file)).collect()
}

fn plugin(file: &Path) -> Result<PluginEntry, LoadError> {
    let within = |source| LoadError::File { path: file.to_owned(), source: Box::new(source) };
    PluginEntry::parse(&read(file)?).map_err(within)
}

fn read(file: &Path) -> Result<Vec<u8>, LoadError> {
    fs::read(file).map_err(|source| LoadError::Read { path: file.to_owned(), source })
}

/// The entries with one of the extensions that are no directories, sorted by bytes. A missing directory has
/// none.
fn files(directory: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, LoadError> {
    let failed = |source| LoadError::Read { path: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !is_directory && has_extension(&entry.path(), extensions) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// By the end of the name, so that a file named just `.conf` counts, as it does for Go.
fn has_extension(file: &Path, extensions: &[&str]) -> bool {
    let name = file.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    name.rsplit_once('.').is_some_and(|(_, extension)| extensions.contains(&extension))
}
