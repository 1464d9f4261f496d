//! The configuration of `coordinator`, and how it and the agent's answer become one (spec/coordinator.md 4.2).

use std::net::{IpAddr, Ipv4Addr};

use polynic_cni::Error;
use polynic_net::{Family, IfName, IpNet};
use polynic_wire::messages::CoordinatorConfig;
use serde::Deserialize;

use super::detect::{self, Detect};
use crate::Call;
use crate::routing::mac_prefix::{MacPrefix, Unfit};
use crate::routing::view::single;
use crate::routing::{cidr, table_number};

const HOST_RULE_TABLE: u32 = 500;
const VETH_MTU: u32 = 1500;
/// Leaves reverse path filtering as it is.
const LEAVE_RP_FILTER: i64 = -1;

/// Which plan a pod's interface gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Auto,
    Underlay,
    Overlay,
    Disable,
}

/// As written.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct NetConf {
    mode: String,
    #[serde(rename = "overlayPodCIDR")]
    overlay_pod_cidr: Vec<String>,
    #[serde(rename = "serviceCIDR")]
    service_cidr: Vec<String>,
    #[serde(rename = "hijackCIDR")]
    hijack_cidr: Vec<String>,
    policy_routes: Vec<RouteText>,
    tune_pod_routes: Option<bool>,
    pod_default_route_nic: String,
    pod_default_cni_nic: String,
    host_rule_table: Option<i64>,
    #[serde(rename = "podRPFilter")]
    pod_rp_filter: Option<i64>,
    #[serde(rename = "podMACPrefix")]
    pod_mac_prefix: String,
    tx_queue_len: Option<i64>,
    veth_link_address: String,
    #[serde(rename = "vethMTU")]
    veth_mtu: Option<i64>,
    #[serde(skip)]
    detect: detect::Keys,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct RouteText {
    dst: String,
    gw: String,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) mode: Mode,
    /// Networks that are reached through the node: the overlay's, services, others.
    pub(super) hijacked: Vec<IpNet>,
    pub(super) policy_routes: Vec<(IpNet, IpAddr)>,
    pub(super) tune: bool,
    pub(super) default_route_nic: Option<IfName>,
    /// Name of the pod's first interface.
    pub(super) first_nic: IfName,
    pub(super) host_rule_table: u32,
    /// Absent: left as it is.
    pub(super) rp_filter: Option<i64>,
    pub(super) mac_prefix: Option<MacPrefix>,
    pub(super) mac_prefix_text: String,
    /// Absent: left as it is.
    pub(super) tx_queue_len: Option<u32>,
    pub(super) veth_link_address: Option<Ipv4Addr>,
    pub(super) veth_mtu: u32,
    pub(super) detect: Detect,
}

impl NetConf {
    /// Reads the configuration and refuses what cannot be right whatever the agent says.
    pub(super) fn read(call: &Call<'_>) -> Result<Self, Error> {
        let conf = Self { detect: call.conf.read()?, ..call.conf.read()? };
        if conf.veth_mtu.is_some_and(|mtu| mtu <= 0) {
            return Err(call.error("vethMTU must be greater than 0"));
        }
        conf.merge(call, &CoordinatorConfig { mode: "auto".into(), ..CoordinatorConfig::default() })?;
        Ok(conf)
    }

    /// The node's table as far as the configuration alone tells.
    pub(super) fn host_rule_table(&self) -> u32 {
        self.host_rule_table.and_then(|n| u32::try_from(n).ok()).unwrap_or(HOST_RULE_TABLE)
    }

    /// The configuration goes before the agent's answer, key by key.
    pub(super) fn merge(&self, call: &Call<'_>, agent: &CoordinatorConfig) -> Result<Settings, Error> {
        let error = |text: String| call.error(text);
        let lists = [
            or_else(&self.overlay_pod_cidr, &agent.overlay_pod_cidr),
            or_else(&self.service_cidr, &agent.service_cidr),
            or_else(&self.hijack_cidr, &agent.hijack_cidr),
        ];
        let mac_prefix_text = text_or(&self.pod_mac_prefix, &agent.pod_mac_prefix).to_owned();
        let agent_table = Some(agent.host_rule_table).filter(|n| *n != 0);
        Ok(Settings {
            mode: mode(text_or(&self.mode, &agent.mode)).map_err(error)?,
            hijacked: cidr::read_all(&lists.concat()).map_err(error)?,
            policy_routes: self.routes(agent).map_err(error)?,
            tune: self.tune_pod_routes.unwrap_or(agent.tune_pod_routes),
            default_route_nic: name(text_or(&self.pod_default_route_nic, &agent.pod_default_route_nic)),
            first_nic: first_nic(&self.pod_default_cni_nic).map_err(error)?,
            host_rule_table: table_number(call, "hostRuleTable", self.host_rule_table.or(agent_table))?
                .unwrap_or(HOST_RULE_TABLE),
            rp_filter: rp_filter(self.pod_rp_filter.unwrap_or(agent.pod_rp_filter)).map_err(error)?,
            mac_prefix: prefix(call, &mac_prefix_text)?,
            mac_prefix_text,
            tx_queue_len: positive(self.tx_queue_len.unwrap_or(agent.tx_queue_len)),
            veth_link_address: link_address(text_or(&self.veth_link_address, &agent.veth_link_address))
                .map_err(error)?,
            veth_mtu: self.veth_mtu.or(Some(agent.veth_mtu)).and_then(positive).unwrap_or(VETH_MTU),
            detect: Detect::read(&self.detect).map_err(error)?,
        })
    }

