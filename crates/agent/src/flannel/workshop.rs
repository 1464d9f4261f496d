//! Where the worker works: its thread, and who wakes it.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::watch;
use tokio::time::sleep;

use super::listener::Listener;
use super::worker::Worker;
use super::{Error, PERIOD};

/// The worker's thread, which sleeps between two looks at the kernel.
pub(super) struct Workshop {
    wake: SyncSender<()>,
    /// Hears the kernel; without it the worker looks every two seconds all the same.
    listener: Option<Listener>,
    thread: JoinHandle<()>,
}

impl Workshop {
    /// Lets the worker begin.
    ///
    /// # Errors
    /// There can be no thread.
    pub(super) fn open(worker: Worker) -> Result<Self, Error> {
        let (wake, sleeps) = sync_channel(1);
        let thread = std::thread::Builder::new().name("flannel".to_owned());
        let thread = thread.spawn(move || worker.run(&sleeps)).map_err(Error::Thread)?;
        let listener = Listener::start(wake.clone());
        let listener =
            listener.inspect_err(|why| tracing::warn!(error = %why, "the kernel's events cannot be heard"));
        Ok(Self { wake, listener: listener.ok(), thread })
    }

    /// Wakes the worker whenever the nodes change, as long as somebody keeps them.
    pub(super) async fn wake_at(&self, mut changes: watch::Receiver<u64>) {
        while changes.changed().await.is_ok() {
            // Full means that it will wake anyway.
            let _ = self.wake.try_send(());
        }
    }

    /// Waits until the worker has ended by itself, which is a defect.
    pub(super) async fn ended(&self) {
        while !self.thread.is_finished() {
            sleep(PERIOD).await;
        }
    }

    /// Lets the worker end with its next look, which takes milliseconds.
    ///
    /// # Errors
    /// It has panicked.
    pub(super) async fn close(self) -> Result<(), Error> {
        let Self { wake, listener, thread } = self;
        drop((wake, listener));
        match tokio::task::spawn_blocking(move || thread.join()).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Error::Ended),
        }
    }
}
