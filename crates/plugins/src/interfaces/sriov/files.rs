//! `/var/lib/cni/sriov`: who has which function, what it was before, and the lock of each function (spec/sriov.md 3), as the
//! replaced plugin keeps them.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::state::State;

/// How long a function's lock is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is asked for.
const POLL: Duration = Duration::from_millis(20);

/// The directory.
#[derive(Clone, Debug)]
pub(super) struct Store(PathBuf);

/// A function's lock, held as long as this value.
pub(super) struct Lock(#[expect(dead_code, reason = "held, not used")] File);

impl Store {
    pub(super) fn new(directory: &str) -> Self {
        Self(PathBuf::from(directory))
    }

    fn state_file(&self, key: &str) -> PathBuf {
        self.0.join(key)
    }

    fn holder_file(&self, device: &str) -> PathBuf {
        self.0.join("pci").join(device)
    }

    /// Waits for the lock of a function.
    pub(super) fn lock(&self, device: &str) -> Result<Lock, String> {
        let directory = self.0.join("pci/vf_lock");
        let path = directory.join(format!("{device}.lock"));
        let failed = |e: &dyn std::fmt::Display| format!("cannot lock VF {device} ({}): {e}", path.display());
        make_directory(&directory).map_err(|e| failed(&e))?;
        let open = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = open.map_err(|e| failed(&e))?;
        let end = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock(file)),
                Err(TryLockError::Error(e)) => return Err(failed(&e)),
                Err(TryLockError::WouldBlock) if Instant::now() >= end => {
                    return Err(failed(&format!("somebody else has it for {} seconds", PATIENCE.as_secs())));
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(POLL),
            }
        }
    }

    /// The namespace of whoever has a function.
    pub(super) fn holder(&self, device: &str) -> Option<String> {
        fs::read_to_string(self.holder_file(device)).ok()
    }

    /// Notes who has a function.
    pub(super) fn set_holder(&self, device: &str, netns: &str) -> io::Result<()> {
        replace(&self.holder_file(device), netns.as_bytes())
    }

    /// Notes that nobody has a function.
    pub(super) fn free(&self, device: &str) -> io::Result<()> {
        remove(&self.holder_file(device))
    }

    /// What is on file about an attachment; nothing if that cannot be read.
    pub(super) fn state(&self, key: &str) -> Option<State> {
        serde_json::from_slice(&fs::read(self.state_file(key)).ok()?).ok()
    }

    pub(super) fn set_state(&self, key: &str, state: &State) -> io::Result<()> {
        replace(&self.state_file(key), &serde_json::to_vec(state)?)
    }

    pub(super) fn remove_state(&self, key: &str) -> io::Result<()> {
        remove(&self.state_file(key))
    }

    /// Every attachment on file, by key.
    pub(super) fn states(&self) -> Vec<(String, State)> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let keys = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut states: Vec<_> = keys.filter_map(|key| Some((key.clone(), self.state(&key)?))).collect();
        states.sort_by(|(a, _), (b, _)| a.cmp(b));
        states
    }
}

fn make_directory(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// A reader sees the old text or the new one. The name in between begins with a dot: no container's does.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    make_directory(directory)?;
    let draft = directory.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let write = || {
        let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&draft)?;
        file.write_all(text)?;
        // After a crash of the machine the pod is deleted by what is in here.
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    write().inspect_err(|_| drop(fs::remove_file(&draft)))
}

/// What is not there is removed.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn one_function_is_worked_on_by_one_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(directory.path().to_str().unwrap());
        let inside = AtomicU32::new(0);
        let other = store.lock("0000:3b:02.5").unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        let _lock = store.lock("0000:3b:02.4").unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        drop(other);
    }

    #[test]
    fn what_is_no_state_is_not_taken_for_one() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(directory.path().to_str().unwrap());
        let _lock = store.lock("0000:3b:02.4").unwrap();
        fs::write(directory.path().join("c1-net1"), "{\"VFID\": ").unwrap();
        fs::write(directory.path().join("c2-net1"), "{\"VFID\": 3, \"deviceID\": \"0000:3b:02.3\"}").unwrap();
        let keys: Vec<String> = store.states().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["c2-net1"]);
        store.remove_state("c1-net1").unwrap();
        store.remove_state("c1-net1").unwrap();
        assert!(!directory.path().join("c1-net1").exists());
    }
}
