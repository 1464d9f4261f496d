//! Log files of plugins: opened once a call, and rotated when large enough (`multus.log` becomes `multus-<time>.log`, or `.log.gz`), as the
//! replaced programs' logger does. What a line looks like is up to the plugin.
//!
//! Whoever finds a file full compresses it at once, because a plugin's process has no later. At the default size that is a second for one call in some
//! ten thousand. A process that lives on does it on a thread of its own, see [`compress_aside`].

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;
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
    /// Whether rotated files are compressed (gzip).
    pub compress: bool,
}

/// What a rotated file may end with behind the log's own name: compressed, and on the way to it.
const ENDINGS: [&str; 3] = ["", ".gz", ".gz.new"];

/// When a file that was moved away is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Now,
    Aside,
}

static LIVES_ON: AtomicBool = AtomicBool::new(false);

/// This process lives on: from now on no call waits for a rotated file to be compressed.
pub fn compress_aside() {
    LIVES_ON.store(true, Ordering::Relaxed);
}

/// Opens a log file for appending. If it has reached its size it is moved away first, and rotated files that are too many or
/// too old are removed.
pub fn open(path: &Path, rotation: &Rotation) -> io::Result<File> {
    open_with(path, rotation, if LIVES_ON.load(Ordering::Relaxed) { When::Aside } else { When::Now })
}

fn open_with(path: &Path, rotation: &Rotation, when: When) -> io::Result<File> {
    rotate(path, rotation, when)?;
    OpenOptions::new().create(true).append(true).open(path)
}

/// The time of now, as log lines carry it: RFC 3339 in UTC, to the millisecond.
pub fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

fn rotate(path: &Path, rotation: &Rotation, when: When) -> io::Result<()> {
    let limit = u64::from(rotation.max_size.max(1)) * MEGABYTE;
    if !fs::metadata(path).is_ok_and(|file| file.len() >= limit) {
        return Ok(());
    }
    let time = Timestamp::now().strftime("%Y-%m-%dT%H-%M-%S%.3f").to_string();
    let rotated = sibling(path, &format!("-{time}"));
    match fs::rename(path, &rotated) {
        // Another call was faster.
        Err(why) if why.kind() == io::ErrorKind::NotFound => return expire(path, rotation),
        renamed => renamed?,
    }
    let (path, rotation) = (path.to_owned(), *rotation);
    let finish = move || {
        if rotation.compress {
            // What cannot be compressed, as on a full disk, stays as it is.
            let _ = compress(&rotated);
        }
        expire(&path, &rotation)
    };
    match when {
        When::Now => finish(),
        When::Aside => {
            // Without a thread it stays as large as it is until the next time; what is to be logged is worth more.
            let _ = thread::Builder::new().name("log".to_owned()).spawn(finish);
            Ok(())
        }
    }
}

/// Puts a compressed file in place of a rotated one, whose permissions it gets.
fn compress(rotated: &Path) -> io::Result<()> {
    let [_, done, new] = ENDINGS.map(|ending| {
        let mut name = rotated.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    });
    let mut from = File::open(rotated)?;
    let to = File::create(&new)?;
    to.set_permissions(from.metadata()?.permissions())?;
    let mut to = GzEncoder::new(to, Compression::fast());
    let written = io::copy(&mut from, &mut to).and_then(|_| to.finish());
    let replaced = written.and_then(|_| fs::rename(&new, done)).and_then(|()| fs::remove_file(rotated));
    if replaced.is_err() {
        let _ = fs::remove_file(&new);
    }
    replaced
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
        let ours = name.strip_prefix(&format!("{stem}-"));
        let endings = ENDINGS.iter().map(|ending| format!("{extension}{ending}"));
        let middle = ours.and_then(|rest| endings.into_iter().find_map(|ending| rest.strip_suffix(&ending)));
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
    use flate2::read::GzDecoder;
    use std::fs::Permissions;
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_full_file_rotates_and_old_ones_go() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("multus.log");
        let rotation = Rotation { max_size: 1, max_age: 0, max_count: 2, compress: false };
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

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_rotated_file_is_compressed_whole_with_its_permissions() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("multus.log");
        let text: String = (0..200_000).map(|number| format!("line {number}\n")).collect();
        fs::write(&file, &text).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        open(&file, &Rotation { max_size: 1, max_age: 0, max_count: 0, compress: true }).unwrap();
        let names = names(directory.path());
        assert!(
            names.len() == 2 && names[0].starts_with("multus-20") && names[0].ends_with(".log.gz"),
            "{names:?}"
        );
        let compressed = directory.path().join(&names[0]);
        assert_eq!(fs::metadata(&compressed).unwrap().permissions().mode() & 0o777, 0o640);
        let mut read = String::new();
        GzDecoder::new(File::open(compressed).unwrap()).read_to_string(&mut read).unwrap();
        assert!(read == text, "{} bytes of {}", read.len(), text.len());
    }

    #[test]
    fn nobody_waits_for_it_where_the_process_lives_on() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("multus.log");
        fs::write(&file, vec![b'x'; 1024 * 1024]).unwrap();
        fs::write(directory.path().join("multus-2020-01-01T00-00-00.000.log"), "old").unwrap();
        let rotation = Rotation { max_size: 1, max_age: 0, max_count: 1, compress: true };
        assert_eq!(open_with(&file, &rotation, When::Aside).unwrap().metadata().unwrap().len(), 0);
        let begun = std::time::Instant::now();
        let is_done = |names: &[String]| names.len() == 2 && names[0].ends_with(".log.gz");
        while !is_done(&names(directory.path())) {
            assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", names(directory.path()));
            thread::yield_now();
        }
    }

    #[test]
    fn files_older_than_the_age_go_whatever_became_of_them() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("multus.log");
        let days = |count: u32| SystemTime::now() - DAY * count;
        let rotated =
            [("01.log", 9), ("02.log.gz", 9), ("03.log.gz.new", 9), ("04.log", 1), ("05.log.gz", 1)];
        for (ending, age) in rotated {
            let old =
                File::create(directory.path().join(format!("multus-2026-01-01T00-00-00.0{ending}"))).unwrap();
            old.set_modified(days(age)).unwrap();
        }
        fs::write(&file, vec![b'x'; 1024 * 1024]).unwrap();
        open(&file, &Rotation { max_size: 1, max_age: 5, max_count: 0, compress: true }).unwrap();
        let left = names(directory.path());
        assert_eq!(
            left[..2],
            ["multus-2026-01-01T00-00-00.004.log", "multus-2026-01-01T00-00-00.005.log.gz"]
        );
        // And the one that was rotated now, and the new one.
        assert_eq!(left.len(), 4, "{left:?}");
    }
}
