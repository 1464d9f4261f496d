//! Leaving and joining namespaces.
//!
//! Everything here changes the calling thread only, and mount, user and PID namespaces can only be changed by a process with one
//! thread. Hence the lab's hidden subcommands call these functions first thing, before a runtime starts.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, geteuid, getgid, getuid, pidfd_open};
use rustix::thread::{ThreadNameSpaceType, UnshareFlags, move_into_thread_name_spaces};

use crate::error::{Error, Result};

/// The namespaces that a lab has for itself, beside the user namespace.
const OF_A_LAB: UnshareFlags = UnshareFlags::NEWNS
    .union(UnshareFlags::NEWNET)
    .union(UnshareFlags::NEWUTS)
    .union(UnshareFlags::NEWIPC)
    .union(UnshareFlags::NEWPID);

/// Takes the process out of the machine's namespaces: with privilege directly, otherwise through a user namespace in which
/// it is root. The PID namespace is for the children: the next process started is its pid 1.
///
/// # Errors
/// [`Error::Forbidden`] with the command that helps, if the machine does not let this user.
pub fn leave_machine() -> Result<()> {
    if geteuid().is_root() && unshare(OF_A_LAB).is_ok() {
        return Ok(());
    }
    become_root_of_user_namespace().map_err(crate::diagnose::user_namespace)?;
    unshare(OF_A_LAB).map_err(crate::diagnose::namespaces)
}

/// Gives the process namespaces of its own: a network, a host name, and with `mounts` a view of the file system.
pub fn leave_lab(mounts: bool) -> Result<()> {
    let base = UnshareFlags::NEWNET | UnshareFlags::NEWUTS;
    let flags = if mounts { base | UnshareFlags::NEWNS } else { base };
    unshare(flags).map_err(Error::sys("make namespaces"))
}

/// Gives the process its own host name only.
pub fn leave_host_name(name: &str) -> Result<()> {
    unshare(UnshareFlags::NEWUTS).map_err(Error::sys("make a UTS namespace"))?;
    set_host_name(name)
}

/// Sets the host name of the current UTS namespace.
pub fn set_host_name(name: &str) -> Result<()> {
    rustix::system::sethostname(name.as_bytes()).map_err(Error::sys(format!("set host name {name}")))
}

#[allow(deprecated, reason = "its unsafe successor guards against CLONE_FILES, which no caller here passes")]
fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    rustix::thread::unshare(flags)
}

/// One id is all that an ordinary user may map, and all that the lab needs.
fn become_root_of_user_namespace() -> std::io::Result<()> {
    let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
    unshare(UnshareFlags::NEWUSER)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1"))?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))
}

/// Which namespaces of another process to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// All of a lab's, from outside. The PID namespace is for the children.
    Lab,
    /// A node's or pod's network, host name and mounts, from within the lab.
    Inner,
}

/// Joins the namespaces of the process `pid`.
pub fn join(pid: u32, which: Join) -> Result<()> {
    let what = || format!("join the namespaces of process {pid}");
    let id = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let id = id.ok_or_else(|| Error::Input(format!("{pid} is no process id")))?;
    let process = pidfd_open(id, PidfdFlags::empty()).map_err(Error::sys(what()))?;
    let network = ThreadNameSpaceType::NETWORK | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME | MOUNTS;
    if which == Join::Inner {
        return setns(process.as_fd(), network).map_err(Error::sys(what()));
    }
    let all = network | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION | ThreadNameSpaceType::PROCESS_ID;
    // The kernel refuses to join the user namespace that one is in already.
    let result = match setns(process.as_fd(), all | ThreadNameSpaceType::USER) {
        Err(Errno::INVAL) => setns(process.as_fd(), all),
        other => other,
    };
    result.map_err(Error::sys(what()))
}

const MOUNTS: ThreadNameSpaceType = ThreadNameSpaceType::MOUNT;

fn setns(process: BorrowedFd<'_>, which: ThreadNameSpaceType) -> Result<(), Errno> {
    move_into_thread_name_spaces(process, which)
}
