//! Private namespaces for a whole process, so that the lab and the tests never touch the machine's network.

use std::io;
use std::path::Path;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// What to make private besides the network and the mounts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Use a user namespace although the process may do without, to see what an ordinary user would see.
    pub user: bool,
    /// The next child process is the first of a new process namespace. It has to mount its own /proc.
    pub pid: bool,
    /// Host name.
    pub uts: bool,
    /// Bring the loopback link up.
    pub loopback: bool,
}

/// Why there is no private network.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The process has more than one thread.
    #[error("cannot move a process with {0} threads into private namespaces")]
    Threads(usize),
    /// Neither as it is nor in a user namespace may the process make namespaces.
    #[error("cannot make private namespaces: {0}")]
    Namespaces(#[source] io::Error),
    /// The user namespace could not be given its users.
    #[error("cannot map user and group into the user namespace: {0}")]
    Mapping(#[source] io::Error),
    /// Mounts could not be set up.
    #[error("cannot mount {what}: {cause}")]
    Mount {
        /// Where.
        what: &'static str,
        /// Why.
        cause: io::Error,
    },
    /// The loopback link could not be brought up.
    #[error("cannot bring up the loopback link: {0}")]
    Loopback(String),
}

/// Moves the process into namespaces of its own: network and mounts, with an empty /run and with /sys showing the new
/// network (and nothing else that was mounted below); in a user namespace if it is not privileged. Whatever the process did before, like open sockets, stays where
/// it was.
///
/// # Errors
/// [`SandboxError`]; the process may then be in some of the namespaces and should give up.
pub fn enter_private(options: Options) -> Result<(), SandboxError> {
    require_one_thread()?;
    let mut flags = UnshareFlags::NEWNET | UnshareFlags::NEWNS;
    flags.set(UnshareFlags::NEWPID, options.pid);
    flags.set(UnshareFlags::NEWUTS, options.uts);
    let privileged = !options.user && unshare(flags).is_ok();
    if !privileged {
        enter_user_namespace(flags)?;
    }
    arrange_mounts()?;
    if options.loopback {
        crate::real::loopback_up().map_err(|e| SandboxError::Loopback(e.to_string()))?;
    }
    Ok(())
}

/// Other threads would stay in the old namespaces, half the program here and half there.
fn require_one_thread() -> Result<(), SandboxError> {
    let threads = std::fs::read_dir("/proc/self/task").map_err(SandboxError::Namespaces)?.count();
    if threads == 1 { Ok(()) } else { Err(SandboxError::Threads(threads)) }
}

#[allow(unsafe_code, reason = "unshare has no safe form")]
fn unshare(flags: UnshareFlags) -> Result<(), SandboxError> {
    // SAFETY: the process has one thread (`require_one_thread`), and only that one could start another, so nobody else's
    // view of files, mounts or network changes. CLONE_FILES and CLONE_FS are not among the flags.
    unsafe { unshare_unsafe(flags) }.map_err(|e| SandboxError::Namespaces(e.into()))
}

fn enter_user_namespace(flags: UnshareFlags) -> Result<(), SandboxError> {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    unshare(flags | UnshareFlags::NEWUSER)?;
    let write = |file: &str, text: String| {
        std::fs::write(format!("/proc/self/{file}"), text).map_err(SandboxError::Mapping)
    };
    // Without this an ordinary user may not map groups (user_namespaces(7)).
    write("setgroups", "deny".into())?;
    write("uid_map", format!("0 {uid} 1"))?;
    write("gid_map", format!("0 {gid} 1"))
}

fn arrange_mounts() -> Result<(), SandboxError> {
    let failed = |what| move |e: rustix::io::Errno| SandboxError::Mount { what, cause: e.into() };
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).map_err(failed("/"))?;
    mount("tmpfs", "/run", "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, None).map_err(failed("/run"))?;
    // sysfs shows the network of whoever mounts it. Where the kernel forbids a second one (parts of /sys are hidden, as in
    // containers), the old one stays, and nothing here depends on it.
    if Path::new("/sys/class").exists() {
        let _ = mount(
            "sysfs",
            "/sys",
            "sysfs",
            MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
            None,
        );
    }
    Ok(())
}
