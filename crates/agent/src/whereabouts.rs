//! What the agent's programs of whereabouts share: their command line, and the namespace of their objects.

use std::path::PathBuf;

use polynic_cluster::whereabouts::DEFAULT_NAMESPACE;
use polynic_runtime::configuration::Environment;

use crate::error::CommandError;

/// The command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) kubeconfig: Option<PathBuf>,
    pub(crate) log_level: String,
}

impl Arguments {
    /// Reads a command line in the form of Go's flags. The values of `ignored` ones mean nothing here.
    pub(crate) fn read(
        words: &[String],
        usage: &'static str,
        ignored: &[&str],
    ) -> Result<Self, CommandError> {
        let mut read = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let unknown = || CommandError::Argument { argument: word.clone(), usage };
            let flag = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).ok_or_else(unknown)?;
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, words.next().cloned()),
            };
            match (name, value) {
                ("kubeconfig", Some(value)) => read.kubeconfig = Some(value.into()),
                ("log-level", Some(value)) => read.log_level = value,
                (name, Some(_)) if ignored.contains(&name) => {}
                _ => return Err(unknown()),
            }
        }
        Ok(read)
    }
}

/// The namespace of the objects: the one that `WHEREABOUTS_NAMESPACE` names, if any.
pub(crate) fn namespace(environment: Environment<'_>) -> String {
    let named = environment("WHEREABOUTS_NAMESPACE").filter(|name| !name.is_empty());
    named.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned())
}
