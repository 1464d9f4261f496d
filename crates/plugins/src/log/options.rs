//! What configurations say about logs, in the two spellings of spec/coordinator.md 1.5.

use std::path::PathBuf;

use polynic_cni::Error;
use serde::Deserialize;

use crate::Call;

const MEGABYTE: u64 = 1024 * 1024;
const DEFAULT_MEGABYTES: u64 = 100;

/// How much is written, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every call.
    Debug,
    /// What calls did.
    Info,
    /// What may be wrong.
    Warn,
    /// What failed.
    Error,
    /// Nothing that happens here.
    Fatal,
}

impl Level {
    /// By its name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "debug" => Self::Debug,
            "info" => Self::Info,
            "warn" => Self::Warn,
            "error" => Self::Error,
            "fatal" | "panic" => Self::Fatal,
            _ => return None,
        })
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }
}

/// Where and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The file.
    pub file: PathBuf,
    /// The least level that is written.
    pub level: Level,
    /// The file is put aside from this size on.
    pub max_bytes: u64,
    /// Files put aside are kept this long; absent: for ever.
    pub max_age_days: Option<u64>,
    /// So many files put aside are kept; absent: all.
    pub max_backups: Option<usize>,
    /// Nobody asked for it: where it cannot be opened, calls go on without.
    pub optional: bool,
}

/// `log_options` of `router` and `veth`.
#[derive(Deserialize)]
#[serde(default)]
struct Snake {
    log_level: String,
    log_file: String,
    log_max_size: u64,
    log_max_age: u64,
    log_max_count: usize,
}

impl Default for Snake {
    fn default() -> Self {
        Self {
            log_level: "debug".into(),
            log_file: String::new(),
            log_max_size: DEFAULT_MEGABYTES,
            log_max_age: 5,
            log_max_count: 5,
        }
    }
}

/// `logOptions` of `coordinator`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Camel {
    log_level: String,
    log_file: String,
    log_max_size: i64,
    log_max_age: i64,
    log_max_count: i64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Keys {
    log_options: Option<Snake>,
    #[serde(rename = "logOptions")]
    log_options_camel: Option<Camel>,
}

fn file(named: &str, default: &str) -> PathBuf {
    PathBuf::from(if named.is_empty() { default } else { named })
}

impl Options {
    /// A file that is put aside at the usual size, and of which the usual number is kept.
    pub(crate) fn new(file: String, level: Level) -> Self {
        let max_bytes = DEFAULT_MEGABYTES.saturating_mul(MEGABYTE);
        Self {
            file: file.into(),
            level,
            max_bytes,
            max_age_days: Some(5),
            max_backups: Some(5),
            optional: false,
        }
    }

    /// Where the replaced plugin writes if it is told nothing: every call.
    fn untold(default_file: &str) -> Self {
        Self { optional: true, ..Self::new(default_file.to_owned(), Level::Debug) }
    }

    /// The object `log_options`. A level of another name is info.
    ///
    /// # Errors
    /// A value of another type.
    pub(crate) fn snake(call: &Call<'_>, default_file: &str) -> Result<Option<Self>, Error> {
        let keys: Keys = call.conf.read()?;
        let Some(o) = keys.log_options else { return Ok(Some(Self::untold(default_file))) };
        Ok(Some(Self {
            file: file(&o.log_file, default_file),
            level: Level::from_name(&o.log_level).unwrap_or(Level::Info),
            max_bytes: o.log_max_size.max(1).saturating_mul(MEGABYTE),
            max_age_days: Some(o.log_max_age),
            max_backups: Some(o.log_max_count),
            optional: false,
        }))
    }

    /// The object `logOptions`. A level of another name, or none, is an error.
    ///
    /// # Errors
    /// As said, or a value of another type.
    pub(crate) fn camel(call: &Call<'_>, default_file: &str) -> Result<Option<Self>, Error> {
        let keys: Keys = call.conf.read()?;
        let Some(o) = keys.log_options_camel else { return Ok(Some(Self::untold(default_file))) };
        let level = Level::from_name(&o.log_level);
        Ok(Some(Self {
            file: file(&o.log_file, default_file),
            level: level.ok_or_else(|| call.error(format!("unsupported log level {}", o.log_level)))?,
            max_bytes: limit(o.log_max_size, DEFAULT_MEGABYTES)
                .unwrap_or(DEFAULT_MEGABYTES)
                .saturating_mul(MEGABYTE),
            max_age_days: limit(o.log_max_age, 30),
            max_backups: limit(o.log_max_count, 10).and_then(|n| usize::try_from(n).ok()),
            optional: false,
        }))
    }
}

/// `log_file` and `log_level` of `whereabouts`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Flat {
    log_file: String,
    log_level: String,
}

impl Flat {
    /// None without a file. Its levels are `debug`, `verbose`, `error` and `panic`; another one, or none, says what calls did.
    pub(crate) fn options(self) -> Option<Options> {
        let level = Level::from_name(&self.log_level).unwrap_or(Level::Info);
        (!self.log_file.is_empty()).then(|| Options {
            file: PathBuf::from(self.log_file),
            level,
            max_bytes: DEFAULT_MEGABYTES * MEGABYTE,
            max_age_days: Some(5),
            max_backups: Some(5),
            optional: false,
        })
    }
}

/// 0 is no limit, a negative number the default.
fn limit(number: i64, default: u64) -> Option<u64> {
    match number {
        0 => None,
        number => Some(u64::try_from(number).unwrap_or(default)),
    }
}
