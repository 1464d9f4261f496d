//! What keeps pods of a node from their networks, as far as it lies on the node: programs, configurations, credentials, sockets, and
//! directories that cannot be written. `polynic doctor node` prints it.
//!
//! [`Seen`] is what was found ([`observe`]), [`findings`] decides what is wrong with it. Nothing is changed.

mod observe;
mod rules;

pub use observe::{Places, observe};
pub use rules::findings;

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;

/// Something that is wrong on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Whether pods are kept from their networks now.
    pub severity: Severity,
    /// The file, directory or socket.
    pub object: String,
    /// What is wrong with it, and what that means for pods.
    pub what: String,
    /// What helps.
    pub remedy: String,
}

/// How bad it is, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Pods do not get what they ask for.
    Wrong,
    /// Something waits, or was forgotten.
    Leftover,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Wrong => "wrong",
            Severity::Leftover => "leftover",
        };
        write!(f, "{severity:<9}{}: {}. Remedy: {}.", self.object, self.what, self.remedy)
    }
}

/// The name of a file, and what it says.
pub type Configuration = (String, Result<Value, String>);

/// What was found on a node. Errors are texts: nobody decides by them.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// The directory of plugins.
    pub programs: PathBuf,
    /// The names in it that can be executed.
    pub plugins: Result<Vec<String>, String>,
    /// The directory of configurations.
    pub directory: PathBuf,
    /// What a runtime reads in it, in its order, with what it says.
    pub configurations: Result<Vec<Configuration>, String>,
    /// Files that configurations name and that cannot be read.
    pub unreadable: Vec<(PathBuf, String)>,
    /// Directories in which something is kept, and why nothing can be.
    pub unwritable: Vec<(PathBuf, String)>,
    /// Sockets of daemons that should answer, and why they do not.
    pub silent: Vec<(PathBuf, String)>,
    /// What waits for an agent: the directory, and how much it is.
    pub waiting: Vec<(PathBuf, usize)>,
}

impl Default for Seen {
    /// An empty node.
    fn default() -> Self {
        Self {
            programs: PathBuf::new(),
            plugins: Ok(Vec::new()),
            directory: PathBuf::new(),
            configurations: Ok(Vec::new()),
            unreadable: Vec::new(),
            unwritable: Vec::new(),
            silent: Vec::new(),
            waiting: Vec::new(),
        }
    }
}
