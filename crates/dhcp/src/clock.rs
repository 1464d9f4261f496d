//! The time since the machine was started: the same for a daemon and for the one that takes over from it.

use std::io;
use std::time::{Duration, Instant};

use crate::Time;

/// A clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    offset: Duration,
}

impl Clock {
    /// Sets the clock by `/proc/uptime` (proc(5)), which has hundredths of a second.
    pub(crate) fn new() -> io::Result<Self> {
        let text = std::fs::read_to_string("/proc/uptime")?;
        let seconds = text.split_whitespace().next().and_then(|first| first.parse().ok());
        let offset = seconds.and_then(|s| Duration::try_from_secs_f64(s).ok());
        let offset = offset.ok_or_else(|| io::Error::other(format!("/proc/uptime says {text:?}")))?;
        Ok(Self { start: Instant::now(), offset })
    }

    pub(crate) fn now(&self) -> Time {
        self.offset + self.start.elapsed()
    }
}
