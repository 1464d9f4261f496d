//! Files that appear complete or not at all, and outlive a reboot: written beside their place, synced, renamed.
//!
//! Several processes may put the same files into the same directory: they take turns by locks, which the kernel takes back from whoever dies.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// Why a file is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It cannot be written; what was there before still is.
    #[error("cannot write {}", .path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It cannot be removed.
    #[error("cannot remove {}", .path.display())]
    Remove {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Writes a file with these permissions in place of what may be there.
///
/// # Errors
/// The directory is missing, full or read-only; the old file is still there.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let write = |new: &Path| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(new)?;
        file.write_all(bytes)?;
        // Not what umask leaves of it.
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()
    };
    beside(path, write).map_err(|source| FileError::Write { path: path.to_owned(), source })
}

/// Copies a file, with its permissions, in place of what may be there. A program that runs keeps running.
///
/// # Errors
/// The source cannot be read, or as [`replace`].
pub fn copy(from: &Path, to: &Path) -> Result<(), FileError> {
    let mut source = File::open(from).map_err(|source| FileError::Read { path: from.to_owned(), source })?;
    let write = |new: &Path| {
        let permissions = source.metadata()?.permissions();
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(new)?;
        io::copy(&mut source, &mut file)?;
        file.set_permissions(permissions)?;
        file.sync_all()
    };
    beside(to, write).map_err(|source| FileError::Write { path: to.to_owned(), source })
}

/// Removes a file; one that is not there is removed.
///
/// # Errors
/// It is there, and stays.
pub fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(FileError::Remove { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Reads a file; `None` if there is none.
///
/// # Errors
/// It is there, and cannot be read.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FileError::Read { path: path.to_owned(), source }),
    }
}

/// A turn that ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _locked: File,
}

/// The only turn among all who ask for it by this file, which is made if it is missing. Who has it may remove the file.
pub(crate) fn turn_by(path: &Path) -> Result<Turn, FileError> {
    let failed = |source| FileError::Write { path: path.to_owned(), source };
    loop {
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
        let file = file.map_err(failed)?;
        lock(&file).map_err(|errno| failed(errno.into()))?;
        // Whoever had the turn before may have removed the file, and then it keeps nobody out any more.
        if fs::metadata(path).is_ok_and(|now| is_same(&file, &now)) {
            return Ok(Turn { _locked: file });
        }
    }
}

fn is_same(open: &File, now: &fs::Metadata) -> bool {
    open.metadata().is_ok_and(|open| (open.dev(), open.ino()) == (now.dev(), now.ino()))
}

/// The turn of whoever writes beside this path. There is none where a directory cannot be locked, as on some network file systems.
fn turn_in(path: &Path) -> Option<Turn> {
    let directory = File::open(directory_of(path)).ok()?;
    lock(&directory).ok()?;
    Some(Turn { _locked: directory })
}

fn lock(file: &File) -> Result<(), Errno> {
    loop {
        match flock(file, FlockOperation::LockExclusive) {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Makes a file under another name in the same directory, with an ending that no runtime reads, and renames it.
pub(crate) fn beside(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".new");
    let new = path.with_file_name(hidden);
    let _turn = turn_in(path);
    // What a crash has left.
    let _ = fs::remove_file(&new);
    let made = make(&new).and_then(|()| fs::rename(&new, path));
    if made.is_err() {
        let _ = fs::remove_file(&new);
    }
    made.and_then(|()| sync_directory(path))
}

/// Some file systems cannot sync a directory; the file is there all the same.
fn sync_directory(path: &Path) -> io::Result<()> {
    let _ = File::open(directory_of(path)).and_then(|directory| directory.sync_all());
    Ok(())
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_file_is_replaced_with_the_mode_that_was_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.conf");
        fs::write(directory.path().join(".a.conf.new"), "left by a crash").unwrap();
        replace(&file, b"one", 0o644).unwrap();
        replace(&file, b"two", 0o600).unwrap();
        assert_eq!((fs::read(&file).unwrap(), mode(&file)), (b"two".to_vec(), 0o600));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_copy_has_the_permissions_of_its_source() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        fs::write(&from, "program").unwrap();
        fs::set_permissions(&from, Permissions::from_mode(0o755)).unwrap();
        copy(&from, &to).unwrap();
        assert_eq!((fs::read(&to).unwrap(), mode(&to)), (b"program".to_vec(), 0o755));
    }

    #[test]
    fn what_fails_leaves_what_was_there_and_names_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let (missing, to) = (directory.path().join("missing"), directory.path().join("to"));
        fs::write(&to, "old").unwrap();
        assert!(copy(&missing, &to).unwrap_err().to_string().ends_with("/missing"));
        let nowhere = directory.path().join("no/such/directory");
        assert!(replace(&nowhere, b"", 0o600).unwrap_err().to_string().ends_with("no/such/directory"));
        assert_eq!(fs::read(&to).unwrap(), b"old");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn many_who_write_one_file_at_once_leave_one_of_their_texts() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.conf");
        std::thread::scope(|threads| {
            for number in 0..20 {
                let file = &file;
                threads.spawn(move || replace(file, format!("text {number}").as_bytes(), 0o600).unwrap());
            }
        });
        assert!(fs::read_to_string(&file).unwrap().starts_with("text "));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_not_there_is_removed_and_reads_as_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a");
        assert!(remove(&file).is_ok() && read(&file).unwrap().is_none());
        assert!(read(directory.path()).is_err());
    }
}
