//! Why there is no generated configuration.

use std::io;
use std::path::PathBuf;

use crate::files::FileError;
use crate::follow::Why;
use crate::generate::settings::SettingsError;
use crate::primary::{PrimaryError, VersionError};

/// Why there is no generated configuration, or none any more.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The daemon's configuration.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The default network does not get ready.
    #[error("the default network is not ready: {} does not exist", .0.display())]
    NotReady(PathBuf),
    /// There is no primary configuration.
    #[error("could not find a plugin configuration in {}: {why}", .directory.display())]
    NoPrimary {
        /// Where it was looked for.
        directory: PathBuf,
        /// What was found.
        why: Why,
    },
    /// The primary cannot be wrapped.
    #[error("{}: {why}", .primary.display())]
    Version {
        /// The primary's file.
        primary: PathBuf,
        /// The two versions.
        why: VersionError,
    },
    /// The user's own configuration (`multusConfigFile`) cannot be used.
    #[error("multusConfigFile {} cannot be used: {why}", .path.display())]
    UserFile {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: PrimaryError,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The process lacks a thread or a descriptor.
    #[error("cannot start generating the configuration")]
    Start(#[source] io::Error),
}

impl GenerateError {
    /// The exit status of the replaced daemon (spec/multus.md 13.3).
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Settings(_) | Self::NotReady(_) => 1,
            Self::NoPrimary { .. } | Self::Version { .. } => 2,
            Self::UserFile { .. } | Self::File(_) | Self::Start(_) => 3,
        }
    }
}
