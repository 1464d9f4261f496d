//! Why a network could not be loaded (spec/cni.md 3.1 and 3.3).

use std::io;
use std::path::PathBuf;

use crate::cause;
use crate::error::Error;

/// Why a network could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The list itself is wrong.
    #[error("error parsing configuration list: {0}")]
    List(String),
    /// One plugin object is wrong.
    #[error("error parsing configuration: {0}")]
    Plugin(String),
    /// A plugin object inside a list is wrong.
    #[error("failed to parse plugin config {index}")]
    Inlined {
        /// Its place in the list, from 0.
        index: usize,
        /// What is wrong.
        #[source]
        source: Box<LoadError>,
    },
    /// A file or directory could not be read.
    #[error("error reading {}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file was read, but what it holds is wrong.
    #[error("error loading {}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: Box<LoadError>,
    },
    /// Neither inlined nor beside the file is there any plugin.
    #[error("no plugin configs found")]
    NoPlugins,
    /// The directory is missing or has no configuration files.
    #[error("no net configurations found in {}", .0.display())]
    NoneInDirectory(PathBuf),
    /// The directory has configuration files, but none of this network.
    #[error("no net configuration with name {name:?} in {}", directory.display())]
    NotFound {
        /// The network that was looked for.
        name: String,
        /// Where.
        directory: PathBuf,
    },
    /// The directory has configuration files, but none can be loaded; the source is why the first one cannot.
    #[error("no net configuration in {} can be loaded", directory.display())]
    NoneLoadable {
        /// Where.
        directory: PathBuf,
        /// Why the first file failed.
        #[source]
        source: Box<LoadError>,
    },
}

impl From<LoadError> for Error {
    /// The whole chain of causes in one line, as the protocol carries it.
    fn from(error: LoadError) -> Error {
        Error::internal(cause::chain(&error))
    }
}
