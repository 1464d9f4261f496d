//! What processes that were killed left beside the caches: files that were about to be renamed, and files of locks.

use std::path::Path;
use std::time::SystemTime;

use polynic_wire::unfinished;

use crate::container_lock::sweep_locks;

/// How the names of files begin that are about to be renamed: ours, and those of the result cache. No container id begins with a dot.
const UNFINISHED: [&str; 2] = [".scratch-", ".result-"];

/// Removes what nobody writes any more, and locks that nobody holds. `now` is the time of the files.
pub fn sweep(cni_dir: &Path, now: SystemTime) {
    sweep_locks(cni_dir);
    unfinished::sweep(cni_dir, &UNFINISHED, now);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::Duration;

    #[test]
    fn what_nobody_writes_any_more_goes_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let names = [".lock-gone", ".other", ".result-7-0", ".scratch-7-1", "c1"];
        for name in names {
            fs::write(directory.path().join(name), "").unwrap();
        }
        let left = |age: Duration| {
            sweep(directory.path(), SystemTime::now() + age);
            let mut left: Vec<String> = fs::read_dir(directory.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            left.sort();
            left
        };
        // A clock that was set back makes nothing old.
        assert_eq!(left(Duration::ZERO), names[1..]);
        assert_eq!(left(Duration::from_secs(120)), [".other", "c1"]);
        sweep(Path::new("/nonexistent"), SystemTime::now());
    }
}
