//! Why the agent, or one of its services, did not start or did not end well.

use polynic_cluster::ConnectError;
use polynic_cni::cause::chain;
use polynic_runtime::log::LogError;

/// Why a service ended badly.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{service}: {why}")]
pub struct Failure {
    /// Which one.
    pub service: &'static str,
    /// What happened, with its causes.
    pub why: String,
    /// With which the process ends.
    pub code: u8,
}

impl Failure {
    /// A failure with which the process ends by 1.
    pub fn new(service: &'static str, why: impl Into<String>) -> Self {
        Self { service, why: why.into(), code: 1 }
    }

    /// There is neither a kubeconfig nor a service account.
    pub(crate) fn no_cluster() -> Self {
        Self::new("agent", "no API server: this is no pod of a cluster, and no --kubeconfig is given")
    }
}

/// Why the agent did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The command line of a service has a word that it does not know.
    #[error("unknown argument {argument:?}; usage: {usage}")]
    Argument {
        /// The word.
        argument: String,
        /// What would be understood.
        usage: &'static str,
    },
    /// There is no such service.
    #[error("unknown service {name:?}; there are {known}")]
    Service {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A bare command line, and nothing lies at its default place.
    #[error("nothing to run: no service has its configuration at the default place; name one of {known}")]
    Nothing {
        /// What there is.
        known: String,
    },
    /// File or environment of a service.
    #[error("{service}: {why}")]
    Config {
        /// Which service.
        service: &'static str,
        /// What is wrong.
        why: String,
        /// With which the process ends.
        code: u8,
    },
    /// The level of the log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The runtime cannot be made, or signals cannot be received.
    #[error("cannot start a runtime")]
    Runtime(#[source] std::io::Error),
    /// The API server cannot be used.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A service ended badly.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl CommandError {
    /// With which the process ends.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config { code, .. } | Self::Failed(Failure { code, .. }) => *code,
            _ => 1,
        }
    }

    /// The text with all causes.
    pub fn text(&self) -> String {
        chain(self)
    }
}
