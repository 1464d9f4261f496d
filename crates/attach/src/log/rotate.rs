//! Rotation of the log file: `multus.log` becomes `multus-<time>.log` when it is large enough.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::LogOptions;

const MEGABYTE: u64 = 1024 * 1024;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Moves the file away if it has reached its size, and removes rotated files that are too many or too old.
pub(super) fn rotate(path: &Path, options: &LogOptions) -> io::Result<()> {
    let limit = u64::from(options.max_size.max(1)) * MEGABYTE;
    if !fs::metadata(path).is_ok_and(|file| file.len() >= limit) {
        return Ok(());
    }
    let time = Timestamp::now().strftime("%Y-%m-%dT%H-%M-%S%.3f").to_string();
    match fs::rename(path, sibling(path, &format!("-{time}"))) {
        // Another call was faster.
        Err(why) if why.kind() == io::ErrorKind::NotFound => {}
        renamed => renamed?,
    }
    expire(path, options)
}

fn expire(path: &Path, options: &LogOptions) -> io::Result<()> {
    let mut rotated = backups(path)?;
    rotated.sort_by(|a, b| b.cmp(a));
    let kept = if options.max_backups == 0 { rotated.len() } else { options.max_backups as usize };
    let old = |file: &PathBuf| options.max_age > 0 && age(file) > DAY * options.max_age;
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
