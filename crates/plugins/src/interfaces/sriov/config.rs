//! What the configuration asks of a virtual function (spec/sriov.md 2).

use polynic_cni::Error;
use polynic_net::{Mac, VfAttr, VfLinkState, VfRate, VfVlan, VlanProtocol};
use serde::Deserialize;

use super::function::is_address;
use crate::log::{Level, Options};
use crate::mac::{self, Sources};
use crate::{Call, log};

/// The keys as written.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Keys {
    #[serde(rename = "deviceID")]
    device_id: String,
    vlan: Option<i64>,
    #[serde(rename = "vlanQoS")]
    vlan_qos: Option<i64>,
    #[serde(rename = "vlanProto")]
    vlan_proto: Option<String>,
    spoofchk: String,
    trust: String,
    link_state: String,
    min_tx_rate: Option<i64>,
    max_tx_rate: Option<i64>,
    #[serde(rename = "logLevel")]
    log_level: String,
    #[serde(rename = "logFile")]
    log_file: String,
}

/// What is asked for; absent: left as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Wanted {
    /// The function's address on the bus.
    pub(super) device: String,
    pub(super) vlan: Option<VfVlan>,
    pub(super) mac: Option<Mac>,
    pub(super) rate: Option<VfRate>,
    pub(super) spoof_check: Option<bool>,
    pub(super) trust: Option<bool>,
    pub(super) link_state: Option<VfLinkState>,
}

impl Wanted {
    /// Reads and validates the keys. Without a device nothing can be attached.
    pub(super) fn read(call: &Call<'_>) -> Result<Self, Error> {
        let keys: Keys = call.conf.read()?;
        let refused = |why: String| call.error(format!("SRIOV-CNI failed to load netconf: {why}"));
        let device = device(&keys.device_id).map_err(refused)?;
        Ok(Self {
            device,
            vlan: vlan(&keys).map_err(refused)?,
            mac: mac::requested(call, Sources { config_key: true, ..Sources::default() })?,
            rate: rate(&keys).map_err(refused)?,
            spoof_check: switch(&keys.spoofchk),
            trust: switch(&keys.trust),
            link_state: link_state(&keys.link_state).map_err(refused)?,
        })
    }

    /// The settings, in the order in which they are made (spec/sriov.md 4).
    pub(super) fn settings(&self) -> Vec<VfAttr> {
        let settings = [
            self.vlan.map(VfAttr::Vlan),
            self.mac.map(VfAttr::Mac),
            self.rate.map(VfAttr::Rate),
            self.spoof_check.map(VfAttr::SpoofCheck),
            self.trust.map(VfAttr::Trust),
            self.link_state.map(VfAttr::LinkState),
        ];
        settings.into_iter().flatten().collect()
    }
}

/// The log file that the configuration asks for. Without one nothing is written.
pub(super) fn log(call: &Call<'_>) -> Result<Option<log::Options>, Error> {
    let keys: Keys = call.conf.read()?;
    let level = match keys.log_level.as_str() {
        "" => Level::Info,
        "warning" => Level::Warn,
        name => Level::from_name(name).unwrap_or(Level::Info),
    };
    Ok((!keys.log_file.is_empty()).then(|| Options::new(keys.log_file, level)))
}

fn device(id: &str) -> Result<String, String> {
    match id {
        "" => Err("VF pci addr is required".to_owned()),
        id if is_address(id) => Ok(id.to_owned()),
        id => Err(format!("invalid PCI address {id:?}")),
    }
}

fn vlan(keys: &Keys) -> Result<Option<VfVlan>, String> {
    let Some(id) = keys.vlan else {
        let without =
            |key: &str| Err(format!("vlan id must be configured to set vlan {key} to a non-nil value"));
        return match (&keys.vlan_qos, &keys.vlan_proto) {
            (Some(_), _) => without("QoS"),
            (None, Some(_)) => without("proto"),
            (None, None) => Ok(None),
        };
    };
    let in_range = |id: &u16| *id <= 4094;
    let id = u16::try_from(id).ok().filter(in_range);
    let id =
        id.ok_or_else(|| format!("vlan id {} invalid: value must be in the range 0-4094", show(keys.vlan)))?;
    let qos = u8::try_from(keys.vlan_qos.unwrap_or_default()).ok().filter(|qos| *qos <= 7);
    let qos = qos.ok_or_else(|| {
        format!("vlan QoS PCP {} invalid: value must be in the range 0-7", show(keys.vlan_qos))
    })?;
    let protocol = protocol(keys.vlan_proto.as_deref().unwrap_or("802.1q"))?;
    match (id, qos, protocol) {
        (0, 1.., _) => Err("non-zero vlan id must be configured to set vlan QoS to a non-zero value".into()),
        (0, _, VlanProtocol::Dot1ad) => {
            Err("non-zero vlan id must be configured to set vlan proto 802.1ad".into())
        }
        _ => Ok(Some(VfVlan { id, qos, protocol })),
    }
}

fn show(number: Option<i64>) -> i64 {
    number.unwrap_or_default()
}

fn protocol(name: &str) -> Result<VlanProtocol, String> {
    match name.to_ascii_lowercase().as_str() {
        "802.1q" => Ok(VlanProtocol::Dot1q),
        "802.1ad" => Ok(VlanProtocol::Dot1ad),
        _ => Err(format!("vlan Proto {name} invalid: value must be '802.1Q' or '802.1ad'")),
    }
}

