//! Log files of plugins: opened once a call, and rotated when large enough (`multus.log` becomes `multus-<time>.log`), as the
//! replaced programs' logger does. What a line looks like is up to the plugin.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

const MEGABYTE: u64 = 1024 * 1024;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// When a log file rotates, and how much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Megabytes at which the file rotates; 0 counts as 1.
    pub max_size: u32,
    /// Days that a rotated file is kept; 0 is for ever.
    pub max_age: u32,
    /// Rotated files that are kept; 0 is all.
    pub max_count: u32,
}

/// Opens a log file for appending. If it has reached its size it is moved away first, and rotated files that are too many or
/// too old are removed.
pub fn open(path: &Path, rotation: &Rotation) -> io::Result<File> {
    rotate(path, rotation)?;
    OpenOptions::new().create(true).append(true).open(path)
}

/// The time of now, as log lines carry it: RFC 3339 in UTC, to the millisecond.
pub fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

fn rotate(path: &Path, rotation: &Rotation) -> io::Result<()> {
    let limit = u64::from(rotation.max_size.max(1)) * MEGABYTE;
    if !fs::metadata(path).is_ok_and(|file| file.len() >= limit) {
        return Ok(());
    }
    let time = Timestamp::now().strftime("%Y-%m-%dT%H-%M-%S%.3f").to_string();
    match fs::rename(path, sibling(path, &format!("-{time}"))) {
        // Another call was faster.
        Err(why) if why.kind() == io::ErrorKind::NotFound => {}
        renamed => renamed?,
    }
    expire(path, rotation)
}

fn expire(path: &Path, rotation: &Rotation) -> io::Result<()> {
    let mut rotated = backups(path)?;
    rotated.sort_by(|a, b| b.cmp(a));
    let kept = if rotation.max_count == 0 { rotated.len() } else { rotation.max_count as usize };
    let old = |file: &PathBuf| rotation.max_age > 0 && age(file) > DAY * rotation.max_age;
    let surplus = rotated.iter().enumerate().filter(|(index, file)| *index >= kept || old(file));
    for (_, file) in surplus {
        // Another call may be removing the same file.
        let _ = fs::remove_file(file);
    }
    Ok(())
}

/// The rotated files; their names sort by time.
fn backups(path: &Path) -> io::Result<Vec<PathBuf>> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (stem, extension) = split(path);
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let middle = name.strip_prefix(&format!("{stem}-")).and_then(|rest| rest.strip_suffix(&extension));
        // Only what looks like a time of ours is ours to remove.
        if middle.is_some_and(|time| time.len() >= 19 && time.starts_with("20") && time.contains('T')) {
            found.push(directory.join(name));
        }
    }
    Ok(found)
}

fn age(file: &Path) -> Duration {
    let changed = fs::metadata(file).and_then(|file| file.modified()).unwrap_or(SystemTime::now());
    changed.elapsed().unwrap_or_default()
}

fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let (stem, extension) = split(path);
    path.with_file_name(format!("{stem}{suffix}{extension}"))
}

fn split(path: &Path) -> (String, String) {
    let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let extension = text(path.extension());
    (text(path.file_stem()), if extension.is_empty() { extension } else { format!(".{extension}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_rotates_and_old_ones_go() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("multus.log");
        let rotation = Rotation { max_size: 1, max_age: 0, max_count: 2 };
        fs::write(directory.path().join("multus-notes.log"), "not ours").unwrap();
        for round in ["00", "01", "02", "03"] {
            // Names differ by the millisecond.
            fs::write(&file, vec![b'x'; 1024 * 1024]).unwrap();
            fs::write(directory.path().join(format!("multus-2020-01-01T00-00-{round}.000.log")), "old")
                .unwrap();
            open(&file, &rotation).unwrap();
        }
        assert_eq!(fs::metadata(&file).unwrap().len(), 0);
        let names: Vec<String> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(names.iter().filter(|name| name.starts_with("multus-20")).count(), 2, "{names:?}");
        assert!(names.contains(&"multus-notes.log".to_owned()));
    }
}
