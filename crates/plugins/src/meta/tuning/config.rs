//! The configuration, with what `args.cni`, `CNI_ARGS` and the runtime put over it.

use std::fmt;
use std::path::PathBuf;

use polynic_cni::{Error, GoMap, JsonMap};
use polynic_net::{Mac, Sysctl, SysctlKey};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::Call;
use crate::mac::{self, Sources};

/// Where the replaced plugin keeps what it changed.
const DATA_DIR: &str = "/run/cni/tuning";

/// What is to be tuned.
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
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Written {
        sysctl: Pairs,
        args: Args,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Args {
        cni: Cni,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Cni {
        sysctl: Pairs,
    }
    // The text itself, because only there duplicate keys can be seen.
    let written: Written =
        serde_json::from_slice(&call.invocation.stdin).map_err(|e| call.error(brief(&e.to_string())))?;
    let Pairs(mut pairs) = written.sysctl;
    for (name, value) in written.args.cni.sysctl.0 {
        pairs.retain(|(known, _)| *known != name);
        pairs.push((name, value));
    }
    Ok(pairs)
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

/// A JSON object of texts whose keys differ.
#[derive(Default, Serialize)]
struct Pairs(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, String>()? {
            if pairs.iter().any(|(known, _)| *known == name) {
                return Err(serde::de::Error::custom("duplicated sysctl keys are not allowed"));
            }
            pairs.push((name, value));
        }
        Ok(Pairs(pairs))
    }
}
