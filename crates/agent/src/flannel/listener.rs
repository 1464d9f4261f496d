//! The thread that hears what happens in the kernel, and wakes the worker.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::thread::JoinHandle;
use std::time::Duration;

use polynic_kernel::NetworkEvents;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Between two wakings: pods that come and go are many changes, and the worker's own are as well.
const REST: Duration = Duration::from_millis(500);

/// The thread. It ends with this.
pub(super) struct Listener {
    /// The other side of what the thread waits for beside events.
    end: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Listens in the namespace of the calling thread, and wakes whoever sleeps on `wake`.
    ///
    /// # Errors
    /// There can be no socket, pipe or thread.
    pub(super) fn start(wake: SyncSender<()>) -> io::Result<Self> {
        let events = NetworkEvents::open()?;
        let (ends, end) = io::pipe()?;
        let thread = std::thread::Builder::new().name("flannel-events".to_owned());
        let thread = thread.spawn(move || {
            if let Err(why) = listen(&events, &ends, &wake) {
                tracing::warn!(error = %why, "the kernel's events are no longer heard");
            }
        })?;
        Ok(Self { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn listen(events: &NetworkEvents, ends: &PipeReader, wake: &SyncSender<()>) -> io::Result<()> {
    while events.wait(ends)? {
        // Full means that it will wake anyway.
        if let Err(TrySendError::Disconnected(())) = wake.try_send(()) {
            return Ok(());
        }
        if has_ended(ends, REST)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Whether the other side goes within some time.
fn has_ended(ends: &PipeReader, within: Duration) -> io::Result<bool> {
    let mut one = [PollFd::from_borrowed_fd(ends.as_fd(), PollFlags::IN)];
    let patience = Timespec::try_from(within).map_err(io::Error::other)?;
    match poll(&mut one, Some(&patience)) {
        Ok(0) | Err(rustix::io::Errno::INTR) => Ok(false),
        Ok(_) => Ok(true),
        Err(why) => Err(why.into()),
    }
}
