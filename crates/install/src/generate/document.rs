//! The text of `00-multus.conf` (spec/multus.md 13.4).

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::generate::settings::Copied;
use crate::primary::Primary;

/// The name that a runtime sees, unless the primary's is wanted.
const NAME: &str = "multus-cni-network";
/// The plugin that a runtime calls.
const SHIM: &str = "multus-shim";

/// The order of the fields is that of the keys.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    bin_dir: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    capabilities: BTreeMap<String, bool>,
    cni_version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    log_file: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    log_level: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    log_to_stderr: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_options: Option<&'a Value>,
    name: &'a str,
    cluster_network: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    namespace_isolation: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    global_namespaces: &'a str,
    #[serde(rename = "type")]
    plugin_type: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    cni_dir: &'a str,
    #[serde(rename = "auxiliaryCNIChainName", skip_serializing_if = "str::is_empty")]
    auxiliary_chain: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    daemon_socket_dir: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    override_network_name: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// The text for a primary at this path, as the daemon sees it. One line, without a newline.
pub fn document(copied: &Copied, path: &Path, primary: &Primary) -> Vec<u8> {
    let or =
        |text: &'_ str, other: &'static str| if text.is_empty() { other.to_owned() } else { text.to_owned() };
    let own_name = if copied.override_network_name { primary.name() } else { "" };
    let document = Document {
        bin_dir: &copied.bin_dir,
        capabilities: capabilities(copied, primary),
        cni_version: &copied.cni_version,
        log_file: &copied.log_file,
        log_level: &copied.log_level,
        log_to_stderr: copied.log_to_stderr,
        log_options: copied.log_options.as_ref(),
        name: &or(own_name, NAME),
        cluster_network: &path.to_string_lossy(),
        namespace_isolation: copied.namespace_isolation,
        global_namespaces: &copied.global_namespaces,
        plugin_type: &or(&copied.plugin_type, SHIM),
        cni_dir: &copied.cni_dir,
        auxiliary_chain: &copied.auxiliary_chain,
        daemon_socket_dir: &copied.daemon_socket_dir,
        override_network_name: copied.override_network_name,
    };
    // Texts, booleans and a value that was JSON before: there is nothing that cannot be written.
    serde_json::to_vec(&document).unwrap_or_default()
}

/// Those of the primary and those that the user wants besides.
fn capabilities(copied: &Copied, primary: &Primary) -> BTreeMap<String, bool> {
    let configured = copied.capabilities.iter().filter(|(_, has)| **has == Value::Bool(true));
    let mut all = primary.any_capabilities();
    all.extend(configured.map(|(name, _)| (name.clone(), true)));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Settings;

    fn text(daemon_config: &str, primary: &str) -> String {
        let settings = Settings::read(daemon_config.as_bytes()).unwrap();
        let primary = Primary::parse(primary.as_bytes()).unwrap();
        let path = Path::new("/host/etc/cni/net.d/15-fabric.conflist");
        String::from_utf8(document(&settings.copied, path, &primary)).unwrap()
    }

    const FABRIC: &str = r#"{"cniVersion":"1.0.0","name":"fabric","plugins":[{"type":"ptp","capabilities":{"bandwidth":true}},
        {"type":"portmap","capabilities":{"portMappings":true,"snat":false,"odd":"yes"}}]}"#;

    #[test]
    fn it_is_the_example_of_the_contract_to_the_byte() {
        let daemon = r#"{"chrootDir":"/hostroot","cniVersion":"0.3.1","logLevel":"verbose","logToStderr":true,
            "cniConfigDir":"/host/etc/cni/net.d","multusAutoconfigDir":"/host/etc/cni/net.d","multusConfigFile":"auto",
            "socketDir":"/host/run/multus/","readinessindicatorfile":"/ready"}"#;
        let expected = r#"{"capabilities":{"bandwidth":true,"portMappings":true},"cniVersion":"0.3.1","logLevel":"verbose","logToStderr":true,"name":"multus-cni-network","clusterNetwork":"/host/etc/cni/net.d/15-fabric.conflist","type":"multus-shim"}"#;
        assert_eq!(text(daemon, FABRIC), expected);
    }

    #[test]
    fn every_copied_key_has_its_place() {
        let daemon = r#"{"cniVersion":"1.0.0","binDir":"/b","cniDir":"/c","logFile":"/l","logLevel":"debug","logOptions":{"maxAge":3},
            "namespaceIsolation":true,"globalNamespaces":"a,b","auxiliaryCNIChainName":"x","daemonSocketDir":"/s","overrideNetworkName":true,
            "type":"other","capabilities":{"mac":true,"ips":false,"bad":1}}"#;
        let expected = r#"{"binDir":"/b","capabilities":{"bandwidth":true,"mac":true,"portMappings":true},"cniVersion":"1.0.0","logFile":"/l","logLevel":"debug","logOptions":{"maxAge":3},"name":"fabric","clusterNetwork":"/host/etc/cni/net.d/15-fabric.conflist","namespaceIsolation":true,"globalNamespaces":"a,b","type":"other","cniDir":"/c","auxiliaryCNIChainName":"x","daemonSocketDir":"/s","overrideNetworkName":true}"#;
        assert_eq!(text(daemon, FABRIC), expected);
    }

    #[test]
    fn without_capabilities_and_name_the_keys_are_as_short_as_can_be() {
        let expected = r#"{"cniVersion":"0.3.1","name":"multus-cni-network","clusterNetwork":"/host/etc/cni/net.d/15-fabric.conflist","type":"multus-shim","overrideNetworkName":true}"#;
        assert_eq!(
            text(r#"{"cniVersion":"0.3.1","overrideNetworkName":true}"#, r#"{"type":"ptp"}"#),
            expected
        );
    }
}
