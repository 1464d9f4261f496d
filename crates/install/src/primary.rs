//! The primary configuration: that of the default network, which Multus wraps (spec/multus.md 13.4, 14.1).

use std::collections::BTreeMap;

use polynic_cni::json::{self, JsonError, get_ci};
use polynic_cni::version::Numeric;
use polynic_cni::{JsonMap, Version};
use serde_json::Value;

/// Why a text is no configuration of a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrimaryError {
    /// It is no JSON object: half-written, for example.
    #[error("it is no JSON object: {0}")]
    Json(String),
    /// It has neither `type` nor a list of plugins with types.
    #[error("it has neither a 'type' nor 'plugins' with types")]
    NoPlugin,
}

impl From<JsonError> for PrimaryError {
    fn from(error: JsonError) -> Self {
        Self::Json(error.to_string())
    }
}

/// Why a primary cannot be wrapped by a configuration of our version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// Ours is missing or is no version.
    #[error("couldn't get top level cni version: {0:?} is no version")]
    Own(String),
    /// The primary's is too old, or missing.
    #[error("delegate cni version is {primary} while top level cni version is {own}")]
    Primary {
        /// The primary's.
        primary: String,
        /// Ours.
        own: String,
    },
}

/// A configuration, single or list, that can be run.
#[derive(Clone, Debug, PartialEq)]
pub struct Primary {
    conf: JsonMap,
}

impl Primary {
    /// Reads a file's content.
    ///
    /// # Errors
    /// It is half-written or something else.
    pub fn parse(bytes: &[u8]) -> Result<Self, PrimaryError> {
        let primary = Self { conf: json::parse_object(bytes)? };
        let runs = !primary.plugins().is_empty() && primary.plugins().iter().all(|plugin| has_type(plugin));
        if runs { Ok(primary) } else { Err(PrimaryError::NoPlugin) }
    }

    /// The network's name, or empty.
    pub fn name(&self) -> &str {
        get_ci(&self.conf, "name").and_then(Value::as_str).unwrap_or_default()
    }

    /// `cniVersion` as written, or empty.
    pub fn version(&self) -> &str {
        get_ci(&self.conf, "cniVersion").and_then(Value::as_str).unwrap_or_default()
    }

    /// The whole configuration.
    pub fn conf(&self) -> &JsonMap {
        &self.conf
    }

    /// The same with another `cniVersion`.
    #[must_use]
    pub fn with_version(mut self, version: &str) -> Self {
        json::remove_ci(&mut self.conf, "cniVersion");
        self.conf.insert("cniVersion".to_owned(), version.into());
        self
    }

    /// Capabilities of all plugins; where they differ the later plugin counts (thin mode).
    pub fn last_capabilities(&self) -> BTreeMap<String, bool> {
        self.declared().collect()
    }

    /// Capabilities that at least one plugin has (thick mode).
    pub fn any_capabilities(&self) -> BTreeMap<String, bool> {
        self.declared().filter(|(_, has)| *has).collect()
    }

    /// Values that are no booleans say nothing.
    fn declared(&self) -> impl Iterator<Item = (String, bool)> {
        let maps =
            self.plugins().into_iter().filter_map(|plugin| get_ci(plugin, "capabilities")?.as_object());
        maps.flatten().filter_map(|(name, has)| Some((name.clone(), has.as_bool()?)))
    }

    fn plugins(&self) -> Vec<&JsonMap> {
        match get_ci(&self.conf, "plugins").and_then(Value::as_array) {
            Some(plugins) => plugins.iter().filter_map(Value::as_object).collect(),
            None => vec![&self.conf],
        }
    }
}

fn has_type(plugin: &JsonMap) -> bool {
    get_ci(plugin, "type").and_then(Value::as_str).is_some_and(|name| !name.is_empty())
}

/// From 0.4.0 on our version needs a primary of at least 0.4.0: its CHECK would be called and could not work.
///
/// # Errors
/// See [`VersionError`].
pub fn check_versions(own: &str, primary: &str) -> Result<(), VersionError> {
    let number = |text: &str| Numeric::parse(text).ok().filter(|_| !text.is_empty());
    let wanted = Numeric::from(Version::V0_4_0);
    let ours = number(own).ok_or_else(|| VersionError::Own(own.to_owned()))?;
    if ours < wanted || number(primary).is_some_and(|theirs| theirs >= wanted) {
        return Ok(());
    }
    Err(VersionError::Primary { primary: primary.to_owned(), own: own.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Primary {
        Primary::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_half_written_is_no_configuration() {
        let whole = r#"{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"bridge"}]}"#;
        assert!(Primary::parse(whole.as_bytes()).is_ok());
        for end in 0..whole.len() {
            assert!(Primary::parse(&whole.as_bytes()[..end]).is_err(), "{}", &whole[..end]);
        }
        for other in ["null", "[]", r#"{"name":"n"}"#, r#"{"plugins":[]}"#, r#"{"plugins":[{"name":"x"}]}"#] {
            assert!(Primary::parse(other.as_bytes()).is_err(), "{other}");
        }
    }

    #[test]
    fn capabilities_are_those_of_all_plugins() {
        let list = parse(
            r#"{"name":"n","plugins":[{"type":"a","capabilities":{"portMappings":true,"ips":true,"odd":"yes"}},
                {"type":"b","capabilities":{"bandwidth":true,"ips":false,"mac":false}},{"type":"c","capabilities":7}]}"#,
        );
        let map = |pairs: &[(&str, bool)]| pairs.iter().map(|(n, has)| ((*n).to_owned(), *has)).collect();
        let any: BTreeMap<String, bool> = map(&[("portMappings", true), ("ips", true), ("bandwidth", true)]);
        let last = map(&[("portMappings", true), ("ips", false), ("bandwidth", true), ("mac", false)]);
        assert_eq!((list.any_capabilities(), list.last_capabilities()), (any, last));
        let single = parse(r#"{"type":"ptp","Capabilities":{"ips":true}}"#);
        assert_eq!(single.any_capabilities(), map(&[("ips", true)]));
    }

    #[test]
    fn a_new_version_wants_a_primary_that_is_not_too_old() {
        for (own, primary) in [("0.3.1", ""), ("0.3.1", "1.0.0"), ("0.4.0", "0.4.0"), ("1.0.0", "0.4.0")] {
            assert_eq!(check_versions(own, primary), Ok(()), "{own} {primary}");
        }
        let error = check_versions("0.4.0", "0.3.1").unwrap_err().to_string();
        assert_eq!(error, "delegate cni version is 0.3.1 while top level cni version is 0.4.0");
        assert!(check_versions("1.0.0", "").is_err());
        for own in ["", "one"] {
            let error = check_versions(own, "1.0.0").unwrap_err().to_string();
            assert!(error.starts_with("couldn't get top level cni version"), "{error}");
        }
    }

    #[test]
    fn another_version_takes_the_place_of_every_spelling() {
        let primary = parse(r#"{"CniVersion":"0.2.0","type":"ptp","name":"n"}"#).with_version("1.0.0");
        assert_eq!((primary.version(), primary.name()), ("1.0.0", "n"));
        assert_eq!(primary.conf().len(), 3);
    }
}
