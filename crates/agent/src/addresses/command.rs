//! The command line `spiderpool-agent daemon --config-path=F` (spec/spiderpool.md 13.3).

use std::path::PathBuf;

use polynic_cni::cause::chain;
use polynic_runtime::configuration::Environment;
use polynic_wire::AddressServices;
use tokio::runtime::Handle;

use super::config::DEFAULT_PATH;
use super::{Config, Daemon, InProcess};
use crate::error::{CommandError, Failure};
use crate::part::{Part, Stage, Surroundings};

/// The replaced program.
pub const NAME: &str = "spiderpool-agent";

pub(crate) const USAGE: &str = "spiderpool-agent daemon [--config-path=FILE] [--kubeconfig=FILE]";

/// Whether the configuration lies where it does by default.
pub(crate) fn is_configured() -> bool {
    std::path::Path::new(DEFAULT_PATH).exists()
}

/// What the command line says.
#[derive(Debug, PartialEq, Eq)]
struct Arguments {
    config: PathBuf,
    kubeconfig: Option<PathBuf>,
}

/// Reads command line, file and environment.
///
/// # Errors
/// The command line has something else than `daemon`, `--config-path` and `--kubeconfig`, or the configuration is wrong.
pub fn part(words: &[String], environment: Environment<'_>) -> Result<Part, CommandError> {
    let arguments = Arguments::read(words.iter().cloned())?;
    let wrong = |why| CommandError::Config { service: NAME, why: chain(&why), code: 1 };
    let config = Config::load(&arguments.config, environment).map_err(wrong)?;
    Ok(Part {
        name: NAME,
        stage: Stage::Last,
        kubeconfig: arguments.kubeconfig,
        log_level: config.log_level.clone(),
        run: Box::new(|surroundings| Box::pin(run(config, surroundings))),
    })
}

/// Serves until the end. Plugins in this process find the service by its socket from its start on.
async fn run(config: Config, surroundings: Surroundings) -> Result<(), Failure> {
    let client = surroundings.client.ok_or_else(Failure::no_cluster)?;
    let socket = config.socket.clone();
    let started = Daemon::start(config, client, surroundings.seed, surroundings.shutdown).await;
    let daemon = started.map_err(|why| Failure::new(NAME, chain(&why)))?;
    let own = InProcess::new(socket, daemon.service().clone(), Handle::current());
    surroundings.links.offer_addresses(move |socket| own.at(socket));
    daemon.ended().await;
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
                _ => return Err(CommandError::Argument { argument, usage: USAGE }),
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
