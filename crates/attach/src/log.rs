//! The log of one call: a line to stderr and to a file that rotates (spec/multus.md 11).
//!
//! Deliberately small: a process lives for one call, and most calls log nothing.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;

use jiff::Zoned;
use polynic_cni::log_file::{self, Rotation};
use serde::Deserialize;

/// How much is logged. Each level includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing that happens in ordinary life.
    #[default]
    Panic,
    /// What went wrong.
    Error,
    /// What was done.
    Verbose,
    /// Why.
    Debug,
}

/// The keys of the configuration that concern the log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LogConfig {
    /// Write to stderr.
    pub log_to_stderr: bool,
    /// Write to this file, unless empty.
    pub log_file: String,
    /// A name of a [`Level`] in any case; empty is the default.
    pub log_level: String,
    /// When the file rotates.
    pub log_options: LogOptions,
}

/// When the log file rotates and how much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LogOptions {
    /// Days that a rotated file is kept; 0 is for ever.
    pub max_age: u32,
    /// Megabytes at which the file rotates.
    pub max_size: u32,
    /// Rotated files that are kept; 0 is all.
    pub max_backups: u32,
    /// Whether rotated files are compressed (gzip).
    pub compress: bool,
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig {
            log_to_stderr: true,
            log_file: String::new(),
            log_level: String::new(),
            log_options: LogOptions::default(),
        }
    }
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions { max_age: 5, max_size: 100, max_backups: 5, compress: true }
    }
}

/// Where the lines go.
pub struct Log {
    level: Level,
    stderr: bool,
    file: Option<Mutex<File>>,
}

impl Log {
    /// A log that swallows everything.
    pub fn silent() -> Log {
        Log { level: Level::Panic, stderr: false, file: None }
    }

    /// Opens the log. Trouble with it is told on stderr and stops nothing.
    pub fn open(config: &LogConfig) -> Log {
        let level = level(&config.log_level).unwrap_or_else(|| {
            complain(&format!("multus logging: unknown log level {:?}", config.log_level));
            Level::default()
        });
        let file = Some(&config.log_file).filter(|file| !file.is_empty() && level > Level::Panic);
        let file = file.and_then(|file| open(Path::new(file), &config.log_options));
        Log { level, stderr: config.log_to_stderr, file }
    }

    /// What went wrong.
    pub fn error(&self, text: &str) {
        self.line(Level::Error, text);
    }

    /// What was done. The text is made only if somebody reads it.
    pub fn verbose(&self, text: impl FnOnce() -> String) {
        if self.level >= Level::Verbose {
            self.line(Level::Verbose, &text());
        }
    }

    /// Why something was done.
    pub fn debug(&self, text: impl FnOnce() -> String) {
        if self.level >= Level::Debug {
            self.line(Level::Debug, &text());
        }
    }

    fn line(&self, level: Level, text: &str) {
        if level > self.level || !(self.stderr || self.file.is_some()) {
            return;
        }
        let now = Zoned::now().strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
        let name = format!("{level:?}").to_lowercase();
        let line = format!("{now} [{name}] {}\n", text.replace('\n', " "));
        // A log that cannot be written must not keep a pod from its network.
        if self.stderr {
            let _ = io::stderr().write_all(line.as_bytes());
        }
        if let Some(file) = self.file.as_ref().and_then(|file| file.lock().ok()) {
            let _ = (&*file).write_all(line.as_bytes());
        }
    }
}

fn level(name: &str) -> Option<Level> {
    match name.to_lowercase().as_str() {
        "" | "panic" => Some(Level::Panic),
        "error" => Some(Level::Error),
        "verbose" => Some(Level::Verbose),
        "debug" => Some(Level::Debug),
        _ => None,
    }
}

fn open(path: &Path, options: &LogOptions) -> Option<Mutex<File>> {
    let LogOptions { max_age, max_size, max_backups: max_count, compress } = *options;
    let report =
        |why: &io::Error| complain(&format!("multus logging: cannot log to {}: {why}", path.display()));
    let rotation = Rotation { max_size, max_age, max_count, compress };
    log_file::open(path, &rotation).inspect_err(report).ok().map(Mutex::new)
}

fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

#[cfg(test)]
mod tests;
