//! Files that were about to be renamed when their process was killed.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// A file is written within milliseconds. A process that was stopped for longer fails at its rename, and says so.
const WRITING: Duration = Duration::from_secs(60);

/// Removes those of a directory that nobody writes any more, by the beginnings of their names. `now` is the time of the files.
pub fn sweep(directory: &Path, prefixes: &[&str], now: SystemTime) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_unfinished =
            prefixes.iter().any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes()));
        let written = entry.metadata().and_then(|meta| meta.modified()).ok();
        let age = written.and_then(|written| now.duration_since(written).ok()).unwrap_or_default();
        if is_unfinished && age >= WRITING {
            // Whoever writes it after all makes it anew.
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_goes_after_a_while_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        for name in [".c1:eth0.json", "c2:eth0.json"] {
            fs::write(directory.path().join(name), "{").unwrap();
        }
        let left = |now: SystemTime| {
            sweep(directory.path(), &["."], now);
            fs::read_dir(directory.path()).unwrap().count()
        };
        // A clock that was set back makes nothing old.
        assert_eq!(left(SystemTime::now() - WRITING), 2);
        assert_eq!(left(SystemTime::now()), 2);
        assert_eq!(left(SystemTime::now() + WRITING * 2), 1);
        assert!(directory.path().join("c2:eth0.json").exists());
        sweep(Path::new("/nonexistent"), &["."], SystemTime::now());
    }
}
