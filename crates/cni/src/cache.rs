//! The result cache in libcni's format (spec/cni.md 5.4): container runtimes and users who roll back read it.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

use crate::error::Error;
use crate::json;
use crate::quote::go_quote;
use crate::result::Success;
use crate::version::Version;

mod entry;

pub use entry::Entry;

/// Where runtimes keep their cache by default.
pub const DEFAULT_DIRECTORY: &str = "/var/lib/cni";

/// A cache below a directory.
#[derive(Clone, Debug)]
pub struct Cache<'a> {
    directory: &'a Path,
}

/// What names one file of the cache.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// The network's name.
    pub network: &'a str,
    /// The container id.
    pub container_id: &'a str,
    /// The interface's name in the pod.
    pub ifname: &'a str,
}

impl<'a> Cache<'a> {
    /// The cache below `directory`, for instance [`DEFAULT_DIRECTORY`]; nothing is created yet.
    pub fn new(directory: &'a Path) -> Cache<'a> {
        Cache { directory }
    }

    /// The file of an attachment. An empty part is an error, and so is one that would lead elsewhere.
    pub fn path(&self, key: Key<'_>) -> Result<PathBuf, Error> {
        let Key { network, container_id, ifname } = key;
        let parts = [network, container_id, ifname];
        if parts.iter().any(|part| part.is_empty() || part.contains(['/', '\0'])) {
            return Err(Error::internal(format!(
                "cache file path requires network name ({}), container ID ({}), and interface name ({})",
                go_quote(network),
                go_quote(container_id),
                go_quote(ifname)
            )));
        }
        Ok(self.results().join(format!("{network}-{container_id}-{ifname}")))
    }

    /// Writes an attachment's file; readers see the old file or the new one, whole.
    pub fn write(&self, entry: &Entry) -> Result<(), Error> {
        let path = self.path(entry.key())?;
        let written = self.replace(&path, entry.to_json().as_bytes());
        written
            .map_err(|why| Error::internal(format!("failed to write cache file {}: {why}", path.display())))
    }

    /// The file of an attachment, if there is one of the current kind that can be read.
    pub fn read(&self, key: Key<'_>) -> Result<Option<Entry>, Error> {
        Ok(fs::read(self.path(key)?).ok().and_then(|bytes| Entry::from_json(&bytes).ok()))
    }

    /// The final result of an attachment, to be printed as `version`. A missing file is `None`; one that is
    /// neither of the current kind nor a bare result is an error.
    pub fn read_result(&self, key: Key<'_>, version: Version) -> Result<Option<Success>, Error> {
        let Ok(bytes) = fs::read(self.path(key)?) else { return Ok(None) };
        let parse = |bytes: &[u8]| Success::parse(bytes, Version::V0_1_0);
        let success = match Entry::from_json(&bytes) {
            Ok(entry) => parse(json::print_sorted(&Value::Object(entry.result)).as_bytes())?,
            Err(_) => parse(&bytes)?,
        };
        success.check_convertible(version)?;
        Ok(Some(Success { cni_version: version, ..success }))
    }

    /// Removes an attachment's file; none is fine.
    pub fn remove(&self, key: Key<'_>) -> Result<(), Error> {
        let path = self.path(key)?;
        match fs::remove_file(&path) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => {
                Err(Error::internal(format!("failed to remove cache file {}: {why}", path.display())))
            }
            _ => Ok(()),
        }
    }

    /// All attachments in the order of their file names, or those of one container. What cannot be read, is
    /// of another kind or incomplete is left out; a missing directory has none.
    pub fn list(&self, container_id: Option<&str>) -> Result<Vec<Entry>, Error> {
        let mut names = self.names().map_err(|why| {
            Error::internal(format!("failed to list cache directory {}: {why}", self.results().display()))
        })?;
        names.retain(|name| container_id.is_none_or(|id| mentions(name, id)));
        names.sort();
        let read = |name: &String| Entry::from_json(&fs::read(self.results().join(name)).ok()?).ok();
        let entries = names.iter().filter_map(read);
        Ok(entries.filter(|entry| container_id.is_none_or(|id| entry.container_id == id)).collect())
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.results()) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned())).collect()
    }

    fn results(&self) -> PathBuf {
        self.directory.join("results")
    }

    /// The temporary file lies outside `results`, where nobody who lists the cache meets it. No fsync:
    /// kernel state does not outlive a crash of the machine either, and readers tolerate what is left of the
    /// file.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        DirBuilder::new().recursive(true).mode(0o700).create(self.results())?;
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let temporary = self.directory.join(format!(".result-{}-{number}", process::id()));
        let write = || {
            let options = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).clone();
            options.open(&temporary)?.write_all(bytes)?;
            fs::rename(&temporary, path)
        };
        write().inspect_err(|_| {
            let _ = fs::remove_file(&temporary);
        })
    }
}

/// `-<id>-` after the first and before the last byte of a file name.
fn mentions(name: &str, id: &str) -> bool {
    let wanted = format!("-{id}-");
    let found = name.find(&wanted);
    found.is_some_and(|at| at > 0 && at + wanted.len() < name.len())
}

#[cfg(test)]
mod tests;