/// Both bounds are set together; the one that is missing is none.
fn rate(keys: &Keys) -> Result<Option<VfRate>, String> {
    let bound = |name: &str, rate: Option<i64>| {
        let rate = rate.unwrap_or_default();
        u32::try_from(rate).map_err(|_| format!("{name} {rate} invalid: no number of Mbit/s"))
    };
    let rate =
        VfRate { min: bound("min_tx_rate", keys.min_tx_rate)?, max: bound("max_tx_rate", keys.max_tx_rate)? };
    Ok((keys.min_tx_rate.is_some() || keys.max_tx_rate.is_some()).then_some(rate))
}

fn switch(text: &str) -> Option<bool> {
    (!text.is_empty()).then_some(text == "on")
}

fn link_state(name: &str) -> Result<Option<VfLinkState>, String> {
    match name {
        "" => Ok(None),
        "auto" => Ok(Some(VfLinkState::Auto)),
        "enable" => Ok(Some(VfLinkState::Enable)),
        "disable" => Ok(Some(VfLinkState::Disable)),
        other => Err(format!("invalid link_state value: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use polynic_cni::{Invocation, PluginConf};
    use serde_json::{Value, json};

    use super::*;

    fn read(mut conf: Value, args: &str) -> Result<Wanted, String> {
        conf["name"] = json!("net");
        conf["cniVersion"] = json!("1.0.0");
        if conf.get("deviceID").is_none() {
            conf["deviceID"] = json!("0000:3b:02.4");
        }
        let conf = PluginConf::parse(conf.to_string().as_bytes()).unwrap();
        let invocation = Invocation { ifname: "net1".into(), args: args.into(), ..Invocation::default() };
        Wanted::read(&Call::new("sriov", &invocation, &conf).unwrap()).map_err(|e| e.msg)
    }

    #[test]
    fn what_is_not_asked_for_is_left_alone() {
        let wanted = read(json!({}), "").unwrap();
        assert_eq!(wanted, Wanted { device: "0000:3b:02.4".into(), ..Wanted::default() });
        assert_eq!(wanted.settings(), []);
    }

    #[test]
    fn settings_stand_in_the_order_in_which_they_are_made() {
        let wanted = read(
            json!({"vlan": 5, "vlanQoS": 3, "vlanProto": "802.1AD", "mac": "02:00:00:00:00:AA", "max_tx_rate": 100,
                "spoofchk": "off", "trust": "on", "link_state": "enable"}),
            "",
        );
        let vlan = VfVlan { id: 5, qos: 3, protocol: VlanProtocol::Dot1ad };
        let expected = [
            VfAttr::Vlan(vlan),
            VfAttr::Mac(Mac([2, 0, 0, 0, 0, 0xaa])),
            VfAttr::Rate(VfRate { min: 0, max: 100 }),
            VfAttr::SpoofCheck(false),
            VfAttr::Trust(true),
            VfAttr::LinkState(VfLinkState::Enable),
        ];
        assert_eq!(wanted.unwrap().settings(), expected);
        assert_eq!(read(json!({"vlan": 0}), "").unwrap().vlan, Some(VfVlan::default()));
    }

    #[test]
    fn the_runtimes_address_wins() {
        let conf = |runtime: &str| json!({"mac": "02:00:00:00:00:01", "runtimeConfig": {"mac": runtime}});
        let last = |conf, args| read(conf, args).unwrap().mac.unwrap().0[5];
        assert_eq!(last(conf(""), ""), 1);
        assert_eq!(last(conf(""), "MAC=02:00:00:00:00:02"), 2);
        assert_eq!(last(conf("02:00:00:00:00:03"), "MAC=02:00:00:00:00:02"), 3);
    }

    #[test]
    fn what_cannot_be_is_refused_in_known_words() {
        for (conf, words) in [
            (json!({"deviceID": ""}), "VF pci addr is required"),
            (json!({"deviceID": "../../x"}), "invalid PCI address \"../../x\""),
            (json!({"vlanQoS": 0}), "vlan id must be configured to set vlan QoS to a non-nil value"),
            (
                json!({"vlanProto": "802.1q"}),
                "vlan id must be configured to set vlan proto to a non-nil value",
            ),
            (json!({"vlan": 4095}), "vlan id 4095 invalid: value must be in the range 0-4094"),
            (json!({"vlan": -1}), "vlan id -1 invalid: value must be in the range 0-4094"),
            (json!({"vlan": 1, "vlanQoS": 8}), "vlan QoS PCP 8 invalid: value must be in the range 0-7"),
            (
                json!({"vlan": 0, "vlanQoS": 1}),
                "non-zero vlan id must be configured to set vlan QoS to a non-zero value",
            ),
            (
                json!({"vlan": 0, "vlanProto": "802.1ad"}),
                "non-zero vlan id must be configured to set vlan proto 802.1ad",
            ),
            (
                json!({"vlan": 1, "vlanProto": "x"}),
                "vlan Proto x invalid: value must be '802.1Q' or '802.1ad'",
            ),
            (json!({"link_state": "up"}), "invalid link_state value: up"),
            (json!({"max_tx_rate": -1}), "max_tx_rate -1 invalid: no number of Mbit/s"),
        ] {
            let error = read(conf, "").unwrap_err();
            assert_eq!(error, format!("SRIOV-CNI failed to load netconf: {words}"));
        }
    }
}
