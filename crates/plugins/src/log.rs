//! Log files of plugins: a JSON object a line, and rotation by size, age and number (spec/coordinator.md 1.5). The routing plugins have one
//! whatever their configuration says, others if it asks for one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use polynic_cni::{Error, Output, Verb};
use serde_json::json;

use crate::Call;

mod options;

pub(crate) use options::Flat;
pub use options::{Level, Options};

/// An open log.
pub(crate) struct Log {
    options: Options,
    file: File,
}

impl Log {
    /// Opens the file, with its directory; what is full is put aside first.
    ///
    /// # Errors
    /// The file or its directory cannot be made.
    pub(crate) fn open(options: Options) -> io::Result<Self> {
        if let Some(directory) = options.file.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
        }
        let file = append(&options.file)?;
        let full = file.metadata()?.len() >= options.max_bytes;
        let file = if full { rotate(&options, file)? } else { file };
        Ok(Self { options, file })
    }

    /// Notes how a call ended. A log that cannot be written keeps nobody from the network.
    pub(crate) fn outcome(&mut self, call: &Call<'_>, verb: Verb, outcome: &Result<Output, Error>) {
        let (level, text) = match outcome {
            Ok(_) => (Level::Info, format!("{} succeeded", verb.as_str())),
            Err(e) => (Level::Error, format!("{} failed: {}", verb.as_str(), e.msg)),
        };
        self.write(level, call, verb, &text);
    }

    /// Notes that a call begins.
    pub(crate) fn begin(&mut self, call: &Call<'_>, verb: Verb) {
        self.write(Level::Debug, call, verb, &format!("{} in {}", verb.as_str(), call.invocation.netns));
    }

    fn write(&mut self, level: Level, call: &Call<'_>, verb: Verb, text: &str) {
        if level < self.options.level {
            return;
        }
        let (namespace, pod) = call.pod().unwrap_or_default();
        let line = json!({"level": level.as_str(), "ts": now(), "logger": call.plugin, "caller": "polynic",
            "msg": text, "Action": verb.as_str(), "ContainerID": call.container_id(), "PodName": pod,
            "PodNamespace": namespace, "IfName": call.ifname.as_str()});
        // One write a line: those of several processes stay whole.
        let _ = self.file.write_all(format!("{line}\n").as_bytes());
    }
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}

fn append(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).mode(0o600).open(path)
}

/// Puts the full file aside under a name with the time, removes what is too old or too much, and begins a new one.
fn rotate(options: &Options, full: File) -> io::Result<File> {
    // Of several processes that find it full one moves it.
    full.lock()?;
    if fs::metadata(&options.file).is_ok_and(|m| m.len() >= options.max_bytes) {
        fs::rename(&options.file, aside(&options.file))?;
        prune(options);
    }
    append(&options.file)
}

/// `router.log` becomes `router-2026-01-02T03-04-05.678901234Z.log`.
fn aside(path: &Path) -> PathBuf {
    let part =
        |part: Option<&std::ffi::OsStr>| part.map(|p| p.to_string_lossy().into_owned()).unwrap_or_default();
    let stamp = now().replace(':', "-");
    let extension = path.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
    path.with_file_name(format!("{}-{stamp}{extension}", part(path.file_stem())))
}

/// Errors leave a file too many, which the next rotation finds again.
fn prune(options: &Options) {
    let mut backups = backups(&options.file);
    backups.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
    let limit = options.max_backups.unwrap_or(usize::MAX);
    for (at, (time, path)) in backups.iter().enumerate() {
        let age = SystemTime::now().duration_since(*time).unwrap_or_default();
        let old =
            options.max_age_days.is_some_and(|days| age > Duration::from_secs(days.saturating_mul(86_400)));
        if at >= limit || old {
            let _ = fs::remove_file(path);
        }
    }
}

fn backups(path: &Path) -> Vec<(SystemTime, PathBuf)> {
    let stem = path.file_stem().map(|s| format!("{}-2", s.to_string_lossy())).unwrap_or_default();
    let is_ours = |file: &Path| {
        let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        name.starts_with(&stem) && file.extension() == path.extension()
    };
    let files = path.parent().and_then(|d| fs::read_dir(d).ok()).into_iter().flatten().flatten();
    let files = files.map(|f| f.path()).filter(|file| is_ours(file));
    files.filter_map(|file| Some((fs::metadata(&file).ok()?.modified().ok()?, file))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(directory: &Path, max_bytes: u64) -> Options {
        let file = directory.join("a/router.log");
        Options {
            file,
            level: Level::Info,
            max_bytes,
            max_age_days: Some(5),
            max_backups: Some(2),
            optional: false,
        }
    }

    #[test]
    fn a_full_file_is_put_aside_and_two_are_kept() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let options = options(directory.path(), 10);
        for _ in 0..5 {
            let mut log = Log::open(options.clone()).unwrap();
            log.file.write_all(b"0123456789\n").unwrap();
        }
        assert_eq!(fs::read(&options.file).unwrap(), b"0123456789\n");
        assert_eq!(backups(&options.file).len(), 2);
        assert_eq!(fs::metadata(&options.file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_cannot_be_made_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a"), "a file").unwrap();
        assert!(Log::open(options(directory.path(), 10)).is_err());
    }
}
