//! The request configuration as a plugin gets it on stdin (spec/cni.md 3.4 and 3.5).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::attachment::{ATTACHMENTS, Attachment, VALID_ATTACHMENTS};
use crate::error::Error;
use crate::json::{self, GoMap, JsonError, JsonMap};
use crate::names;
use crate::result::{Dns, Success};
use crate::version::Version;

/// One plugin's configuration: the well-known keys decoded, and everything as written.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginConf {
    /// The network's name.
    pub name: String,
    /// The version that the result has to have.
    pub cni_version: Version,
    /// The plugin's type, which is also its file name; may be empty in hand-made requests.
    pub plugin_type: String,
    /// Which `runtimeConfig` keys the plugin wants (libcni leaves them in the request).
    pub capabilities: BTreeMap<String, bool>,
    /// `ipam.type`, or empty.
    pub ipam_type: String,
    /// Static name service.
    pub dns: Dns,
    /// What the runtime supplied for the capabilities.
    pub runtime_config: JsonMap,
    /// The whole object as written, unknown keys included.
    pub raw: JsonMap,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Known {
    name: String,
    cni_version: String,
    r#type: String,
    capabilities: BTreeMap<String, bool>,
    ipam: KnownIpam,
    dns: Dns,
    runtime_config: JsonMap,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct KnownIpam {
    r#type: String,
}

impl PluginConf {
    /// Decodes stdin. Errors: a wrong type of a well-known key (999, `failed to load netconf: …` naming the
    /// field), an unknown version (1).
    pub fn parse(stdin: &[u8]) -> Result<PluginConf, Error> {
        PluginConf::from_map(json::parse_object(stdin).map_err(|why| load_error(&why))?)
    }

    /// As [`PluginConf::parse`], for an object that is already there.
    pub fn from_map(raw: JsonMap) -> Result<PluginConf, Error> {
        let known: Known = json::from_map(&raw).map_err(|why| load_error(&why))?;
        let version = Version::or_oldest(&known.cni_version)
            .map_err(|_| Error::incompatible_version(&known.cni_version, &Version::ALL))?;
        Ok(PluginConf {
            name: known.name,
            cni_version: version,
            plugin_type: known.r#type,
            capabilities: known.capabilities,
            ipam_type: known.ipam.r#type,
            dns: known.dns,
            runtime_config: known.runtime_config,
            raw,
        })
    }

    /// Typed look-ups of single keys, in any case.
    pub fn keys(&self) -> GoMap<'_> {
        GoMap(&self.raw)
    }

    /// The plugin's own keys, decoded into a type that derives `Deserialize` with `#[serde(default)]`.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        json::from_map(&self.raw).map_err(|why| load_error(&why))
    }

    /// The `ipam` object, if there is one.
    pub fn ipam(&self) -> Option<&JsonMap> {
        self.keys().get("ipam").and_then(Value::as_object)
    }

    /// The `args.cni` object, if there is one.
    pub fn args_cni(&self) -> Option<&JsonMap> {
        let args = self.keys().get("args").and_then(Value::as_object)?;
        json::get_ci(args, "cni").and_then(Value::as_object)
    }

    /// What earlier plugins (ADD) or the whole chain (CHECK, DEL) produced. Decoded only when asked for, so
    /// that a broken prevResult need not keep a DEL from cleaning up.
    pub fn prev_result(&self) -> Result<Option<Success>, Error> {
        let read = |value| Success::parse_as(self.cni_version, value);
        self.keys().get("prevResult").map(read).transpose()
    }

    /// GC: the attachments that still are valid. `None` means that the runtime passed no list, an empty list
    /// that none is valid.
    pub fn valid_attachments(&self) -> Result<Option<Vec<Attachment>>, Error> {
        let key = if self.keys().get(VALID_ATTACHMENTS).is_some() { VALID_ATTACHMENTS } else { ATTACHMENTS };
        self.keys().read(key).map_err(|why| load_error(&why))
    }
}

fn load_error(why: &JsonError) -> Error {
    Error::internal(format!("failed to load netconf: {why}"))
}

