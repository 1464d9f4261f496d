//! One at a time on what a container has: a DEL, which a shim may do itself while no agent is there, and an agent that follows an
//! annotation. Without it an agent that has just started would attach again what is being deleted.
//!
//! The lock is the kernel's, on a file beside the scratch cache that is there while somebody works, and goes with its process.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// How the name of a lock's file begins. No container id begins with a dot.
const PREFIX: &str = ".lock-";

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(5);

/// Removes the files of locks that nobody holds: what killed processes left.
pub(crate) fn sweep_locks(cni_dir: &Path) {
    for entry in fs::read_dir(cni_dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if !name.to_str().is_some_and(|name| name.starts_with(PREFIX)) {
            continue;
        }
        if let Ok(file) = File::open(entry.path())
            && file.try_lock().is_ok()
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Held until it is dropped.
pub(crate) struct ContainerLock {
    path: PathBuf,
    /// Locked.
    _file: File,
}

impl ContainerLock {
    /// Waits so long for the lock of a container. Where there are no caches there is nothing to lock: `None`.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] if somebody else has it for longer; whatever else the file system says.
    pub(crate) fn take(
        cni_dir: &Path,
        container_id: &str,
        patience: Duration,
    ) -> io::Result<Option<ContainerLock>> {
        let end = Instant::now() + patience;
        let path = cni_dir.join(format!("{PREFIX}{container_id}"));
        loop {
            let file = match File::options().create(true).append(true).open(&path) {
                Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
                opened => opened?,
            };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if Instant::now() < end => {
                    thread::sleep(INTERVAL);
                    continue;
                }
                Err(TryLockError::WouldBlock) => return Err(held(&path)),
                Err(TryLockError::Error(why)) => return Err(why),
            }
            // Whoever held it has removed the file, and a lock on that one keeps nobody out any more.
            if is_at(&file, &path) {
                return Ok(Some(ContainerLock { path, _file: file }));
            }
        }
    }
}

fn held(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("somebody else holds {}", path.display()))
}

/// The file goes while it is still locked.
impl Drop for ContainerLock {
    fn drop(&mut self) {
        // One that stays is swept.
        let _ = fs::remove_file(&self.path);
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let identity = |meta: fs::Metadata| (meta.dev(), meta.ino());
    let open = file.metadata().map(identity).ok();
    open.is_some() && open == fs::metadata(path).map(identity).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;
    use std::sync::mpsc;
    use std::thread;

    /// Longer than any machine is busy.
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_lock_that_somebody_keeps_is_not_waited_for_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let held = ContainerLock::take(directory.path(), "c1", LONG).unwrap().unwrap();
        let refused = ContainerLock::take(directory.path(), "c1", Duration::from_millis(20)).err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
        assert!(refused.to_string().contains(".lock-c1"), "{refused}");
        drop(held);
    }

    #[test]
    fn the_second_waits_for_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let held = ContainerLock::take(directory.path(), "c1", LONG).unwrap().unwrap();
        let (sender, taken) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                let second = ContainerLock::take(directory.path(), "c1", LONG).unwrap();
                sender.send(second.is_some()).unwrap();
            });
            assert!(
                ContainerLock::take(directory.path(), "c2", LONG).unwrap().is_some(),
                "another container"
            );
            assert!(taken.try_recv().is_err());
            drop(held);
            assert_eq!(taken.recv(), Ok(true));
        });
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn many_are_never_two_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let inside = std::sync::atomic::AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let _held = ContainerLock::take(directory.path(), "c1", LONG).unwrap().unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_process_left_is_swept_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name);
        let held = ContainerLock::take(directory.path(), "held", LONG).unwrap();
        for name in [".lock-gone", "there", ".other"] {
            fs::write(file(name), "").unwrap();
        }
        sweep_locks(directory.path());
        assert!(!file(".lock-gone").exists());
        for name in [".lock-held", "there", ".other"] {
            assert!(file(name).exists(), "{name}");
        }
        drop(held);
    }

    #[test]
    fn without_caches_there_is_nothing_to_lock() {
        let directory = tempfile::tempdir().unwrap();
        assert!(ContainerLock::take(&directory.path().join("none"), "c1", LONG).unwrap().is_none());
    }
}
