//! The command line `spiderpool-agent daemon --config-path=F` (spec/spiderpool.md 13.3).

use std::ffi::OsString;
use std::path::PathBuf;

use polynic_cluster::{ConnectError, client_from};
use polynic_runtime::Shutdown;
use polynic_runtime::http::ListenError;
use polynic_runtime::log::{self, LogError};

use crate::config::{Config, ConfigError, DEFAULT_PATH, Environment};
use crate::daemon::Daemon;

/// Why the agent did not start.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The command line has something else than `daemon` and `--config-path`.
    #[error(
        "unknown argument {0:?}; usage: spiderpool-agent daemon [--config-path=FILE] [--kubeconfig=FILE]"
    )]
    Argument(String),
    /// File or environment.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The level of the log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The runtime cannot be made, or signals cannot be received.
    #[error("cannot start a runtime")]
    Runtime(#[source] std::io::Error),
    /// The API server cannot be used.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// There is neither a kubeconfig nor a service account.
    #[error("no API server: this is no pod of a cluster, and no --kubeconfig is given")]
    NoCluster,
    /// The socket or a port cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

/// What the command line says.
#[derive(Debug, PartialEq, Eq)]
struct Arguments {
    config: PathBuf,
    kubeconfig: Option<PathBuf>,
}

/// Runs the agent until a signal ends it. `seed` spreads the retries of agents: two must not have the same.
pub fn run(
    arguments: impl Iterator<Item = OsString>,
    environment: Environment<'_>,
    seed: u64,
) -> Result<(), CommandError> {
    let arguments = Arguments::read(arguments.map(|a| a.to_string_lossy().into_owned()))?;
    let config = Config::load(&arguments.config, environment)?;
    log::start(&config.log_level)?;
    // One thread is enough for a node, and the smallest agent.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(CommandError::Runtime)?.block_on(serve(config, arguments.kubeconfig, seed))
}

async fn serve(config: Config, kubeconfig: Option<PathBuf>, seed: u64) -> Result<(), CommandError> {
    let shutdown = Shutdown::by_signal().map_err(CommandError::Runtime)?;
    let client = client_from(kubeconfig.as_deref()).await?.ok_or(CommandError::NoCluster)?;
    let daemon = Daemon::start(config, client, seed, shutdown).await?;
    daemon.ended().await;
    tracing::info!("the agent has ended");
    Ok(())
}

impl Arguments {
    fn read(arguments: impl Iterator<Item = String>) -> Result<Self, CommandError> {
        let mut read = Self { config: DEFAULT_PATH.into(), kubeconfig: None };
        let mut arguments = arguments.peekable();
        arguments.next_if(|word| word == "daemon");
        while let Some(argument) = arguments.next() {
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (argument.clone(), arguments.next()),
            };
            match (name.as_str(), value) {
                ("--config-path", Some(value)) => read.config = value.into(),
                ("--kubeconfig", Some(value)) => read.kubeconfig = Some(value.into()),
                _ => return Err(CommandError::Argument(argument)),
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Arguments, String> {
        let arguments = arguments.iter().map(|a| (*a).to_owned());
        Arguments::read(arguments).map_err(|why| why.to_string())
    }

    #[test]
    fn the_replaced_daemons_command_line_is_understood() {
        let default = Arguments { config: DEFAULT_PATH.into(), kubeconfig: None };
        assert_eq!(read(&["daemon"]), Ok(default));
        let given = Arguments { config: "/a.yml".into(), kubeconfig: Some("/k".into()) };
        assert_eq!(read(&["daemon", "--config-path=/a.yml", "--kubeconfig", "/k"]).unwrap(), given);
        assert!(read(&["daemon", "--verbose"]).unwrap_err().contains("--verbose"));
        assert!(read(&["daemon", "--config-path"]).is_err());
    }
}
