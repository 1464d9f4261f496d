//! The listening socket that a service manager opened for us (sd_listen_fds(3)).

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;

/// The first descriptor that is passed on.
const FIRST: i32 = 3;

/// Takes the one socket that was passed on. `count` is what the environment says (`LISTEN_FDS`, if `LISTEN_PID` is this process).
///
/// Must be called once, before anything else of the process may own that descriptor.
///
/// # Errors
/// Not exactly one socket was passed, or it is not there.
#[allow(unsafe_code, reason = "a descriptor by its number has no safe form")]
pub fn listener(count: u32) -> io::Result<UnixListener> {
    if count != 1 {
        return Err(io::Error::other(format!(
            "too many (or too few) sockets were passed on: {count}, expected 1"
        )));
    }
    // SAFETY: fcntl with F_GETFD changes nothing and is defined for any number.
    if unsafe { libc::fcntl(FIRST, libc::F_GETFD) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open, and by the protocol of LISTEN_FDS it was passed on for us to own; the caller calls once.
    let fd = unsafe { OwnedFd::from_raw_fd(FIRST) };
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    Ok(UnixListener::from(fd))
}
