//! Releases that could not be told: files that a plugin writes when the agent, or the agent when the API server is away, and that
//! the agent replays when both are back.
//!
//! One file for each (container, interface), written complete and fsynced, because an address would leak if it were lost with
//! the power. Its place is `/var/lib/polynic/releases` on the node. A replayed release obeys the rules of any release, so one
//! for a pod that is alive again does nothing.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::messages::DelRequest;
use crate::unfinished;

/// Where the journal is on a node.
pub const DIRECTORY: &str = "/var/lib/polynic/releases";

/// Format number of the files. Those of another number are left to whoever wrote them.
const FORMAT: u32 = 1;

/// Longest file name that Linux file systems take, in bytes.
const MAX_NAME: usize = 255;

/// Why the journal could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {}", .path.display())]
pub struct JournalError {
    what: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

#[derive(Serialize, Deserialize)]
struct Written {
    format: u32,
    request: DelRequest,
}

/// One release that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    path: PathBuf,
    /// What is to be released.
    pub request: DelRequest,
}

/// A directory of releases that wait.
#[derive(Clone, Debug)]
pub struct ReleaseJournal {
    directory: PathBuf,
}

impl ReleaseJournal {
    /// The journal in this directory, which need not be there yet.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes a release down. When this returns, it survives a power cut.
    pub fn record(&self, request: &DelRequest) -> Result<(), JournalError> {
        fs::create_dir_all(&self.directory).map_err(failed("create", &self.directory))?;
        let name = file_name(request);
        let (path, new) = (self.directory.join(&name), self.directory.join(format!(".{name}")));
        if name.len() >= MAX_NAME {
            return Err(failed("name", &path)(io::ErrorKind::InvalidFilename.into()));
        }
        let written = Written { format: FORMAT, request: request.clone() };
        let text = serde_json::to_vec(&written).map_err(|e| failed("encode", &path)(e.into()))?;
        write_durably(&new, &text).map_err(failed("write", &new))?;
        fs::rename(&new, &path).map_err(failed("write", &path))?;
        sync_directory(&self.directory).map_err(failed("sync", &self.directory))
    }

    /// Every release that waits. A file that is none of this format is left alone.
    pub fn pending(&self) -> Result<Vec<Pending>, JournalError> {
        let entries = match fs::read_dir(&self.directory) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            read => read.map_err(failed("read", &self.directory))?,
        };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut pending: Vec<Pending> = paths.filter_map(read).collect();
        pending.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(pending)
    }

    /// Removes what killed processes left half written. `now` is the time of the files.
    pub fn sweep(&self, now: SystemTime) {
        unfinished::sweep(&self.directory, &["."], now);
    }

    /// Forgets a release that was made.
    pub fn forget(&self, pending: &Pending) -> Result<(), JournalError> {
        match fs::remove_file(&pending.path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("remove", &pending.path)(e)),
            _ => Ok(()),
        }
    }
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    move |source| JournalError { what, path: path.to_owned(), source }
}

/// `<container id>:<interface>.json`; whatever else than letters, digits, `-`, `_` and inner `.` is written as `%xx`.
fn file_name(request: &DelRequest) -> String {
    format!("{}:{}.json", escaped(&request.container_id), escaped(&request.if_name))
}

fn escaped(text: &str) -> String {
    let plain =
        |(at, b): (usize, u8)| b.is_ascii_alphanumeric() || b"-_".contains(&b) || (b == b'.' && at > 0);
    let byte = |(at, b)| if plain((at, b)) { char::from(b).to_string() } else { format!("%{b:02x}") };
    text.bytes().enumerate().map(byte).collect()
}

fn read(path: PathBuf) -> Option<Pending> {
    let name = path.file_name()?.to_str()?;
    if name.starts_with('.') {
        return None;
    }
    let written: Written = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
    (written.format == FORMAT).then_some(Pending { path, request: written.request })
}

fn write_durably(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text)?;
    file.sync_all()
}

/// A new name is durable only when its directory is.
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(container_id: &str, if_name: &str) -> DelRequest {
        DelRequest { container_id: container_id.into(), if_name: if_name.into(), ..DelRequest::default() }
    }

    fn journal() -> (tempfile::TempDir, ReleaseJournal) {
        let directory = tempfile::tempdir().unwrap();
        let journal = ReleaseJournal::new(directory.path().join("releases"));
        (directory, journal)
    }

    #[test]
    fn a_release_waits_until_it_is_forgotten() {
        let (_directory, journal) = journal();
        assert_eq!(journal.pending().unwrap(), []);
        journal.record(&request("c1", "eth0")).unwrap();
        journal.record(&request("c1", "eth0")).unwrap();
        journal.record(&request("c1", "net1")).unwrap();
        let pending = journal.pending().unwrap();
        assert_eq!(pending.iter().map(|p| p.request.if_name.as_str()).collect::<Vec<_>>(), ["eth0", "net1"]);
        journal.forget(&pending[0]).unwrap();
        journal.forget(&pending[0]).unwrap();
        assert_eq!(journal.pending().unwrap(), pending[1..]);
    }

    #[test]
    fn torn_and_foreign_files_are_left_alone() {
        let (_directory, journal) = journal();
        journal.record(&request("c1", "eth0")).unwrap();
        fs::write(journal.directory().join("c2:eth0.json"), "{\"format\":1,").unwrap();
        fs::write(journal.directory().join("c3:eth0.json"), "{\"format\":2,\"request\":{}}").unwrap();
        fs::write(journal.directory().join(".c4:eth0.json"), "{}").unwrap();
        assert_eq!(journal.pending().unwrap().len(), 1);
        assert_eq!(fs::read_dir(journal.directory()).unwrap().count(), 4);
    }

    #[test]
    fn no_id_leaves_the_directory() {
        let (directory, journal) = journal();
        for id in ["../x", "..", ".", "", "a/b", "/etc/passwd", "a:b"] {
            journal.record(&request(id, "../../e")).unwrap();
        }
        let pending = journal.pending().unwrap();
        assert_eq!(pending.len(), 7);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(journal.record(&request(&"x".repeat(300), "eth0")).is_err());
    }
}
