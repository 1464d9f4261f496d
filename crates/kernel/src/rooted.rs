//! Work with another root directory: for an agent in a container whose node's file system is mounted somewhere.

use std::io;
use std::path::Path;
use std::thread;

use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Runs `work` on a thread of its own whose root directory is `root`, and waits for it. Processes that it starts have that root as well;
/// network namespaces are as they were.
///
/// # Errors
/// The root cannot be changed (it is no directory, or the process may not), or `work` panicked.
pub fn in_root<R: Send>(root: &Path, work: impl FnOnce() -> R + Send) -> io::Result<R> {
    thread::scope(|scope| {
        let there = || {
            change_root(root)?;
            Ok(work())
        };
        let worker = thread::Builder::new().name("rooted".to_owned()).spawn_scoped(scope, there)?;
        worker.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
    })
}

#[allow(unsafe_code, reason = "unshare of a thread has no safe form")]
fn change_root(root: &Path) -> io::Result<()> {
    // SAFETY: root and working directory become this thread's own, so no other thread's change; this thread is fresh, and nothing
    // in it relies on them.
    unsafe { unshare_unsafe(UnshareFlags::FS) }?;
    rustix::process::chroot(root)?;
    Ok(rustix::process::chdir("/")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_work_sees_the_other_root() {
        let Some(_scratch) = crate::testing::scratch_netns() else { return };
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("mark"), "").unwrap();
        let seen = in_root(root.path(), || (Path::new("/mark").exists(), std::env::current_dir().unwrap()));
        assert_eq!(seen.unwrap(), (true, "/".into()));
        assert!(root.path().join("mark").exists() && !Path::new("/mark").exists());
    }

    #[test]
    fn a_root_that_is_none_is_an_error() {
        assert!(in_root(Path::new("/nonexistent"), || ()).is_err());
    }
}
