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
pub(crate) use keep::{is_multus, remove_twin};
pub use settings::{Settings, SettingsError, Source};

use polynic_runtime::Shutdown;

use crate::watch::{self, Stop};

/// Waits for the default network, writes the configuration, and keeps it until the shutdown.
///
/// An agent with more to do between waiting and writing calls [`Generator::prepare`] and [`Generator::keep`] itself.
///
/// # Errors
/// There is nothing to generate from, or the file cannot be written; [`GenerateError::exit_code`] is the replaced daemon's.
pub async fn run(settings: Settings, shutdown: Shutdown) -> Result<(), GenerateError> {
    let mut generator = Generator::new(settings);
    let work = move |stop: &Stop| {
        generator.prepare(stop)?;
        generator.keep(stop)
    };
    watch::blocking(shutdown, work).await.map_err(GenerateError::Start)?
}

#[cfg(test)]
mod tests;
