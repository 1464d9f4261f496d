//! The configuration, with what `args.cni`, `CNI_ARGS` and the runtime put over it.

use std::fmt;
use std::path::PathBuf;

use polynic_cni::{Error, GoMap, JsonMap};
use polynic_net::{Mac, Sysctl, SysctlKey};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::Call;
use crate::mac::{self, Sources};

/// Where the replaced plugin keeps what it changed.
const DATA_DIR: &str = "/run/cni/tuning";

/// What is to be tuned.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) sysctls: Vec<Sysctl>,
    /// The settings' names as configured, for the allow-list.
    pub(super) sysctl_names: Vec<String>,
    pub(super) mac: Option<Mac>,
    pub(super) promisc: bool,
    pub(super) mtu: Option<u32>,
    pub(super) all_multi: Option<bool>,
    pub(super) tx_queue_len: Option<u32>,
    pub(super) data_dir: PathBuf,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    promisc: bool,
    mtu: u32,
    #[serde(rename = "txQLen")]
    tx_queue_len: Option<u32>,
    allmulti: Option<bool>,
    #[serde(rename = "dataDir")]
    data_dir: String,
}

impl Wanted {
    /// Whether attributes of the interface are to be changed, and not only settings.
    pub(super) fn changes_link(&self) -> bool {
        let given = (self.mac, self.mtu, self.all_multi, self.tx_queue_len);
        self.promisc || given != (None, None, None, None)
    }

    pub(super) fn read(call: &Call<'_>) -> Result<Self, Error> {
        let config: Config = call.conf.read()?;
        let failed = |e: polynic_cni::json::JsonError| call.error(format!("failed to load netconf: {e}"));
        let none = JsonMap::default();
        let args = GoMap(call.conf.args_cni().unwrap_or(&none));
        let number = |key: &str| {
            let number = args.int(key).map_err(failed)?;
            number.map(|n| u32::try_from(n).map_err(|_| call.error(format!("invalid {key} {n}")))).transpose()
        };
        let named = sysctls(call)?;
        Ok(Self {
            sysctls: named.iter().map(|(name, value)| sysctl(call, name, value)).collect::<Result<_, _>>()?,
            sysctl_names: named.into_iter().map(|(name, _)| name).collect(),
            mac: requested_mac(call, args)?,
            promisc: args.bool("promisc").map_err(failed)?.unwrap_or(config.promisc),
            mtu: number("mtu")?.or(Some(config.mtu)).filter(|mtu| *mtu != 0),
            all_multi: args.bool("allmulti").map_err(failed)?.or(config.allmulti),
            tx_queue_len: number("txQLen")?.or(config.tx_queue_len),
            data_dir: if config.data_dir.is_empty() { DATA_DIR } else { &config.data_dir }.into(),
        })
    }
}

/// Here `args.cni` is stronger than the runtime (spec/plugins.md 0.5).
fn requested_mac(call: &Call<'_>, args: GoMap<'_>) -> Result<Option<Mac>, Error> {
    let by_args = args.string("mac").map_err(|e| call.error(format!("failed to load netconf: {e}")))?;
    if by_args.is_empty() {
        return mac::requested(call, Sources { config_key: true, cni_args_object: false });
    }
    by_args.parse().map(Some).map_err(|e: polynic_net::MacError| call.error(e))
}

/// Names and values in the order written; those of `args.cni` come over the configuration's.
fn sysctls(call: &Call<'_>) -> Result<Vec<(String, String)>, Error> {
    // The text itself, because only there duplicate keys can be seen.
    let read = || {
        let conf: Members<'_> = serde_json::from_slice(&call.invocation.stdin)?;
        let over = conf.object("args")?.object("cni")?.object("sysctl")?.texts()?;
        let mut pairs = conf.object("sysctl")?.texts()?;
        pairs.retain(|(known, _)| over.iter().all(|(name, _)| name != known));
        pairs.extend(over);
        Ok(pairs)
    };
    read().map_err(|e: serde_json::Error| call.error(brief(&e.to_string())))
}

/// The reader's error without its position, which means nothing to somebody who wrote a list of plugins.
fn brief(error: &str) -> String {
    error.split(" at line ").next().unwrap_or(error).to_owned()
}

/// `net.ipv4.conf.IFNAME.x` as the setting of this interface; a path that leaves `net` is refused.
fn sysctl(call: &Call<'_>, name: &str, value: &str) -> Result<Sysctl, Error> {
    let path = name.replace('.', "/").replacen("IFNAME", call.ifname.as_str(), 1);
    let key = SysctlKey::new(path).map_err(|_| call.error(format!("invalid net sysctl key: {name:?}")))?;
    Ok(Sysctl { key, value: value.to_owned() })
}

/// What is in a JSON object, in the order written; nothing in `null`.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// The object that a key has: the last one written, in any case of letters (spec/cni.md 1.9).
    fn object(&self, key: &str) -> Result<Self, serde_json::Error> {
        let found = self.0.iter().rev().find(|(name, _)| name.eq_ignore_ascii_case(key));
        found.map_or(Ok(Self(Vec::new())), |(_, value)| serde_json::from_str(value.get()))
    }

    /// The values as texts; the keys must differ.
    fn texts(&self) -> Result<Vec<(String, String)>, serde_json::Error> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in &self.0 {
            if pairs.iter().any(|(known, _)| known == name) {
                return Err(serde::de::Error::custom("duplicated sysctl keys are not allowed"));
            }
            let value: Option<String> = serde_json::from_str(value.get())?;
            pairs.push((name.clone(), value.unwrap_or_default()));
        }
        Ok(pairs)
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Members(Vec::new()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polynic_cni::{Invocation, PluginConf};

    use crate::testing;

    fn read(keys: &str) -> Result<Vec<(String, String)>, String> {
        let text = format!(r#"{{"cniVersion": "1.0.0", "name": "n", "type": "tuning", {keys}}}"#);
        let conf = PluginConf::parse(text.as_bytes()).unwrap();
        let invocation =
            Invocation { stdin: text.into_bytes(), ..testing::invocation(&serde_json::Value::Null) };
        let call = Call::new("tuning", &invocation, &conf).unwrap();
        let wanted = Wanted::read(&call).map_err(|e| e.msg)?;
        Ok(wanted.sysctls.iter().map(|s| (s.key.to_string(), s.value.clone())).collect())
    }

    #[test]
    fn null_is_as_good_as_nothing() {
        for keys in [
            r#""args": null"#,
            r#""args": {"cni": null}"#,
            r#""sysctl": null"#,
            r#""args": {"cni": {"sysctl": null}}"#,
        ] {
            assert_eq!(read(keys), Ok(vec![]), "{keys}");
        }
    }

    #[test]
    fn keys_count_in_any_case_and_the_last_counts() {
        let twice =
            r#""sysctl": {"net.ipv4.ip_forward": "0"}, "SYSCTL": {"net.ipv4.conf.IFNAME.arp_filter": "1"}"#;
        assert_eq!(read(twice), Ok(vec![("net/ipv4/conf/net1/arp_filter".into(), "1".into())]));
        let over = r#""sysctl": {"net.core.a": "0", "net.core.b": "0"}, "Args": {"CNI": {"sysctl": {"net.core.a": "1"}}}"#;
        let expected = [("net/core/b", "0"), ("net/core/a", "1")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(read(over), Ok(expected.to_vec()));
    }

    #[test]
    fn one_setting_written_twice_is_refused() {
        let why = read(r#""sysctl": {"net.core.a": "0", "net.core.a": "1"}"#).unwrap_err();
        assert!(why.contains("duplicated sysctl keys are not allowed"), "{why}");
    }
}
