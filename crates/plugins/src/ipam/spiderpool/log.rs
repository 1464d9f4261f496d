//! The plugin's log: JSON lines in a file that rotates (spec/spiderpool.md 4).

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use polynic_cni::log_file::{self, Rotation};
use serde_json::{Value, json};

/// How important a line is. Each level includes those after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
    Panic,
}

impl Level {
    const ALL: [(&'static str, Self); 6] = [
        ("debug", Self::Debug),
        ("info", Self::Info),
        ("warn", Self::Warn),
        ("error", Self::Error),
        ("fatal", Self::Fatal),
        ("panic", Self::Panic),
    ];

    /// A level by its name in any case.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, level)| level)
    }

    fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, level)| *level == self).map_or("", |(name, _)| name)
    }
}

/// Where lines go, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogConfig {
    pub(super) level: Level,
    pub(super) file: PathBuf,
    pub(super) rotation: Rotation,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: Level::Debug,
            file: PathBuf::from("/var/log/spidernet/spiderpool.log"),
            rotation: Rotation { max_size: 100, max_age: 0, max_count: 0, compress: false },
        }
    }
}

/// The log of one call.
pub(super) struct Log {
    level: Level,
    file: Option<File>,
}

impl Log {
    /// Opens the log. One that cannot be written must not keep a pod from its network: that is a warning.
    pub(super) fn open(config: &LogConfig, warn: &dyn Fn(&str)) -> Self {
        let file =
            open(config).inspect_err(|e| warn(&format!("cannot log to {}: {e}", config.file.display())));
        Self { level: config.level, file: file.ok() }
    }

    /// Writes a line, if its level is wanted.
    pub(super) fn line(&self, level: Level, text: &str, fields: &Value) {
        let Some(mut file) = self.file.as_ref().filter(|_| level >= self.level) else { return };
        let now = log_file::now();
        let line =
            json!({"level": level.name(), "ts": now, "logger": "spiderpool", "msg": text, "fields": fields});
        // Nobody could be told.
        let _ = file.write_all(format!("{line}\n").as_bytes());
    }
}

fn open(config: &LogConfig) -> io::Result<File> {
    if let Some(directory) = config.file.parent() {
        fs::create_dir_all(directory)?;
    }
    log_file::open(&config.file, &config.rotation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_json_objects_of_the_wanted_levels() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("spidernet").join("spiderpool.log");
        let config = LogConfig { level: Level::Info, file: file.clone(), ..LogConfig::default() };
        let log = Log::open(&config, &|text| panic!("{text}"));
        log.line(Level::Debug, "no", &json!({}));
        log.line(Level::Info, "two\nlines", &json!({"pod": "a/b"}));
        let text = fs::read_to_string(file).unwrap();
        assert_eq!(text.lines().count(), 1);
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&line["level"], &line["msg"]), (&json!("info"), &json!("two\nlines")));
        assert_eq!(line["fields"]["pod"], "a/b");
    }

    #[test]
    fn a_log_that_cannot_be_opened_is_a_warning() {
        let warned = std::sync::Mutex::new(0);
        let config = LogConfig { file: "/proc/nowhere/x.log".into(), ..LogConfig::default() };
        Log::open(&config, &|_| *warned.lock().unwrap() += 1).line(Level::Error, "lost", &json!({}));
        assert_eq!(*warned.lock().unwrap(), 1);
    }
}
