//! A container's log, in the format of container runtimes: time, stream, whether the line is whole, text.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;

use crate::error::{Error, Result};

/// An open log. Its clones write to the same file.
#[derive(Clone)]
pub struct Log(Arc<File>);

impl Log {
    /// Opens a log to add to it.
    pub fn open(path: &Path) -> Result<Log> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        Ok(Log(Arc::new(file.map_err(Error::io(format!("open {}", path.display())))?)))
    }

    /// Adds a line.
    pub fn line(&self, text: &str) {
        let line = format(Timestamp::now(), text);
        // A full disk must not end the pod.
        let _ = (&*self.0).write_all(line.as_bytes());
    }
}

fn format(now: Timestamp, text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{} stdout F {text}\n", now.strftime("%Y-%m-%dT%H:%M:%S.%9fZ"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_with_its_time() {
        assert_eq!(format(Timestamp::UNIX_EPOCH, "a\nb"), "1970-01-01T00:00:00.000000000Z stdout F a b\n");
    }
}
