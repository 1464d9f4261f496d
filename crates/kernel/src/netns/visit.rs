//! Going into a namespace for a moment.
//!
//! A thread costs more than most of what is done in a pod's namespace (opening a socket, writing a setting): starting it and
//! waking it for each job took a third of the time of an attachment. So the calling thread goes itself. It never keeps
//! company with an async runtime there: the work is one synchronous call, and the way back is made sure of first.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::enter;

/// Does `work` in the namespace `there` and returns to `home`, where the calling thread is.
pub(super) fn visit<R: Send + 'static>(
    there: BorrowedFd<'_>,
    home: OwnedFd,
    work: impl FnOnce() -> R + Send + 'static,
) -> io::Result<R> {
    // Entering a namespace takes privilege over it (setns(2)), which need not be the case for the one that the thread came from.
    if enter(home.as_fd()).is_err() {
        return send(there, work);
    }
    enter(there)?;
    let done = catch_unwind(AssertUnwindSafe(work));
    if enter(home.as_fd()).is_err() {
        // It worked a moment ago. A thread that went on here would do the node's work to a pod.
        std::process::abort();
    }
    done.map_err(|_| unfinished())
}

/// Sends a thread, which ends there.
fn send<R: Send + 'static>(
    there: BorrowedFd<'_>,
    work: impl FnOnce() -> R + Send + 'static,
) -> io::Result<R> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("netns".into());
        thread
            .spawn_scoped(scope, || enter(there).map(|()| work()))?
            .join()
            .unwrap_or_else(|_| Err(unfinished()))
    })
}

fn unfinished() -> io::Error {
    io::Error::other("the work inside the namespace was not finished")
}
