//! A thread that lives in a namespace and does there what it is given.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

type Job = Box<dyn FnOnce() + Send>;

/// The thread's handle; the thread ends when it is dropped.
#[derive(Debug)]
pub(super) struct Worker(Mutex<Sender<Job>>);

impl Worker {
    /// Starts a thread and waits until it is in the namespace.
    pub(super) fn start(netns: OwnedFd) -> io::Result<Self> {
        let (jobs, todo) = channel();
        let (entered, outcome) = channel();
        std::thread::Builder::new().name("netns".into()).spawn(move || {
            let result = super::enter(netns.as_fd());
            let inside = result.is_ok();
            if entered.send(result).is_ok() && inside {
                work_off(&todo);
            }
        })?;
        outcome.recv().map_err(|_| gone())??;
        Ok(Self(Mutex::new(jobs)))
    }

    /// Has `work` done there and waits for its result.
    pub(super) fn run<R: Send + 'static>(&self, work: impl FnOnce() -> R + Send + 'static) -> io::Result<R> {
        let (done, result) = channel();
        let job: Job = Box::new(move || {
            // Nobody listens if the caller is gone, and then nobody cares.
            let _ = done.send(work());
        });
        // A poisoned lock means that another thread panicked between these two lines; the sender is fine.
        let jobs = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        jobs.send(job).map_err(|_| gone())?;
        drop(jobs);
        result.recv().map_err(|_| gone())
    }
}

fn work_off(todo: &Receiver<Job>) {
    for job in todo {
        // A job that panics drops its answer channel, which its caller sees; the thread serves on.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
    }
}

fn gone() -> io::Error {
    io::Error::other("the work inside the namespace was not finished")
}
