//! What `ifacer` is told.

use polynic_cni::Error;
use polynic_net::IfName;
use serde::Deserialize;

use super::options::{self, Chosen};
use crate::Call;

/// The name of a bond that was given none.
const DEFAULT_BOND: &str = "sp_bond0";

#[derive(Default, Deserialize)]
#[serde(default)]
struct Keys {
    interfaces: Vec<String>,
    #[serde(rename = "vlanID")]
    vlan_id: i64,
    bond: Option<BondKeys>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct BondKeys {
    name: String,
    mode: i64,
    options: String,
}

/// What is to be there.
#[derive(Debug, PartialEq)]
pub(super) struct Config {
    /// The links to build on; at least one, none twice.
    pub(super) interfaces: Vec<IfName>,
    /// The VLAN, 1 to 4094.
    pub(super) vlan: Option<u16>,
    /// The bond of several interfaces.
    pub(super) bond: Option<BondConfig>,
}

/// A bond to be.
#[derive(Debug, PartialEq)]
pub(super) struct BondConfig {
    pub(super) name: IfName,
    /// 0 to 6.
    pub(super) mode: u8,
    pub(super) chosen: Chosen,
}

impl Config {
    /// Reads the configuration. A bond of one interface, or a VLAN of several without a bond, is not made.
    pub(super) fn read(call: &Call<'_>) -> Result<Self, Error> {
        let keys: Keys = call.conf.read()?;
        Self::of(keys).map_err(|why| call.error(why))
    }

    fn of(keys: Keys) -> Result<Self, String> {
        let interfaces = keys.interfaces.iter().map(|name| link(name)).collect::<Result<Vec<_>, _>>()?;
        if interfaces.is_empty() {
            return Err("interfaces: at least one interface of the node is required".to_owned());
        }
        if let Some(twice) = interfaces.iter().enumerate().find(|(at, name)| interfaces[..*at].contains(name))
        {
            return Err(format!("interfaces: {} is listed twice", twice.1));
        }
        let vlan = u16::try_from(keys.vlan_id).ok().filter(|id| *id <= 4094);
        let vlan = vlan.ok_or_else(|| format!("vlanID: {} is not within 0 to 4094", keys.vlan_id))?;
        let bond = keys.bond.map(|bond| BondConfig::of(bond, &interfaces)).transpose()?;
        Ok(Self { interfaces, vlan: (vlan != 0).then_some(vlan), bond })
    }
}

impl BondConfig {
    fn of(keys: BondKeys, interfaces: &[IfName]) -> Result<Self, String> {
        let name = if keys.name.is_empty() { DEFAULT_BOND } else { &keys.name };
        let mode = u8::try_from(keys.mode).ok().filter(|mode| *mode <= 6);
        let mode = mode.ok_or_else(|| format!("bond.mode: {} is not within 0 to 6", keys.mode))?;
        Ok(Self { name: link(name)?, mode, chosen: options::read(&keys.options, interfaces)? })
    }
}

fn link(name: &str) -> Result<IfName, String> {
    IfName::new(name).map_err(|why| format!("{name:?}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(keys: Value) -> Result<Config, String> {
        Config::of(serde_json::from_value(keys).unwrap())
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let config = read(json!({"interfaces": ["e1", "e2"], "bond": {"mode": 1}})).unwrap();
        assert_eq!(config.vlan, None);
        assert_eq!(config.bond.unwrap().name.as_str(), "sp_bond0");
        assert_eq!(read(json!({"interfaces": ["e1"], "vlanID": 7})).unwrap().vlan, Some(7));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (keys, text) in [
            (json!({}), "at least one interface"),
            (json!({"interfaces": ["e1", "e1"]}), "e1 is listed twice"),
            (json!({"interfaces": ["a/b"]}), "a/b"),
            (json!({"interfaces": ["e1"], "vlanID": 4095}), "vlanID: 4095"),
            (json!({"interfaces": ["e1"], "vlanID": -1}), "vlanID: -1"),
            (json!({"interfaces": ["e1", "e2"], "bond": {"mode": 7}}), "bond.mode: 7"),
            (json!({"interfaces": ["e1", "e2"], "bond": {"mode": 1, "options": "primary=e9"}}), "e9"),
        ] {
            let why = read(keys).unwrap_err();
            assert!(why.contains(text), "{why}");
        }
    }
}
