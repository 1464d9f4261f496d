//! Deletions that could not be completed: the runtime was told that they are done, and the agent does them.
//!
//! One file for each container, written complete and fsynced, because what is left of the container would leak if it were lost. Its place
//! is `/var/lib/polynic/deletions` on the node. A deletion that is done twice does nothing the second time.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::CniRequest;
use crate::unfinished;

/// Where the journal is on a node.
pub const DIRECTORY: &str = "/var/lib/polynic/deletions";

/// Why the journal could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {}: {source}", .path.display())]
pub struct DeletionsError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// A directory of deletions that wait.
#[derive(Clone, Debug)]
pub struct Deletions {
    directory: PathBuf,
}

impl Deletions {
    /// The journal in this directory, which need not be there yet.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Writes a deletion down; the last one of a container counts. When this returns, it survives a power cut.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn record(&self, container_id: &str, request: &CniRequest) -> Result<(), DeletionsError> {
        let (path, new) = (self.path(container_id), self.directory.join(format!(".{container_id}")));
        let failed = |what, path: &Path| {
            let path = path.to_owned();
            move |source| DeletionsError { what, path, source }
        };
        let text = serde_json::to_vec(request).map_err(|why| failed("encode", &path)(why.into()))?;
        fs::create_dir_all(&self.directory).map_err(failed("create", &self.directory))?;
        write_durably(&new, &text).map_err(failed("write", &new))?;
        fs::rename(&new, &path).map_err(failed("write", &path))?;
        File::open(&self.directory).and_then(|d| d.sync_all()).map_err(failed("sync", &self.directory))
    }

    /// Everything that waits, in the order of the container ids. What cannot be read is left out.
    pub fn pending(&self) -> Vec<(String, CniRequest)> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
        names.sort();
        let read = |name: String| {
            let request = serde_json::from_slice(&fs::read(self.path(&name)).ok()?).ok()?;
            Some((name, request))
        };
        names.into_iter().filter_map(read).collect()
    }

    /// Removes what killed processes left half written. `now` is the time of the files.
    pub fn sweep(&self, now: SystemTime) {
        unfinished::sweep(&self.directory, &["."], now);
    }

    /// Forgets the deletion of a container; none is fine.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn forget(&self, container_id: &str) -> Result<(), DeletionsError> {
        let path = self.path(container_id);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(DeletionsError { what: "remove", path, source })
            }
            _ => Ok(()),
        }
    }

    /// A container id has been checked to be a plain file name, and never begins with a dot.
    fn path(&self, container_id: &str) -> PathBuf {
        self.directory.join(container_id)
    }
}

fn write_durably(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_waits_until_it_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let deletions = Deletions::new(directory.path().join("deletions"));
        assert!(deletions.pending().is_empty());
        deletions.forget("c1").unwrap();
        let request = CniRequest { config: b"{}".to_vec(), ..CniRequest::default() };
        deletions.record("c2", &request).unwrap();
        deletions.record("c1", &request).unwrap();
        deletions.record("c1", &request).unwrap();
        fs::write(directory.path().join("deletions/c3"), "{").unwrap();
        let pending = deletions.pending();
        assert_eq!(pending, [("c1".to_owned(), request.clone()), ("c2".to_owned(), request)]);
        deletions.forget("c1").unwrap();
        assert_eq!(deletions.pending().len(), 1);
    }
}
