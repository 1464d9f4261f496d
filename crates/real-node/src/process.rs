//! A server inside a machine, killed when its value goes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// A process started by [`Space::command`](crate::Space::command), with its output in a file.
#[derive(Debug)]
pub struct Process {
    nsenter: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it; the log is appended to.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn start(mut command: Command, log: &Path) -> Self {
        let output = File::options().create(true).append(true).open(log).unwrap();
        let nsenter =
            command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap();
        Self { nsenter, log: log.to_owned() }
    }

    /// Kills it and waits until it is gone; one that has ended by itself is fine.
    pub fn kill(&mut self) {
        // `nsenter` waits for the process itself, which alone is in the machine, and ends with it.
        for pid in children(self.nsenter.id()) {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = self.nsenter.wait();
    }

    /// True once it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.nsenter.try_wait().is_ok_and(|status| status.is_some())
    }

    /// The end of its log, for people.
    pub fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The children of a process, which has one thread.
pub(crate) fn children(of: u32) -> Vec<Pid> {
    let text = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}
