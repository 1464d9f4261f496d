//! What a daemon is told: a YAML file and the environment, both handed in. What is wrong is named.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::de::DeserializeOwned;

/// Why a daemon cannot be configured.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is no YAML, or a key has the wrong type.
    #[error("the configuration is not understood: {0}")]
    Yaml(String),
    /// Something is asked for that is not there, and without which the rest would do harm.
    #[error("{key} is not supported: {why}")]
    Unsupported {
        /// The key of the configuration.
        key: &'static str,
        /// What would happen without it.
        why: &'static str,
    },
    /// A variable of the environment is missing.
    #[error("the environment variable {0} is not set")]
    Missing(&'static str),
    /// A variable of the environment has no such value.
    #[error("the environment variable {name} is {value:?}, which is no {wanted}")]
    Variable {
        /// Which.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        wanted: &'static str,
    },
}

impl ConfigurationError {
    /// Names the file that is not understood.
    #[must_use]
    pub fn of_file(self, path: &Path) -> Self {
        match self {
            Self::Yaml(why) => Self::Yaml(format!("{}: {why}", path.display())),
            other => other,
        }
    }
}

/// Reads the text of a configuration file.
pub fn read_file(path: &Path) -> Result<String, ConfigurationError> {
    let failed = |source| ConfigurationError::File { path: path.to_owned(), source };
    std::fs::read_to_string(path).map_err(failed)
}

/// Reads settings from YAML. A text with nothing in it has every default.
pub fn from_yaml<T: DeserializeOwned + Default>(text: &str) -> Result<T, ConfigurationError> {
    if text.trim().is_empty() {
        return Ok(T::default());
    }
    serde_saphyr::from_str(text).map_err(|why| ConfigurationError::Yaml(why.to_string()))
}

/// Looks a variable of the environment up.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The environment by the types of its values. A variable that is set to nothing is one that is not set.
#[derive(Clone, Copy)]
pub struct Variables<'a>(pub Environment<'a>);

impl Variables<'_> {
    /// A variable, if it is set.
    pub fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    /// A text.
    pub fn text(&self, name: &str, default: &str) -> String {
        self.get(name).unwrap_or_else(|| default.to_owned())
    }

    /// A text that has to be there.
    pub fn required(&self, name: &'static str) -> Result<String, ConfigurationError> {
        self.get(name).ok_or(ConfigurationError::Missing(name))
    }

    /// A number.
    pub fn number<T: FromStr>(&self, name: &'static str, default: T) -> Result<T, ConfigurationError> {
        let Some(value) = self.get(name) else { return Ok(default) };
        value.parse().map_err(|_| ConfigurationError::Variable { name, value, wanted: "number" })
    }

    /// A pause in seconds, at least one: a pause of nothing would be no pause.
    pub fn seconds(&self, name: &'static str, default: u64) -> Result<Duration, ConfigurationError> {
        self.number(name, default).map(|seconds: u64| Duration::from_secs(seconds.max(1)))
    }

    /// A boolean in any of the spellings that Go's `strconv.ParseBool` reads.
    pub fn flag(&self, name: &'static str, default: bool) -> Result<bool, ConfigurationError> {
        let Some(value) = self.get(name) else { return Ok(default) };
        match value.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            _ => Err(ConfigurationError::Variable { name, value, wanted: "boolean" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        let value = match name {
            "FLAG" => "True",
            "NUMBER" => "7",
            "EMPTY" => "",
            "WRONG" => "x",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn variables_have_types_and_defaults() {
        let env = Variables(&environment);
        assert!(env.flag("FLAG", false).unwrap() && env.flag("EMPTY", true).unwrap());
        assert_eq!((env.number("NUMBER", 1u16).unwrap(), env.number("NONE", 1u16).unwrap()), (7, 1));
        assert_eq!(env.seconds("NONE", 0).unwrap(), Duration::from_secs(1));
        assert_eq!(env.text("EMPTY", "default"), "default");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let env = Variables(&environment);
        let error = env.number("WRONG", 0u8).unwrap_err().to_string();
        assert!(error.contains("WRONG") && error.contains("\"x\"") && error.contains("number"), "{error}");
        assert!(env.flag("WRONG", false).unwrap_err().to_string().contains("boolean"));
        assert!(env.required("EMPTY").unwrap_err().to_string().contains("EMPTY is not set"));
        assert!(
            read_file(Path::new("/nowhere/conf.yml")).unwrap_err().to_string().contains("/nowhere/conf.yml")
        );
        assert!(from_yaml::<Vec<u8>>("[a]").unwrap_err().to_string().contains("not understood"));
        assert!(from_yaml::<Vec<u8>>(" \n").unwrap().is_empty());
    }
}
