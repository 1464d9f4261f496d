//! Processes of the lab: telling them apart from others with the same number, starting them, ending them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A process: its number may be given to another one later, the pair may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The process id.
    pub pid: u32,
    /// When it started, in clock ticks since boot (proc(5), `starttime`).
    pub started: u64,
}

impl Identity {
    /// The process that has this number now.
    pub fn of(pid: u32) -> Result<Identity> {
        let proc = File::open("/proc").map_err(Error::io("open /proc"))?;
        Identity::within(&proc, pid)
    }

    /// As [`Identity::of`], by the numbers of an open /proc: another one may be mounted over it by now.
    pub fn within(proc: &File, pid: u32) -> Result<Identity> {
        let path = format!("{pid}/stat");
        let what = || format!("read /proc/{path}");
        let file = openat(proc, &path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(Error::sys(what()))?;
        let stat = io::read_to_string(File::from(file)).map_err(Error::io(what()))?;
        let started = start_time(&stat).ok_or_else(|| Error::Input(format!("{path}: no start time")))?;
        Ok(Identity { pid, started })
    }

    /// Whether the process is still there (a zombie is not).
    pub fn is_alive(&self) -> bool {
        let Ok(stat) = fs::read_to_string(format!("/proc/{}/stat", self.pid)) else { return false };
        start_time(&stat) == Some(self.started) && !is_zombie(&stat)
    }

    /// Kills the process and waits until it has gone. It is fine if it went by itself.
    pub fn kill(&self, patience: Duration) -> Result<()> {
        let what = || format!("kill process {}", self.pid);
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
        let process = match pidfd_open(pid, PidfdFlags::empty()) {
            Err(Errno::SRCH) => return Ok(()),
            other => other.map_err(Error::sys(what()))?,
        };
        // The descriptor holds on to one process: only now is it safe to look whether that is ours.
        if !self.is_alive() {
            return Ok(());
        }
        match pidfd_send_signal(process.as_fd(), Signal::KILL) {
            Err(Errno::SRCH) => return Ok(()),
            other => other.map_err(Error::sys(what()))?,
        }
        match wait_readable(&process, patience).map_err(Error::sys(what()))? {
            true => Ok(()),
            false => Err(Error::Waited(format!("process {} does not end within {patience:?}", self.pid))),
        }
    }
}

/// Whether a descriptor becomes readable in time. A signal that somebody handles meanwhile ends no wait.
fn wait_readable(descriptor: &impl AsFd, patience: Duration) -> std::result::Result<bool, Errno> {
    let end = Instant::now() + patience;
    loop {
        let timeout = Timespec::try_from(end.saturating_duration_since(Instant::now())).ok();
        match poll(&mut [PollFd::new(descriptor, PollFlags::IN)], timeout.as_ref()) {
            Err(Errno::INTR) => {}
            ended => return Ok(ended? > 0),
        }
    }
}

impl Identity {
    /// Kills the process and all others that share its view of the file system, at once. New ones that they start meanwhile go too.
    pub fn kill_all_beside(&self, patience: Duration) -> Result<()> {
        let view = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
        let Some(own) = view(self.pid) else { return Ok(()) };
        loop {
            let all = fs::read_dir("/proc").map_err(Error::io("look at all processes"))?.flatten();
            let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
            let beside: Vec<u32> = pids.filter(|pid| view(*pid).as_ref() == Some(&own)).collect();
            let alive: Vec<Identity> = beside
                .into_iter()
                .filter_map(|pid| Identity::of(pid).ok())
                .filter(Identity::is_alive)
                .collect();
            if alive.is_empty() {
                return Ok(());
            }
            for process in alive {
                process.kill(patience)?;
            }
        }
    }
}

/// Field 22. The name in field 2 may hold anything, so fields are counted from its closing parenthesis.
fn start_time(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

fn is_zombie(stat: &str) -> bool {
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
}

/// This very program again, with a hidden subcommand: also when its file has been replaced or covered since.
pub fn again<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("polynic-lab").args(args);
    command
}

/// As [`again`], by the path of the program's file: for when /proc will not show this process any more.
pub fn again_by_path<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Result<Command> {
    let program = std::env::current_exe().map_err(Error::io("find this program's file"))?;
    let mut command = Command::new(program);
    command.args(args);
    Ok(command)
}

/// The path of a process's network namespace.
pub fn network_of(pid: u32) -> std::path::PathBuf {
    Path::new("/proc").join(pid.to_string()).join("ns/net")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(start_time(&format!("9 (a) b) {rest}")), Some(4711));
        assert_eq!(start_time("9 (short) S 1"), None);
    }

    #[test]
    fn killing_waits_for_the_end_and_may_be_repeated() {
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let identity = Identity::of(child.id()).unwrap();
        assert!(identity.is_alive());
        identity.kill(Duration::from_secs(5)).unwrap();
        assert!(!identity.is_alive());
        child.wait().unwrap();
        identity.kill(Duration::from_secs(5)).unwrap();
    }

    #[test]
    fn a_process_of_another_start_time_is_left_alone() {
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let real = Identity::of(child.id()).unwrap();
        let other = Identity { started: real.started + 1, ..real };
        other.kill(Duration::from_secs(1)).unwrap();
        assert!(real.is_alive());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
