//! What the generator is told: its part of daemon-config.json (spec/multus.md 13.2).

use std::collections::BTreeMap;
use std::path::PathBuf;

use polynic_cni::json::{self, JsonError};
use serde::Deserialize;
use serde_json::Value;

/// Where generated configurations go unless the daemon is told otherwise.
const DIRECTORY: &str = "/etc/cni/net.d";

/// The daemon's configuration cannot be used for generating.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// It is no JSON object, or a key has the wrong type.
    #[error("the daemon's configuration is not understood: {0}")]
    Json(#[from] JsonError),
    /// `cniVersion` is needed where the configuration is generated.
    #[error("the daemon's configuration has no cniVersion, which multusConfigFile \"auto\" needs")]
    NoVersion,
}

/// Where the content of the generated file comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// From the primary configuration.
    Primary,
    /// The user's own file, copied as it is.
    File(PathBuf),
}

/// What the generator is told, with all defaults applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where the content comes from.
    pub source: Source,
    /// The directory that the runtime reads.
    pub directory: PathBuf,
    /// The directory of primary configurations.
    pub primaries: PathBuf,
    /// The only primary that counts; none is the first by name.
    pub primary: Option<String>,
    /// A file that is there while the default network is ready.
    pub readiness_file: Option<PathBuf>,
    /// Write our version into the primary.
    pub force_version: bool,
    /// Remove the generated file at the end. Not in Multus, which always does.
    pub remove_at_end: bool,
    /// What is copied into the generated file.
    pub copied: Copied,
}

/// Keys that stand in the generated file as they are in the daemon's.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Copied {
    pub(super) bin_dir: String,
    pub(super) capabilities: BTreeMap<String, Value>,
    pub(super) cni_version: String,
    pub(super) log_file: String,
    pub(super) log_level: String,
    pub(super) log_to_stderr: bool,
    pub(super) log_options: Option<Value>,
    pub(super) namespace_isolation: bool,
    pub(super) global_namespaces: String,
    #[serde(rename = "type")]
    pub(super) plugin_type: String,
    pub(super) cni_dir: String,
    #[serde(rename = "auxiliaryCNIChainName")]
    pub(super) auxiliary_chain: String,
    pub(super) daemon_socket_dir: String,
    pub(super) override_network_name: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Written {
    multus_config_file: String,
    cni_config_dir: String,
    multus_autoconfig_dir: String,
    #[serde(rename = "multusMasterCNI")]
    multus_master_cni: String,
    #[serde(rename = "readinessindicatorfile")]
    readiness_indicator_file: String,
    #[serde(rename = "forceCNIVersion")]
    force_cni_version: bool,
    cleanup_config_on_exit: bool,
}

impl Settings {
    /// Reads daemon-config.json. Keys of other readers are left alone.
    ///
    /// # Errors
    /// It is no JSON object, a key has the wrong type, or `cniVersion` is missing.
    pub fn read(daemon_config: &[u8]) -> Result<Self, SettingsError> {
        let config = json::parse_object(daemon_config)?;
        let written: Written = json::from_map(&config)?;
        let copied: Copied = json::from_map(&config)?;
        let path = |text: String| Some(text).filter(|text| !text.is_empty());
        let source = match written.multus_config_file.as_str() {
            "" | "auto" => Source::Primary,
            file => Source::File(file.into()),
        };
        if source == Source::Primary && copied.cni_version.is_empty() {
            return Err(SettingsError::NoVersion);
        }
        let directory = PathBuf::from(path(written.cni_config_dir).unwrap_or_else(|| DIRECTORY.to_owned()));
        Ok(Self {
            source,
            primaries: path(written.multus_autoconfig_dir).map_or_else(|| directory.clone(), PathBuf::from),
            directory,
            primary: path(written.multus_master_cni),
            readiness_file: path(written.readiness_indicator_file).map(PathBuf::from),
            force_version: written.force_cni_version,
            remove_at_end: written.cleanup_config_on_exit,
            copied,
        })
    }

    /// The generated file.
    pub fn output(&self) -> PathBuf {
        let name = match &self.source {
            Source::Primary => None,
            Source::File(path) => path.file_name(),
        };
        self.directory.join(name.unwrap_or("00-multus.conf".as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_configuration_has_the_defaults() {
        let settings = Settings::read(br#"{"CNIVersion":"0.3.1","unknown":[1]}"#).unwrap();
        assert_eq!((&settings.source, settings.primary.as_deref()), (&Source::Primary, None));
        assert_eq!(settings.output(), PathBuf::from("/etc/cni/net.d/00-multus.conf"));
        assert_eq!(settings.primaries, PathBuf::from("/etc/cni/net.d"));
        assert!(settings.readiness_file.is_none() && !settings.force_version && !settings.remove_at_end);
    }

    #[test]
    fn every_key_counts() {
        let text = br#"{"cniVersion":"1.0.0","multusConfigFile":"/conf/07-own.conf","cniConfigDir":"/host/net.d",
            "multusAutoconfigDir":"/host/auto","multusMasterCNI":"10-a.conf","readinessIndicatorFile":"/run/ready",
            "forceCNIVersion":true,"cleanupConfigOnExit":true}"#;
        let settings = Settings::read(text).unwrap();
        assert_eq!(settings.source, Source::File("/conf/07-own.conf".into()));
        assert_eq!(settings.output(), PathBuf::from("/host/net.d/07-own.conf"));
        assert_eq!((settings.primaries, settings.primary), ("/host/auto".into(), Some("10-a.conf".into())));
        assert_eq!(settings.readiness_file, Some("/run/ready".into()));
        assert!(settings.force_version && settings.remove_at_end);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |text: &str| Settings::read(text.as_bytes()).unwrap_err().to_string();
        assert!(error("{}").contains("cniVersion"));
        assert!(error("[").contains("not understood"));
        assert!(error(r#"{"cniVersion":"1.0.0","multusMasterCNI":7}"#).contains("multusMasterCNI"));
        assert!(Settings::read(br#"{"multusConfigFile":"/a.conf"}"#).is_ok());
    }
}