/// Step 5 of spec/cni.md 1.1: stdin is a JSON object (6) and names its network (7). Answers the object.
pub fn check_stdin(stdin: &[u8]) -> Result<JsonMap, Error> {
    let broken = |why: JsonError| Error::decoding(format!("error unmarshall network config: {why}"));
    let map = json::parse_object(stdin).map_err(broken)?;
    let name = GoMap(&map).string("name").map_err(broken)?;
    if name.is_empty() {
        return Err(Error::invalid_network_config("missing network name", ""));
    }
    names::network_name(name)?;
    Ok(map)
}

/// The `cniVersion` of a request as written, empty if absent. Another type is an error (6).
pub fn version_text(request: &JsonMap) -> Result<&str, Error> {
    let broken = |why| Error::decoding(format!("decoding version from network config: {why}"));
    GoMap(request).string("cniVersion").map_err(broken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(value: Value) -> Result<PluginConf, Error> {
        PluginConf::parse(value.to_string().as_bytes())
    }

    #[test]
    fn well_known_keys_are_decoded_and_everything_is_kept() {
        let conf = parse(json!({
            "cniVersion": "0.4.0", "name": "lab", "Type": "macvlan", "master": "eth1", "x": 9007199254740993_u64,
            "capabilities": {"mac": true, "ips": false}, "ipam": {"TYPE": "static"},
            "dns": {"nameservers": ["192.0.2.1"]}, "runtimeConfig": {"mac": "02:00:00:00:00:01"},
            "args": {"cni": {"ips": ["192.0.2.9"]}},
        }))
        .unwrap();
        assert_eq!((conf.cni_version, conf.name.as_str()), (Version::V0_4_0, "lab"));
        assert_eq!((conf.plugin_type.as_str(), conf.ipam_type.as_str()), ("macvlan", "static"));
        assert_eq!(conf.capabilities.get("mac"), Some(&true));
        assert_eq!(conf.dns.nameservers, ["192.0.2.1"]);
        assert_eq!(conf.runtime_config.get("mac"), Some(&json!("02:00:00:00:00:01")));
        assert_eq!(conf.raw.get("x"), Some(&json!(9007199254740993_u64)));
        assert!(conf.args_cni().is_some_and(|args| args.contains_key("ips")) && conf.ipam().is_some());
        assert_eq!(conf.prev_result(), Ok(None));
    }

    #[test]
    fn an_absent_version_is_the_oldest_and_an_unknown_one_is_code_1() {
        assert_eq!(parse(json!({"name": "a"})).unwrap().cni_version, Version::V0_1_0);
        assert_eq!(parse(json!({"name": "a", "cniVersion": null})).unwrap().cni_version, Version::V0_1_0);
        assert_eq!(parse(json!({"name": "a", "cniVersion": "2.0.0"})).unwrap_err().code, 1);
    }

    #[test]
    fn a_version_of_another_type_is_code_6() {
        let request = json!({"name": "a", "cniVersion": 5});
        let text = "decoding version from network config: json: cannot unmarshal number into Go struct field cniVersion of type string";
        assert_eq!(version_text(request.as_object().unwrap()), Err(Error::decoding(text)));
        assert_eq!(version_text(json!({"CNIVersion": "1.0.0"}).as_object().unwrap()), Ok("1.0.0"));
    }

    #[test]
    fn wrong_types_name_the_field() {
        let error = parse(json!({"name": "a", "ipam": {"type": 5}})).unwrap_err();
        let text = "failed to load netconf: json: cannot unmarshal number into Go struct field ipam.type of type string";
        assert_eq!(error, Error::internal(text));
    }

    #[test]
    fn gc_reads_both_keys_and_tells_absent_from_empty() {
        let one = json!([{"containerID": "c7", "ifname": "net1"}]);
        let expected = Some(vec![Attachment { container_id: "c7".into(), ifname: "net1".into() }]);
        for key in [VALID_ATTACHMENTS, ATTACHMENTS] {
            assert_eq!(
                parse(json!({"name": "a", key: one})).unwrap().valid_attachments(),
                Ok(expected.clone())
            );
            assert_eq!(parse(json!({"name": "a", key: []})).unwrap().valid_attachments(), Ok(Some(vec![])));
        }
        assert_eq!(parse(json!({"name": "a"})).unwrap().valid_attachments(), Ok(None));
        let error = parse(json!({"name": "a", ATTACHMENTS: {}})).unwrap().valid_attachments().unwrap_err();
        assert!(error.msg.contains(ATTACHMENTS), "{error}");
    }
}