    fn routes(&self, agent: &CoordinatorConfig) -> Result<Vec<(IpNet, IpAddr)>, String> {
        let theirs = || {
            let routes = agent.policy_routes.iter();
            routes.map(|r| RouteText { dst: r.dst.clone(), gw: r.gw.clone() }).collect()
        };
        let routes = if self.policy_routes.is_empty() { theirs() } else { self.policy_routes.clone() };
        routes.iter().map(policy_route).collect()
    }
}

fn or_else<'a>(own: &'a [String], agent: &'a [String]) -> &'a [String] {
    if own.is_empty() { agent } else { own }
}

fn text_or<'a>(own: &'a str, agent: &'a str) -> &'a str {
    if own.is_empty() { agent } else { own }
}

/// The CRD says `disabled` where the plugin's key says `disable`.
fn mode(text: &str) -> Result<Mode, String> {
    match text {
        "auto" => Ok(Mode::Auto),
        "underlay" => Ok(Mode::Underlay),
        "overlay" => Ok(Mode::Overlay),
        "disable" | "disabled" => Ok(Mode::Disable),
        other => Err(format!("unknown tuneMode: {other}")),
    }
}

fn policy_route(route: &RouteText) -> Result<(IpNet, IpAddr), String> {
    let RouteText { dst, gw } = route;
    let address = || dst.trim().parse::<IpAddr>().ok().map(single);
    let net = cidr::read(dst).ok().or_else(address).ok_or_else(|| format!("invalid route dst {dst:?}"))?;
    let hop: IpAddr = gw.trim().parse().map_err(|_| format!("invalid route gw {gw:?}"))?;
    if Family::of(net.addr()) != Family::of(hop) {
        return Err(format!("route dst {dst:?} and gw {gw:?} must use the same IP family"));
    }
    Ok((net, hop))
}

/// A name that no link can have is the name of none.
fn name(text: &str) -> Option<IfName> {
    IfName::new(text).ok()
}

fn first_nic(text: &str) -> Result<IfName, String> {
    let text = if text.is_empty() { "eth0" } else { text };
    IfName::new(text).map_err(|e| format!("invalid podDefaultCniNic: {e}"))
}

fn rp_filter(value: i64) -> Result<Option<i64>, String> {
    match value {
        0..=2 => Ok(Some(value)),
        value if value <= LEAVE_RP_FILTER => Ok(None),
        value => Err(format!("invalid rp_filter value {value}, available options: [-1,0,1,2]")),
    }
}

fn positive(number: i64) -> Option<u32> {
    u32::try_from(number).ok().filter(|n| *n > 0)
}

/// The webhook lets IPv6 addresses pass; they were never used.
fn link_address(text: &str) -> Result<Option<Ipv4Addr>, String> {
    match (text, text.parse::<IpAddr>()) {
        ("", _) | (_, Ok(IpAddr::V6(_))) => Ok(None),
        (_, Ok(IpAddr::V4(ip))) => Ok(Some(ip)),
        (_, Err(_)) => Err(format!("invalid vethLinkAddress {text:?}: it must be an IPv4 address")),
    }
}

fn prefix(call: &Call<'_>, text: &str) -> Result<Option<MacPrefix>, Error> {
    MacPrefix::read(text).map_err(|unfit| match unfit {
        Unfit::Form => call.error(format!(
            "invalid podMACPrefix (mac_prefix) {text:?}: it must be two hexadecimal bytes with a colon, like 0a:1b"
        )),
        Unfit::Group => call.error(refused_mac(call, text, "it begins a group address")),
    })
}

/// The replaced plugin's text for a hardware address that the kernel does not take.
pub(super) fn refused_mac(call: &Call<'_>, prefix: &str, cause: &str) -> String {
    format!(
        "failed to update hardware address for interface {}, maybe hardware_prefix({prefix}) is invalid: {cause}",
        call.ifname
    )
}
