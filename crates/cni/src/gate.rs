//! The version gates: which config a plugin serves for which verb (spec/cni.md 1.5), and the answer to
//! VERSION (1.8).

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::json;
use crate::verb::Verb;
use crate::version::{Numeric, Version};

/// Which versions a plugin speaks. Texts, because a foreign plugin may speak newer ones than we know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct VersionInfo {
    /// The plugin's own newest version.
    pub cni_version: String,
    /// Every version it accepts.
    pub supported_versions: Vec<String>,
}

impl VersionInfo {
    /// The answer of a plugin with these versions.
    pub fn of(supported: &[Version]) -> VersionInfo {
        VersionInfo {
            cni_version: supported.iter().max().unwrap_or(&Version::NEWEST).to_string(),
            supported_versions: supported.iter().map(Version::to_string).collect(),
        }
    }

    /// What a plugin speaks that does not know VERSION.
    pub fn oldest_only() -> VersionInfo {
        VersionInfo { cni_version: "0.1.0".to_owned(), supported_versions: vec!["0.1.0".to_owned()] }
    }

    /// Membership by exact text.
    pub fn supports(&self, version: &str) -> bool {
        self.supported_versions.iter().any(|supported| supported == version)
    }

    /// One compact line with its newline.
    pub fn to_json(&self) -> String {
        json::print_compact(self) + "\n"
    }

    /// Reads a plugin's answer. A plain error where `cniVersion` or the list is missing (0.2.0 may leave the
    /// list out).
    pub fn from_json(bytes: &[u8]) -> Result<VersionInfo, Error> {
        let decoding = |why: String| Error::internal(format!("decoding version info: {why}"));
        let mut info: VersionInfo = json::from_slice(bytes).map_err(|why| decoding(why.to_string()))?;
        if info.cni_version.is_empty() {
            return Err(decoding("missing field cniVersion".to_owned()));
        }
        if info.supported_versions.is_empty() {
            if info.cni_version != "0.2.0" {
                return Err(decoding("missing field supportedVersions".to_owned()));
            }
            info.supported_versions = vec!["0.1.0".to_owned(), "0.2.0".to_owned()];
        }
        Ok(info)
    }
}

/// May this verb run with a config of this version (as written; empty = 0.1.0) on a plugin with these
/// versions?
pub fn check(verb: Verb, config: &str, supported: &[Version]) -> Result<(), Error> {
    let config = if config.is_empty() { "0.1.0" } else { config };
    let since = match verb {
        Verb::Version => return Ok(()),
        Verb::Add | Verb::Del => return check_member(config, supported),
        Verb::Check => Version::V0_4_0,
        Verb::Gc | Verb::Status => Version::V1_1_0,
    };
    let number = Numeric::parse(config).map_err(|error| Error::decoding(error.to_string()))?;
    let refuse = |who: &str| Err(Error::new(1, format!("{who} version does not allow {verb}"), ""));
    if number < since.into() {
        return refuse("config");
    }
    if !supported.iter().any(|version| Numeric::from(*version) >= number) {
        return refuse("plugin");
    }
    check_member(config, supported)
}

fn check_member(config: &str, supported: &[Version]) -> Result<(), Error> {
    if supported.iter().any(|version| version.as_str() == config) {
        return Ok(());
    }
    Err(Error::incompatible_version(config, supported))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[Version] = &Version::ALL;

    fn refusal(verb: Verb, config: &str, supported: &[Version]) -> (u32, String) {
        let error = check(verb, config, supported).unwrap_err();
        (error.code, error.msg)
    }

    #[test]
    fn add_and_del_want_exact_membership() {
        for verb in [Verb::Add, Verb::Del] {
            assert_eq!(check(verb, "", ALL), Ok(()));
            assert_eq!(check(verb, "1.1.0", ALL), Ok(()));
            assert_eq!(refusal(verb, "1.1", ALL), (1, "incompatible CNI versions".to_owned()));
            assert_eq!(refusal(verb, "x", ALL), (1, "incompatible CNI versions".to_owned()));
        }
    }

    #[test]
    fn younger_verbs_want_younger_configs() {
        for (verb, before) in [(Verb::Check, "0.3.1"), (Verb::Gc, "1.0.0"), (Verb::Status, "1.0.0")] {
            let text = format!("config version does not allow {verb}");
            assert_eq!(refusal(verb, before, ALL), (1, text));
            let text = format!("plugin version does not allow {verb}");
            assert_eq!(refusal(verb, "1.1.0", &[Version::V0_2_0]), (1, text));
            assert_eq!(refusal(verb, "1.1.0.0", ALL).0, 6);
            assert_eq!(check(verb, "1.1.0", ALL), Ok(()));
        }
        assert_eq!(refusal(Verb::Check, "0.9.0", ALL), (1, "incompatible CNI versions".to_owned()));
    }

    #[test]
    fn version_info_is_one_compact_line() {
        let info = VersionInfo::of(&[Version::V0_1_0, Version::V1_1_0]);
        let text = "{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"0.1.0\",\"1.1.0\"]}\n";
        assert_eq!(info.to_json(), text);
        assert_eq!(VersionInfo::from_json(text.as_bytes()), Ok(info));
    }

    #[test]
    fn version_info_needs_its_fields() {
        let text = |bytes: &[u8]| VersionInfo::from_json(bytes).unwrap_err().msg;
        assert_eq!(text(b"{}"), "decoding version info: missing field cniVersion");
        assert_eq!(
            text(br#"{"cniVersion":"0.4.0"}"#),
            "decoding version info: missing field supportedVersions"
        );
        assert!(text(b"x").starts_with("decoding version info: "));
        let old = VersionInfo::from_json(br#"{"cniVersion":"0.2.0"}"#).unwrap();
        assert!(old.supports("0.1.0") && old.supports("0.2.0") && !old.supports("0.3.0"));
    }
}
