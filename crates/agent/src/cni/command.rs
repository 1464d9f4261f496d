//! The command line `multus-daemon [-config FILE]` (spec/multus.md 13.1).

use std::path::{Path, PathBuf};

use polynic_cni::cause::chain;
use polynic_runtime::configuration::Environment;

use super::certificate;
use super::config::DEFAULT_PATH;
use super::daemon::{self, Around, DRAIN, exit};
use super::{Config, ConfigError};
use crate::error::{CommandError, Failure};
use crate::part::{Part, Stage, Surroundings};

/// The replaced program.
pub const NAME: &str = "multus-daemon";

pub(crate) const USAGE: &str = "multus-daemon [-config FILE] [-kubeconfig FILE]";

/// Whether the configuration lies where it does by default.
pub(crate) fn is_configured() -> bool {
    Path::new(DEFAULT_PATH).exists()
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
/// The command line has something else than `-config` and `-kubeconfig`, or the configuration is wrong (exit code 1).
pub fn part(words: &[String], environment: Environment<'_>) -> Result<Part, CommandError> {
    let arguments = Arguments::read(words)?;
    let wrong = |why: ConfigError| CommandError::Config { service: NAME, why: chain(&why), code: 1 };
    let config = Config::load(&arguments.config, environment).map_err(wrong)?;
    Ok(Part {
        name: NAME,
        stage: Stage::First,
        kubeconfig: arguments.kubeconfig,
        log_level: config.own_log_level().to_owned(),
        run: Box::new(|surroundings| Box::pin(run(config, surroundings))),
    })
}

async fn run(config: Config, surroundings: Surroundings) -> Result<(), Failure> {
    check_user(rustix::process::geteuid().as_raw())?;
    let Surroundings { client, shutdown, seed, links } = surroundings;
    let client = match &config.certificates {
        Some(certificate) => Some(certificate::client(&config, certificate, &shutdown).await?),
        None => client,
    };
    daemon::run(config, Around { client, seed, links, drain: DRAIN }, shutdown).await
}

/// Plugins change network namespaces. Ends as the replaced daemon does.
fn check_user(uid: u32) -> Result<(), Failure> {
    if uid == 0 {
        return Ok(());
    }
    let why = format!("must be run as root, is run by user {uid}");
    Err(Failure { service: NAME, why, code: exit::CANNOT_SERVE })
}

impl Arguments {
    fn read(words: &[String]) -> Result<Self, CommandError> {
        let mut read = Self { config: DEFAULT_PATH.into(), kubeconfig: None };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (word.as_str(), words.next().cloned()),
            };
            // Go's flags take one dash or two.
            match (name.trim_start_matches('-'), value) {
                ("config", Some(value)) => read.config = value.into(),
                ("kubeconfig", Some(value)) => read.kubeconfig = Some(value.into()),
                _ => return Err(CommandError::Argument { argument: word.clone(), usage: USAGE }),
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Arguments, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Arguments::read(&words).map_err(|why| why.to_string())
    }

    #[test]
    fn others_than_root_are_refused_with_the_replaced_daemons_code() {
        assert_eq!(check_user(0), Ok(()));
        let refused = check_user(1000).unwrap_err();
        assert_eq!(
            (refused.code, refused.to_string().as_str()),
            (3, "multus-daemon: must be run as root, is run by user 1000")
        );
    }

    #[test]
    fn the_replaced_daemons_command_line_is_understood() {
        let default = Arguments { config: DEFAULT_PATH.into(), kubeconfig: None };
        assert_eq!(read(&[]), Ok(default));
        let given = Arguments { config: "/c".into(), kubeconfig: Some("/k".into()) };
        assert_eq!(read(&["-config", "/c", "--kubeconfig=/k"]), Ok(given));
        assert!(read(&["-verbose"]).unwrap_err().contains("-verbose"));
        assert!(read(&["-config"]).is_err());
    }
}
