//! How a daemon ends: once, for everybody, by a signal or by its own decision.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// A handle that every part of a daemon holds.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Sender<bool>);

impl Default for Shutdown {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Shutdown {
    /// A handle that SIGTERM and SIGINT trigger. Has to be called inside a runtime.
    ///
    /// # Errors
    /// The signals cannot be received.
    pub fn by_signal() -> std::io::Result<Self> {
        let shutdown = Self::default();
        for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
            let (mut signals, shutdown) = (signal(kind)?, shutdown.clone());
            tokio::spawn(async move {
                signals.recv().await;
                tracing::info!(?kind, "ending on a signal");
                shutdown.trigger();
            });
        }
        Ok(shutdown)
    }

    /// Ends everything.
    pub fn trigger(&self) {
        self.0.send_replace(true);
    }

    /// Whether the end has come.
    pub fn is_triggered(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for the end.
    pub async fn triggered(&self) {
        // The sender is in our own hand.
        let _ = self.0.subscribe().wait_for(|triggered| *triggered).await;
    }

    /// Works until the work is done or the end comes; `None` is the end.
    pub async fn unless<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.triggered() => None,
            done = work => Some(done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everybody_hears_of_the_end_however_late_they_ask() {
        let shutdown = Shutdown::default();
        assert_eq!(shutdown.unless(async { 7 }).await, Some(7));
        let waits = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.unless(std::future::pending::<()>()).await }
        });
        assert!(!shutdown.is_triggered());
        shutdown.trigger();
        assert_eq!(waits.await.unwrap(), None);
        shutdown.triggered().await;
        assert_eq!(shutdown.unless(async { 7 }).await, None);
    }
}
