//! Locks between processes: one per container, one for what attachments share.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::record;

/// The exclusive lock of one container's records, held on the directory itself.
pub(super) struct ContainerLock {
    _file: File,
    /// The directory, which exists while the lock is held.
    pub(super) directory: PathBuf,
}

impl ContainerLock {
    /// Takes the lock, waiting for its holder. Creates the directory.
    pub(super) fn take(state: &Path, container_id: &str) -> io::Result<Self> {
        let directory = record::directory(state, container_id);
        loop {
            // Not create_dir_all: it looks again after EEXIST, and by then another process may have removed the directory.
            match fs::create_dir(&directory) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    fs::create_dir_all(state.join("attachments"))?;
                    continue;
                }
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            }
            let Some(file) = Self::lock(&directory)? else { continue };
            return Ok(Self { _file: file, directory });
        }
    }

    /// Takes the lock if there is a directory; without one there is nothing to guard.
    pub(super) fn take_existing(state: &Path, container_id: &str) -> io::Result<Option<Self>> {
        let directory = record::directory(state, container_id);
        while directory.is_dir() {
            if let Some(file) = Self::lock(&directory)? {
                return Ok(Some(Self { _file: file, directory }));
            }
        }
        Ok(None)
    }

    /// Whoever removes the last record removes the directory: a lock on a directory that is gone guards nothing.
    fn lock(directory: &Path) -> io::Result<Option<File>> {
        let file = match File::open(directory) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        file.lock()?;
        let still_there =
            fs::metadata(directory).is_ok_and(|m| file.metadata().is_ok_and(|f| f.ino() == m.ino()));
        Ok(still_there.then_some(file))
    }
}

impl Drop for ContainerLock {
    fn drop(&mut self) {
        // An attempt that kept no record leaves no directory. Not empty: somebody's records are in it.
        let _ = fs::remove_dir(&self.directory);
    }
}

/// The lock of shared objects. Held shared by every attempt that relies on them, exclusive by one that makes or undoes them,
/// so that nobody builds on a bridge whose maker may still take it back.
///
/// flock lets those who share it pass one who wants it alone for as long as they overlap. Hence a turnstile: everybody waits with it in
/// hand, so whoever comes later waits behind.
pub(super) struct SharedLock {
    file: File,
    turnstile: File,
    exclusive: bool,
}

impl SharedLock {
    /// Takes the lock together with others.
    pub(super) fn take(state: &Path) -> io::Result<Self> {
        let turnstile = open(state, "turnstile.lock")?;
        let lock = Self { file: open(state, "shared.lock")?, turnstile, exclusive: false };
        lock.in_turn(File::lock_shared)?;
        Ok(lock)
    }

    /// Whether it is held alone.
    pub(super) fn is_exclusive(&self) -> bool {
        self.exclusive
    }

    /// Gives it up and takes it alone. What was observed before may no longer hold.
    pub(super) fn make_exclusive(&mut self) -> io::Result<()> {
        self.file.unlock()?;
        self.in_turn(File::lock)?;
        self.exclusive = true;
        Ok(())
    }

    fn in_turn(&self, take: impl Fn(&File) -> io::Result<()>) -> io::Result<()> {
        self.turnstile.lock()?;
        take(&self.file)?;
        self.turnstile.unlock()
    }
}

/// Opens a file of locks; the directory is made if it is missing.
fn open(state: &Path, name: &str) -> io::Result<File> {
    let open = || File::options().create(true).truncate(false).write(true).open(state.join(name));
    match open() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(state)?;
            open()
        }
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_without_records_leaves_no_directory() {
        let state = tempfile::tempdir().unwrap();
        let lock = ContainerLock::take(state.path(), "c1").unwrap();
        assert!(lock.directory.is_dir());
        drop(lock);
        assert!(!record::directory(state.path(), "c1").exists());
        assert!(ContainerLock::take_existing(state.path(), "c1").unwrap().is_none());
    }

    #[test]
    fn one_container_is_worked_on_by_one_at_a_time() {
        let state = tempfile::tempdir().unwrap();
        let inside = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _lock = ContainerLock::take(state.path(), "c1").unwrap();
                        assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                        inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    }
                });
            }
        });
    }

    #[test]
    fn an_exclusive_holder_is_alone() {
        let state = tempfile::tempdir().unwrap();
        let first = SharedLock::take(state.path()).unwrap();
        let second = SharedLock::take(state.path()).unwrap();
        drop(first);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let mut lock = SharedLock::take(state.path()).unwrap();
                lock.make_exclusive().unwrap();
                lock.is_exclusive()
            });
            std::thread::sleep(std::time::Duration::from_millis(30));
            assert!(!waiter.is_finished());
            drop(second);
            assert!(waiter.join().unwrap());
        });
    }

    /// Whoever comes after one who waits to be alone waits behind, though the lock is shared at that moment.
    #[test]
    fn those_who_share_do_not_pass_one_who_wants_to_be_alone() {
        let state = tempfile::tempdir().unwrap();
        let first = SharedLock::take(state.path()).unwrap();
        let order = std::sync::Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut lock = SharedLock::take(state.path()).unwrap();
                lock.make_exclusive().unwrap();
                order.lock().unwrap().push("alone");
            });
            let turnstile = open(state.path(), "turnstile.lock").unwrap();
            // Held from the moment on that the lock is waited for.
            while turnstile.try_lock().is_ok() {
                turnstile.unlock().unwrap();
                std::thread::yield_now();
            }
            let later = scope.spawn(|| {
                let _lock = SharedLock::take(state.path()).unwrap();
                order.lock().unwrap().push("shared");
            });
            drop(first);
            later.join().unwrap();
        });
        assert_eq!(order.into_inner().unwrap(), ["alone", "shared"]);
    }
}
