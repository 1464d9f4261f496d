//! One at a time on what a container has: a DEL, which a shim may do itself while no agent is there, and an agent that follows an
//! annotation. Without it an agent that has just started would attach again what is being deleted.
//!
//! The lock is the kernel's, on a file beside the scratch cache that is there while somebody works, and goes with its process.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How the name of a lock's file begins. No container id begins with a dot.
const PREFIX: &str = ".lock-";

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
    /// Waits for the lock of a container. Where there are no caches there is nothing to lock: `None`.
    pub(crate) fn take(cni_dir: &Path, container_id: &str) -> io::Result<Option<ContainerLock>> {
        let path = cni_dir.join(format!("{PREFIX}{container_id}"));
        loop {
            let file = match File::options().create(true).append(true).open(&path) {
                Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
                opened => opened?,
            };
            match file.lock() {
                Err(why) if why.kind() == io::ErrorKind::Interrupted => continue,
                locked => locked?,
            }
            // Whoever held it has removed the file, and a lock on that one keeps nobody out any more.
            if is_at(&file, &path) {
                return Ok(Some(ContainerLock { path, _file: file }));
            }
        }
    }
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

    #[test]
    fn the_second_waits_for_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let held = ContainerLock::take(directory.path(), "c1").unwrap().unwrap();
        let (sender, taken) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                let second = ContainerLock::take(directory.path(), "c1").unwrap();
                sender.send(second.is_some()).unwrap();
            });
            assert!(ContainerLock::take(directory.path(), "c2").unwrap().is_some(), "another container");
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
                        let _held = ContainerLock::take(directory.path(), "c1").unwrap().unwrap();
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
        let held = ContainerLock::take(directory.path(), "held").unwrap();
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
        assert!(ContainerLock::take(Path::new("/nonexistent"), "c1").unwrap().is_none());
    }
}
