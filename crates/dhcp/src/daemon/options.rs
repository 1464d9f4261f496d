//! The command line `dhcp daemon`, as Go's flags are written: one or two dashes, the value after `=` or as the next word
//! (spec/plugins.md 2.3).

use std::path::PathBuf;
use std::time::Duration;

use polynic_cni::go_duration;

use crate::retry::Timing;
use crate::rpc::DEFAULT_SOCKET;

/// Where leases are kept by default.
pub const DEFAULT_STATE: &str = "/run/polynic/dhcp";

/// Flags that need a value. All but the last are the replaced daemon's.
const WITH_VALUE: [&str; 7] =
    ["socketpath", "pidfile", "hostprefix", "timeout", "resendmax", "resendtimeout", "statedir"];

/// What a daemon is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where plugins call.
    pub socket: PathBuf,
    /// Where our process id is written.
    pub pid_file: Option<PathBuf>,
    /// In front of the paths of socket and namespaces.
    pub host_prefix: String,
    /// Answers must always be broadcast.
    pub broadcast: bool,
    /// The limits of attempts.
    pub timing: Timing,
    /// Where leases are kept.
    pub state: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            socket: DEFAULT_SOCKET.into(),
            pid_file: None,
            host_prefix: String::new(),
            broadcast: false,
            timing: Timing::default(),
            state: DEFAULT_STATE.into(),
        }
    }
}

/// What is wrong with a command line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// There is no such flag.
    #[error(
        "flag provided but not defined: {0}; there are -socketpath, -pidfile, -hostprefix, -broadcast, -timeout, -resendmax, -resendtimeout and -statedir"
    )]
    Unknown(String),
    /// A flag has no value.
    #[error("flag needs an argument: -{0}")]
    NoValue(String),
    /// A value is none that the flag can have.
    #[error("invalid value {1:?} for flag -{0}")]
    Value(String, String),
    /// The path of the file with the process id is relative.
    #[error("Error writing pidfile {0:?}: path not absolute")]
    Relative(PathBuf),
}

impl Options {
    /// Reads the words after `dhcp daemon`.
    ///
    /// # Errors
    /// [`OptionsError`].
    pub fn read(words: impl IntoIterator<Item = String>) -> Result<Self, OptionsError> {
        let mut options = Self::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let flag = word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
            let flag = flag.ok_or_else(|| OptionsError::Unknown(word.clone()))?;
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            if name == "broadcast" {
                options.broadcast = switch(name, value)?;
                continue;
            }
            if !WITH_VALUE.contains(&name) {
                return Err(OptionsError::Unknown(word));
            }
            let value =
                value.map_or_else(|| words.next().ok_or_else(|| OptionsError::NoValue(name.to_owned())), Ok);
            options.set(name, value?)?;
        }
        match options.pid_file.clone() {
            Some(path) if path.is_relative() => Err(OptionsError::Relative(path)),
            _ => Ok(options),
        }
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), OptionsError> {
        let duration = |value: &str| {
            let read = go_duration::milliseconds(value).map(Duration::from_millis);
            read.ok_or_else(|| OptionsError::Value(name.to_owned(), value.to_owned()))
        };
        match name {
            "socketpath" => self.socket = value.into(),
            "pidfile" => self.pid_file = Some(value.into()),
            "hostprefix" => self.host_prefix = value,
            "timeout" => self.timing.attempt = duration(&value)?,
            "resendmax" => self.timing.longest_pause = duration(&value)?,
            "resendtimeout" => self.timing.give_up = duration(&value)?,
            _ => self.state = value.into(),
        }
        Ok(())
    }
}

fn switch(name: &str, value: Option<String>) -> Result<bool, OptionsError> {
    match value.as_deref() {
        None | Some("true" | "TRUE" | "True" | "t" | "T" | "1") => Ok(true),
        Some("false" | "FALSE" | "False" | "f" | "F" | "0") => Ok(false),
        Some(other) => Err(OptionsError::Value(name.to_owned(), other.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Options, String> {
        Options::read(words.iter().map(|w| (*w).to_owned())).map_err(|e| e.to_string())
    }

    #[test]
    fn the_replaced_daemons_command_line_is_understood() {
        assert_eq!(read(&[]).unwrap(), Options::default());
        let given = read(&[
            "-socketpath",
            "/s",
            "--pidfile=/p",
            "-hostprefix",
            "/host",
            "-broadcast",
            "--timeout",
            "3s",
            "-resendmax=1m",
            "-resendtimeout",
            "90s",
        ]);
        let timing = Timing {
            attempt: Duration::from_secs(3),
            longest_pause: Duration::from_secs(60),
            give_up: Duration::from_secs(90),
        };
        let expected = Options {
            socket: "/s".into(),
            pid_file: Some("/p".into()),
            host_prefix: "/host".into(),
            broadcast: true,
            timing,
            ..Options::default()
        };
        assert_eq!(given.unwrap(), expected);
        assert!(!read(&["-broadcast=false"]).unwrap().broadcast);
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(read(&["-verbose"]).unwrap_err().starts_with("flag provided but not defined: -verbose"));
        assert_eq!(read(&["-timeout"]).unwrap_err(), "flag needs an argument: -timeout");
        assert_eq!(read(&["-timeout", "soon"]).unwrap_err(), "invalid value \"soon\" for flag -timeout");
        assert_eq!(
            read(&["-pidfile", "here"]).unwrap_err(),
            "Error writing pidfile \"here\": path not absolute"
        );
    }
}
