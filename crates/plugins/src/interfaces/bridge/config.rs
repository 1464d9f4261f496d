//! The keys of `bridge`.

use polynic_cni::Error;
use polynic_net::{Facts, IfName, Place};
use serde::Deserialize;

use crate::{Call, masquerade};

/// The configuration, validated.
#[derive(Clone)]
pub(super) struct Config {
    pub(super) bridge: IfName,
    pub(super) is_gateway: bool,
    pub(super) is_default_gateway: bool,
    pub(super) force_address: bool,
    pub(super) ip_masq: bool,
    pub(super) mtu: Option<u32>,
    pub(super) hairpin: bool,
    pub(super) promisc: bool,
    /// 0: none.
    pub(super) vlan: u16,
    /// VLANs that pass tagged.
    pub(super) trunk: Vec<u16>,
    pub(super) has_trunk: bool,
    pub(super) preserve_default_vlan: bool,
    pub(super) mac_spoof_check: bool,
    pub(super) enable_dad: bool,
    pub(super) disable_container_interface: bool,
    pub(super) port_isolation: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Written {
    bridge: String,
    is_gateway: bool,
    is_default_gateway: bool,
    force_address: bool,
    ip_masq: bool,
    ip_masq_backend: String,
    mtu: u32,
    hairpin_mode: bool,
    promisc_mode: bool,
    vlan: i64,
    vlan_trunk: Vec<Trunk>,
    preserve_default_vlan: bool,
    macspoofchk: bool,
    enabledad: bool,
    disable_container_interface: bool,
    port_isolation: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Trunk {
    #[serde(rename = "minID")]
    min_id: Option<i64>,
    #[serde(rename = "maxID")]
    max_id: Option<i64>,
    id: Option<i64>,
}

impl Config {
    pub(super) fn read(call: &Call<'_>) -> Result<Self, Error> {
        let w: Written = call.conf.read()?;
        masquerade::check_backend(call, &w.ip_masq_backend)?;
        if w.hairpin_mode && w.promisc_mode {
            return Err(call.error("cannot set hairpin mode and promiscuous mode at the same time"));
        }
        if w.disable_container_interface && !call.conf.ipam_type.is_empty() {
            return Err(call.error("cannot use IPAM when DisableContainerInterface flag is set"));
        }
        let name = if w.bridge.is_empty() { "cni0" } else { &w.bridge };
        let vlan = u16::try_from(w.vlan).ok().filter(|v| *v <= 4094);
        Ok(Self {
            bridge: IfName::new(name)
                .map_err(|e| call.error(format!("invalid bridge name {name:?}: {e}")))?,
            is_gateway: w.is_gateway || w.is_default_gateway,
            is_default_gateway: w.is_default_gateway,
            force_address: w.force_address,
            ip_masq: w.ip_masq,
            mtu: (w.mtu != 0).then_some(w.mtu),
            hairpin: w.hairpin_mode,
            promisc: w.promisc_mode,
            vlan: vlan.ok_or_else(|| {
                call.error(format!("invalid VLAN ID {} (must be between 0 and 4094)", w.vlan))
            })?,
            has_trunk: !w.vlan_trunk.is_empty(),
            trunk: trunk(&w.vlan_trunk).map_err(|e| call.error(e))?,
            preserve_default_vlan: w.preserve_default_vlan,
            mac_spoof_check: w.macspoofchk,
            enable_dad: w.enabledad,
            disable_container_interface: w.disable_container_interface,
            port_isolation: w.port_isolation,
        })
    }

    /// The same with the bridge's own name, where the configuration has another one that the bridge has besides.
    pub(super) fn resolved(&self, facts: &Facts) -> Self {
        let name = facts.link(Place::Host, &self.bridge).map(|bridge| bridge.name.clone());
        Self { bridge: name.unwrap_or_else(|| self.bridge.clone()), ..self.clone() }
    }

    /// Whether the bridge keeps VLANs apart.
    pub(super) fn filters_vlans(&self) -> bool {
        self.vlan != 0 || self.has_trunk
    }
}

/// All ids, each once, in ascending order.
fn trunk(entries: &[Trunk]) -> Result<Vec<u16>, &'static str> {
    let mut ids = Vec::new();
    let valid = |id: i64| u16::try_from(id).ok().filter(|id| (1..=4094).contains(id));
    for entry in entries {
        match (entry.min_id, entry.max_id) {
            (Some(min), Some(max)) => {
                let min = valid(min).ok_or("incorrect trunk minID parameter")?;
                let max = valid(max).ok_or("incorrect trunk maxID parameter")?;
                if min > max {
                    return Err("minID is greater than maxID in trunk parameter");
                }
                ids.extend(min..=max);
            }
            (None, Some(_)) => {
                return Err("minID and maxID should be configured simultaneously, minID is missing");
            }
            (Some(_), None) => {
                return Err("minID and maxID should be configured simultaneously, maxID is missing");
            }
            (None, None) => {}
        }
        if let Some(id) = entry.id {
            ids.push(valid(id).ok_or("incorrect trunk id parameter")?);
        }
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;
    use polynic_cni::{Invocation, PluginConf};
    use serde_json::{Value, json};

    fn read(keys: Value) -> Result<Config, String> {
        let mut conf = keys;
        conf["name"] = json!("lab");
        conf["type"] = json!("bridge");
        let conf = PluginConf::parse(conf.to_string().as_bytes()).unwrap();
        let invocation = Invocation::default();
        Config::read(&Call::new("bridge", &invocation, &conf).unwrap()).map_err(|e| e.msg)
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let config = read(json!({})).unwrap();
        assert_eq!(config.bridge.as_str(), "cni0");
        assert!(!config.is_gateway && !config.filters_vlans() && config.mtu.is_none());
        assert!(read(json!({"isDefaultGateway": true})).unwrap().is_gateway);
        assert!(read(json!({"ISGATEWAY": true})).unwrap().is_gateway);
    }

    #[test]
    fn contradictions_are_refused_by_their_texts() {
        let cases = [
            (
                json!({"hairpinMode": true, "promiscMode": true}),
                "cannot set hairpin mode and promiscuous mode at the same time",
            ),
            (
                json!({"disableContainerInterface": true, "ipam": {"type": "static"}}),
                "cannot use IPAM when DisableContainerInterface flag is set",
            ),
            (json!({"vlan": 4095}), "invalid VLAN ID 4095 (must be between 0 and 4094)"),
            (json!({"vlan": -1}), "invalid VLAN ID -1 (must be between 0 and 4094)"),
            (json!({"vlanTrunk": [{"minID": 0, "maxID": 5}]}), "incorrect trunk minID parameter"),
            (json!({"vlanTrunk": [{"minID": 1, "maxID": 4095}]}), "incorrect trunk maxID parameter"),
            (
                json!({"vlanTrunk": [{"minID": 9, "maxID": 5}]}),
                "minID is greater than maxID in trunk parameter",
            ),
            (
                json!({"vlanTrunk": [{"maxID": 5}]}),
                "minID and maxID should be configured simultaneously, minID is missing",
            ),
            (
                json!({"vlanTrunk": [{"minID": 5}]}),
                "minID and maxID should be configured simultaneously, maxID is missing",
            ),
            (json!({"vlanTrunk": [{"id": 4095}]}), "incorrect trunk id parameter"),
            (json!({"ipMasqBackend": "x"}), "unknown ipmasq backend \"x\""),
        ];
        for (keys, expected) in cases {
            assert_eq!(read(keys.clone()).err().as_deref(), Some(expected), "{keys}");
        }
    }

    #[test]
    fn trunks_mix_ids_and_ranges() {
        let config = read(json!({"vlanTrunk": [{"id": 9}, {"minID": 3, "maxID": 5}, {"id": 4}]})).unwrap();
        assert_eq!(config.trunk, [3, 4, 5, 9]);
        assert!(config.filters_vlans());
    }
}
