//! Waits until something happens in a directory, or the end comes. A plain thread's business: `poll` on inotify and on a pipe.
//!
//! What happened is not asked: whoever wakes looks at everything. So a lost event costs at most the time to the next look.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use polynic_runtime::Shutdown;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

/// The longest time between two looks.
const LONGEST: Duration = Duration::from_secs(5);
/// The same where the kernel has no inotify instance left.
const WITHOUT_EVENTS: Duration = Duration::from_secs(1);

/// Ends what waits with the [`Stop`] made with it, when dropped.
#[derive(Debug)]
pub struct Stopper(#[expect(dead_code, reason = "it is there to be closed")] OwnedFd);

/// Where the end is heard of.
#[derive(Debug)]
pub struct Stop(OwnedFd);

impl Stop {
    /// Both ends.
    ///
    /// # Errors
    /// The process has no file descriptor left.
    pub fn pair() -> io::Result<(Stopper, Stop)> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok((Stopper(write), Stop(read)))
    }
}

/// Runs work that waits on a plain thread; it hears of the shutdown by its [`Stop`].
///
/// # Errors
/// The process lacks a descriptor or a thread, or the work panicked.
pub async fn blocking<T: Send + 'static>(
    shutdown: Shutdown,
    work: impl FnOnce(&Stop) -> T + Send + 'static,
) -> io::Result<T> {
    let (stopper, stop) = Stop::pair()?;
    let ending = tokio::spawn(async move {
        shutdown.triggered().await;
        drop(stopper);
    });
    let done = tokio::task::spawn_blocking(move || work(&stop)).await;
    ending.abort();
    done.map_err(io::Error::other)
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// Something may have changed.
    Look,
    /// The end has come.
    Stopped,
}

/// Watches directories, which need not exist yet.
pub struct Watch {
    events: Option<OwnedFd>,
    directories: Vec<PathBuf>,
}

impl Watch {
    /// Watches from now on.
    pub fn new(directories: impl IntoIterator<Item = PathBuf>) -> Self {
        let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK);
        if let Err(why) = &events {
            tracing::warn!(%why, "no inotify: directories are looked at every second instead");
        }
        let watch = Self { events: events.ok(), directories: directories.into_iter().collect() };
        watch.renew();
        watch
    }

    /// Waits for a change, at most this long.
    pub fn wait(&self, stop: &Stop, longest: Duration) -> Woken {
        let longest = longest.min(if self.events.is_some() { LONGEST } else { WITHOUT_EVENTS });
        let timeout = Timespec { tv_sec: longest.as_secs() as i64, tv_nsec: longest.subsec_nanos().into() };
        let mut files = vec![PollFd::new(&stop.0, PollFlags::IN)];
        files.extend(self.events.iter().map(|events| PollFd::new(events, PollFlags::IN)));
        match poll(&mut files, Some(&timeout)) {
            Ok(_) if !files[0].revents().is_empty() => return Woken::Stopped,
            Ok(_) | Err(Errno::INTR) => {}
            // Cannot happen with descriptors that are ours; without the pause it would be a busy loop.
            Err(_) => std::thread::sleep(WITHOUT_EVENTS),
        }
        self.forget();
        // A directory that was removed and made again is another one.
        self.renew();
        Woken::Look
    }

    fn renew(&self) {
        let Some(events) = &self.events else { return };
        let what = WatchFlags::CLOSE_WRITE
            | WatchFlags::MODIFY
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO;
        for directory in &self.directories {
            // Missing for now: the next look tries again.
            let _ = inotify::add_watch(events, directory, what);
        }
    }

    /// Reads all events away.
    fn forget(&self) {
        let Some(events) = &self.events else { return };
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(events.as_fd(), &mut space);
        while reader.next().is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::thread;
    use std::time::Instant;

    /// Waits until `Look` was answered because of an event: in far less than the longest time.
    fn woken(watch: &Watch, stop: &Stop, change: impl FnOnce() + Send) {
        let before = Instant::now();
        thread::scope(|scope| {
            scope.spawn(change);
            assert_eq!(watch.wait(stop, LONGEST), Woken::Look);
        });
        // Not a measurement: a wait that nobody ended lasts this long.
        assert!(before.elapsed() < LONGEST, "no event came");
    }

    #[test]
    fn a_change_wakes_also_in_a_directory_that_is_made_anew() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("net.d");
        let (_stopper, stop) = Stop::pair().unwrap();
        let watch = Watch::new([directory.clone()]);
        fs::create_dir(&directory).unwrap();
        watch.wait(&stop, Duration::ZERO);
        woken(&watch, &stop, || fs::write(directory.join("a"), "x").unwrap());
        fs::remove_dir_all(&directory).unwrap();
        watch.wait(&stop, Duration::ZERO);
        fs::create_dir(&directory).unwrap();
        watch.wait(&stop, Duration::ZERO);
        woken(&watch, &stop, || fs::write(directory.join("b"), "x").unwrap());
    }

    #[test]
    fn the_end_is_heard_of_even_if_it_came_before() {
        let (stopper, stop) = Stop::pair().unwrap();
        let watch = Watch::new([]);
        assert_eq!(watch.wait(&stop, Duration::ZERO), Woken::Look);
        drop(stopper);
        assert_eq!(watch.wait(&stop, LONGEST), Woken::Stopped);
        assert_eq!(watch.wait(&stop, LONGEST), Woken::Stopped);
    }
}
