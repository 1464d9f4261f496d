//! The command lines of `spiderpool-controller` and `spiderpool-init` (spec/spiderpool.md 13.3, 13.5, 13.6).

use std::ffi::OsString;
use std::path::PathBuf;

use kube::Client;
use polynic_cluster::{ConnectError, client_from};
use polynic_runtime::Shutdown;
use polynic_runtime::log::{self, LogError};

use crate::certificates::CertificateFiles;
use crate::clean::{Names, clean};
use crate::daemon::{self, StartError};
use crate::init::{Plan, Refused};
use polynic_runtime::configuration::{ConfigurationError, Environment};

use crate::settings::{DEFAULT_PATH, Settings};

/// How both programs are called.
pub const USAGE: &str = "usage: spiderpool-controller daemon [--config-path=FILE] [--tls-server-cert=FILE --tls-server-key=FILE] [--kubeconfig=FILE]
       spiderpool-controller clean [--validate=NAME] [--mutating=NAME] [--kubeconfig=FILE]
       spiderpool-controller shutdown
       spiderpool-init [--kubeconfig=FILE]";

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The command line is not understood.
    #[error("{0}\n{USAGE}")]
    Usage(String),
    /// File or environment.
    #[error(transparent)]
    Settings(#[from] ConfigurationError),
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
    /// The daemon did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// What an installation starts with makes no sense.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Uninstalling left something behind.
    #[error("not everything could be removed: {0}")]
    LeftBehind(String),
}

/// What a command line says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Arguments {
    command: String,
    config: Option<PathBuf>,
    kubeconfig: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    validate: Option<String>,
    mutating: Option<String>,
}

impl Arguments {
    fn read(arguments: impl Iterator<Item = String>) -> Result<Self, CommandError> {
        let mut read = Self::default();
        let mut arguments = arguments.peekable();
        read.command =
            arguments.next_if(|word| !word.starts_with('-')).unwrap_or_else(|| "daemon".to_owned());
        while let Some(argument) = arguments.next() {
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (argument.clone(), arguments.next()),
            };
            let wanted = || value.ok_or_else(|| CommandError::Usage(format!("{name} needs a value")));
            match name.as_str() {
                "--config-path" => read.config = Some(wanted()?.into()),
                "--kubeconfig" => read.kubeconfig = Some(wanted()?.into()),
                "--tls-server-cert" => read.certificate = Some(wanted()?.into()),
                "--tls-server-key" => read.key = Some(wanted()?.into()),
                "--validate" => read.validate = Some(wanted()?),
                "--mutating" => read.mutating = Some(wanted()?),
                _ => return Err(CommandError::Usage(format!("unknown argument {argument:?}"))),
            }
        }
        Ok(read)
    }
}

/// Serves a command line of `spiderpool-controller`.
///
/// # Errors
/// See [`CommandError`].
pub fn run(
    arguments: impl Iterator<Item = OsString>,
    environment: Environment<'_>,
) -> Result<(), CommandError> {
    let arguments = Arguments::read(arguments.map(|argument| argument.to_string_lossy().into_owned()))?;
    match arguments.command.as_str() {
        "daemon" => serve(arguments, environment),
        "clean" => uninstall(arguments, environment),
        // The replaced program only says that it ends; signals do it.
        "shutdown" => Ok(()),
        other => Err(CommandError::Usage(format!("unknown command {other:?}"))),
    }
}

/// Serves a command line of `spiderpool-init`.
///
/// # Errors
/// See [`CommandError`].
pub fn init(
    arguments: impl Iterator<Item = OsString>,
    environment: Environment<'_>,
) -> Result<(), CommandError> {
    let arguments = Arguments::read(arguments.map(|argument| argument.to_string_lossy().into_owned()))?;
    log::start(&environment("SPIDERPOOL_LOG_LEVEL").unwrap_or_default())?;
    let plan = Plan::read(environment)?;
    in_runtime(async move { Ok(plan.carry_out(&connect(arguments.kubeconfig).await?).await?) })
}

fn serve(arguments: Arguments, environment: Environment<'_>) -> Result<(), CommandError> {
    let path = arguments.config.unwrap_or_else(|| DEFAULT_PATH.into());
    let settings = Settings::load(&path, environment)?;
    log::start(&settings.log_level)?;
    let files = arguments.certificate.zip(arguments.key);
    let files = files.map(|(certificate, key)| CertificateFiles { certificate, key });
    in_runtime(async move {
        let shutdown = Shutdown::by_signal().map_err(CommandError::Runtime)?;
        let client = connect(arguments.kubeconfig).await?;
        Ok(daemon::run(settings, client, files, shutdown).await?)
    })
}

fn uninstall(arguments: Arguments, environment: Environment<'_>) -> Result<(), CommandError> {
    log::start(&environment("SPIDERPOOL_LOG_LEVEL").unwrap_or_default())?;
    let text = |name: &str, default: &str| {
        environment(name).filter(|v| !v.is_empty()).unwrap_or_else(|| default.to_owned())
    };
    let controller = "spiderpool-controller";
    let names = Names {
        mutating: arguments.mutating.unwrap_or_else(|| controller.to_owned()),
        validating: arguments.validate.unwrap_or_else(|| controller.to_owned()),
        init_job: (
            text("SPIDERPOOL_POD_NAMESPACE", "kube-system"),
            text("SPIDERPOOL_INIT_NAME", "spiderpool-init"),
        ),
    };
    in_runtime(async move {
        let client = connect(arguments.kubeconfig).await?;
        match clean(&client, &names).await.as_slice() {
            [] => Ok(()),
            problems => Err(CommandError::LeftBehind(problems.join("; "))),
        }
    })
}

async fn connect(kubeconfig: Option<PathBuf>) -> Result<Client, CommandError> {
    client_from(kubeconfig.as_deref()).await?.ok_or(CommandError::NoCluster)
}

fn in_runtime(work: impl Future<Output = Result<(), CommandError>>) -> Result<(), CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(CommandError::Runtime)?.block_on(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Arguments, CommandError> {
        Arguments::read(words.iter().map(|word| (*word).to_owned()))
    }

    #[test]
    fn command_lines_are_those_of_the_replaced_program() {
        let daemon =
            read(&["daemon", "--config-path=/c", "--tls-server-cert", "/t.crt", "--tls-server-key=/t.key"])
                .unwrap();
        assert_eq!((daemon.command.as_str(), daemon.config), ("daemon", Some("/c".into())));
        assert_eq!((daemon.certificate, daemon.key), (Some("/t.crt".into()), Some("/t.key".into())));
        let clean = read(&["clean", "--validate", "v", "--mutating", "m"]).unwrap();
        assert_eq!((clean.validate.as_deref(), clean.mutating.as_deref()), (Some("v"), Some("m")));
        assert!(
            read(&["daemon", "--nonsense=1"])
                .unwrap_err()
                .to_string()
                .starts_with("unknown argument \"--nonsense=1\"\nusage")
        );
        assert!(read(&["daemon", "--config-path"]).is_err());
    }
}
