//! What can go wrong in a lab, with what to do about it.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::ui::program;

/// Why a command of the lab failed. The message names the step; [`Error::remedy`] says what helps, where that is known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or a process could not be used.
    #[error("{what}: {source}")]
    Io {
        /// The step, with the path or program it is about.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// There is no lab of that name.
    #[error("no lab named {0:?} is running")]
    NotRunning(String),
    /// There is one already.
    #[error("a lab named {0:?} is running already")]
    Running(String),
    /// A name, address or file that the user gave is not acceptable.
    #[error("{0}")]
    Input(String),
    /// The machine does not let this user make namespaces.
    #[error("{what}: {why}")]
    Forbidden {
        /// The step.
        what: String,
        /// The cause.
        why: String,
        /// The one command that helps.
        remedy: String,
    },
    /// A file that the lab needs is not there.
    #[error("{what} is missing: {}", .path.display())]
    Missing {
        /// What it is.
        what: String,
        /// Where it was looked for.
        path: PathBuf,
        /// The one command that helps.
        remedy: String,
    },
    /// The supervisor gave up; its own words.
    #[error("the lab did not start: {0}")]
    Start(String),
    /// The kernel refused part of the underlay.
    #[error("{what}: {why}")]
    Kernel {
        /// Which part.
        what: String,
        /// The kernel's words.
        why: String,
    },
    /// The API server refused, or could not be reached.
    #[error("{what}: {source}")]
    Api {
        /// What was asked.
        what: String,
        /// The client's words.
        source: Box<kube::Error>,
    },
    /// Something that was waited for did not come.
    #[error("{0}")]
    Waited(String),
}

impl Error {
    /// Wraps a system error with the step that met it.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let what = what.into();
        move |source| Error::Io { what, source }
    }

    /// As [`Error::io`], for calls that answer with a bare error number.
    pub fn sys(what: impl Into<String>) -> impl FnOnce(Errno) -> Error {
        let what = what.into();
        move |errno| Error::Io { what, source: errno.into() }
    }

    /// Wraps an error of the API client with the request that met it.
    pub fn api(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Error {
        let what = what.into();
        move |source| Error::Api { what, source: Box::new(source) }
    }

    /// What the user can do about it, as a sentence or a command.
    pub fn remedy(&self) -> Option<String> {
        match self {
            Error::NotRunning(name) => {
                Some(format!("start it with: {} up{}", program(), crate::state::name_option(name)))
            }
            Error::Running(name) => {
                let option = crate::state::name_option(name);
                Some(format!("stop it with: {} down{option}, or choose another with --name", program()))
            }
            Error::Forbidden { remedy, .. } | Error::Missing { remedy, .. } => Some(remedy.clone()),
            _ => None,
        }
    }
}

/// What functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;
