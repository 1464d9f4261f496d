//! The text of `00-multus.conf` or `00-multus.conflist` in thin mode: the master configuration stands in it.

use std::path::Path;

use polynic_cni::Version;
use polynic_cni::version::Numeric;
use serde_json::{Map, Value, json};

use crate::primary::Primary;
use crate::thin::options::Options;

mod named;

pub(super) use named::named;

/// Why there is no configuration for this master.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// The master has none.
    #[error("the master configuration has no cniVersion")]
    NoVersion,
    /// The master's is not the one that is asked for.
    #[error("the master configuration has cniVersion {found}, and --cni-version asks for {wanted}")]
    OtherVersion {
        /// The master's.
        found: String,
        /// The flag's.
        wanted: String,
    },
}

/// File name and content for a master.
///
/// # Errors
/// The master's version is missing, or not the one that is asked for.
pub fn document(options: &Options, master: &Primary) -> Result<(&'static str, Vec<u8>), DocumentError> {
    let master = with_forced_version(options, master)?;
    let version = master.version();
    let name = Some(master.name()).filter(|name| options.override_network_name && !name.is_empty());
    let name = name.unwrap_or("multus-cni-network");
    let is_list = Numeric::parse(version).is_ok_and(|version| version >= Numeric::from(Version::V1_0_0));
    let plugin = plugin(options, &master);
    let head = format!(r#""cniVersion":{},"name":{}"#, json!(version), json!(name));
    if is_list {
        return Ok(("00-multus.conflist", format!(r#"{{{head},"plugins":[{{{plugin}}}]}}"#).into_bytes()));
    }
    Ok(("00-multus.conf", format!("{{{head},{plugin}}}").into_bytes()))
}

fn with_forced_version(options: &Options, master: &Primary) -> Result<Primary, DocumentError> {
    let wanted = &options.cni_version;
    if wanted.is_empty() || master.version() == wanted {
        return Some(master.clone()).filter(|m| !m.version().is_empty()).ok_or(DocumentError::NoVersion);
    }
    if options.force_cni_version {
        return Ok(master.clone().with_version(wanted));
    }
    Err(DocumentError::OtherVersion { found: master.version().to_owned(), wanted: wanted.clone() })
}

/// The members of the plugin's object, in the order of the replaced program.
fn plugin(options: &Options, master: &Primary) -> String {
    let text = |text: &str| Some(Value::from(text)).filter(|_| !text.is_empty());
    let capabilities = master.last_capabilities();
    let networks = options.networks_dir.to_string_lossy();
    let members = [
        ("type", text("multus")),
        ("capabilities", Some(json!(capabilities)).filter(|_| !capabilities.is_empty())),
        ("namespaceIsolation", options.namespace_isolation.then_some(true.into())),
        ("globalNamespaces", text(&options.global_namespaces)),
        ("logToStderr", (!options.log_to_stderr).then_some(false.into())),
        ("logLevel", text(&options.log_level)),
        ("logFile", text(&options.log_file)),
        ("binDir", text(&options.additional_bin_dir)),
        ("cniConf", text(&networks)),
        // The key that the plugin reads, with the path as the node sees it.
        ("confDir", text(&on_host(&options.networks_dir))),
        ("readinessindicatorfile", text(&options.readiness_file)),
        ("kubeconfig", text(&options.kubeconfig_on_host)),
        ("delegates", Some(json!([sorted(master)]))),
    ];
    let present = members.into_iter().filter_map(|(key, value)| Some(format!(r#""{key}":{}"#, value?)));
    present.collect::<Vec<_>>().join(",")
}

fn sorted(master: &Primary) -> Value {
    let pairs = master.conf().iter().map(|(key, value)| (key.clone(), value.clone()));
    Value::Object(Map::from_iter(pairs))
}

/// By convention of the manifests the node's file system is below `/host`.
pub(super) fn on_host(path: &Path) -> String {
    let stripped = path.strip_prefix("/host").map(|rest| Path::new("/").join(rest));
    stripped.unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::thin::options::Parsed;

    fn options(words: &[&str]) -> Options {
        match Options::parse(words.iter().map(|word| (*word).to_owned())).unwrap() {
            Parsed::Run(options) => *options,
            Parsed::Help(text) => panic!("{text}"),
        }
    }

    fn written(words: &[&str], master: &str) -> (&'static str, String) {
        let (name, bytes) = document(&options(words), &Primary::parse(master.as_bytes()).unwrap()).unwrap();
        (name, String::from_utf8(bytes).unwrap())
    }

    const OLD: &str = r#"{"type":"ptp","name":"old","cniVersion":"0.3.1","capabilities":{"ips":false}}"#;
    const NEW: &str = r#"{"cniVersion":"1.0.0","name":"new","plugins":[{"type":"ptp"},{"type":"portmap","capabilities":{"portMappings":true}}]}"#;

    #[test]
    fn before_1_0_0_it_is_a_single_configuration() {
        let expected = r#"{"cniVersion":"0.3.1","name":"multus-cni-network","type":"multus","capabilities":{"ips":false},"cniConf":"/host/etc/cni/multus/net.d","confDir":"/etc/cni/multus/net.d","kubeconfig":"/etc/cni/net.d/multus.d/multus.kubeconfig","delegates":[{"capabilities":{"ips":false},"cniVersion":"0.3.1","name":"old","type":"ptp"}]}"#;
        assert_eq!(written(&[], OLD), ("00-multus.conf", expected.to_owned()));
    }

    #[test]
    fn from_1_0_0_on_it_is_a_list_with_every_key_in_its_place() {
        let words = [
            "--namespace-isolation",
            "--global-namespaces=a,b",
            "--multus-log-to-stderr=false",
            "--multus-log-level=debug",
            "--multus-log-file=/l",
            "--additional-bin-dir=/b",
            "--readiness-indicator-file=/r",
            "--override-network-name",
            "--multus-kubeconfig-file-host=/k",
            "--multus-cni-conf-dir=/elsewhere",
            "--cni-version=1.0.0",
        ];
        let expected = r#"{"cniVersion":"1.0.0","name":"new","plugins":[{"type":"multus","capabilities":{"portMappings":true},"namespaceIsolation":true,"globalNamespaces":"a,b","logToStderr":false,"logLevel":"debug","logFile":"/l","binDir":"/b","cniConf":"/elsewhere","confDir":"/elsewhere","readinessindicatorfile":"/r","kubeconfig":"/k","delegates":[{"cniVersion":"1.0.0","name":"new","plugins":[{"type":"ptp"},{"capabilities":{"portMappings":true},"type":"portmap"}]}]}]}"#;
        assert_eq!(written(&words, NEW), ("00-multus.conflist", expected.to_owned()));
    }

    #[test]
    fn a_version_is_asked_for_or_forced() {
        let master = Primary::parse(OLD.as_bytes()).unwrap();
        let error = document(&options(&["--cni-version=0.4.0"]), &master).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the master configuration has cniVersion 0.3.1, and --cni-version asks for 0.4.0"
        );
        let (name, text) = written(&["--cni-version=1.0.0", "--force-cni-version"], OLD);
        assert!(name == "00-multus.conflist" && !text.contains("0.3.1"), "{text}");
        let bare = Primary::parse(br#"{"type":"ptp"}"#).unwrap();
        assert_eq!(document(&options(&[]), &bare), Err(DocumentError::NoVersion));
    }

    #[test]
    fn multus_itself_reads_it() {
        for master in [OLD, NEW] {
            let (_, text) = written(&[], master);
            let conf: Value = serde_json::from_str(&text).unwrap();
            let plugin = conf.pointer("/plugins/0").unwrap_or(&conf);
            assert_eq!(plugin["delegates"][0], serde_json::from_str::<Value>(master).unwrap());
        }
    }
}
