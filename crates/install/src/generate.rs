//! `00-multus.conf` of thick mode (spec/multus.md 13.2 to 13.4): written when the default network is there, and kept true from then on.
//!
//! The file is valid at every instant: it is renamed into place, a primary that is missing or half-written for a moment changes nothing,
//! and a restart of the agent leaves it alone. Only an uninstallation removes it (spec/decisions.md). Where Multus removes it because the
//! readiness file has vanished, it stays and [`Readiness`] says so: the agent refuses ADD meanwhile.

mod document;
mod error;
mod keep;
mod settings;

pub use document::document;
pub use error::GenerateError;
pub use keep::{Generator, Patience, Readiness};
pub use settings::{Settings, SettingsError, Source};

use polynic_runtime::Shutdown;

use crate::watch::Stop;

/// Waits for the default network, writes the configuration, and keeps it until the shutdown.
///
/// An agent with more to do between waiting and writing calls [`Generator::prepare`] and [`Generator::keep`] itself.
///
/// # Errors
/// There is nothing to generate from, or the file cannot be written; [`GenerateError::exit_code`] is the replaced daemon's.
pub async fn run(settings: Settings, shutdown: Shutdown) -> Result<(), GenerateError> {
    let mut generator = Generator::new(settings);
    blocking(shutdown, move |stop| {
        generator.prepare(stop)?;
        generator.keep(stop)
    })
    .await
}

/// Runs work that waits on a plain thread; it hears of the shutdown by its [`Stop`].
///
/// # Errors
/// The work's own.
pub async fn blocking<T: Send + 'static>(
    shutdown: Shutdown,
    work: impl FnOnce(&Stop) -> Result<T, GenerateError> + Send + 'static,
) -> Result<T, GenerateError> {
    let (stopper, stop) = Stop::pair().map_err(GenerateError::Start)?;
    let ending = tokio::spawn(async move {
        shutdown.triggered().await;
        drop(stopper);
    });
    let done = tokio::task::spawn_blocking(move || work(&stop)).await;
    ending.abort();
    done.unwrap_or_else(|why| Err(GenerateError::Start(std::io::Error::other(why))))
}

#[cfg(test)]
mod tests;
