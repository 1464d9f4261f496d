//! The configuration that `router` and `veth` share (spec/coordinator.md 2.1 and 3.1).

use polynic_cni::{Error, Success};
use polynic_net::{IpNet, NsFacts, Probe};
use serde::Deserialize;

use super::ip_conflict::{self, IpConflict};
use super::mac_prefix::{MacPrefix, Unfit};
use super::{args, cidr};
use crate::Call;

/// As written. Of `additional_hijack_subnet` each plugin judges bad entries by itself.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Written {
    service_hijack_subnet: Vec<String>,
    overlay_hijack_subnet: Vec<String>,
    additional_hijack_subnet: Vec<String>,
    migrate_route: Option<i64>,
    rp_filter: Option<RpFilterKeys>,
    skip_call: bool,
    mac_prefix: String,
    only_op_mac: bool,
    ip_conflict: Option<ip_conflict::Keys>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RpFilterKeys {
    set_host: bool,
    value: Option<i64>,
}

/// What is common to both plugins.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    pub(super) service: Vec<IpNet>,
    pub(super) overlay: Vec<IpNet>,
    /// Not checked yet.
    pub(super) additional: Vec<String>,
    /// Whether the routes of an interface that gives way are moved; only 0 says no.
    pub(super) migrate: bool,
    pub(super) rp_filter: RpFilter,
    pub(super) skip_call: bool,
    pub(super) mac_prefix: Option<MacPrefix>,
    pub(super) only_mac: bool,
    pub(super) conflict: Option<IpConflict>,
}

/// Reverse path filtering of all links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RpFilter {
    /// On the node, too.
    pub(super) on_host: bool,
    /// 0, 1 or 2; whatever else is written when the node is left alone goes to the kernel as it is.
    pub(super) value: i64,
}

impl RpFilter {
    fn read(keys: Option<RpFilterKeys>) -> Self {
        let Some(RpFilterKeys { set_host, value }) = keys else { return Self { on_host: true, value: 2 } };
        let value = match (set_host, value) {
            (true, Some(value @ 0..=2)) => value,
            (true, _) => 2,
            (false, value) => value.unwrap_or_default(),
        };
        Self { on_host: set_host, value }
    }
}

impl Keys {
    pub(super) fn read(call: &Call<'_>) -> Result<Self, Error> {
        args::pod(call)?;
        let written: Written = call.conf.read()?;
        let mac_prefix = read_prefix(call, &written.mac_prefix)?;
        let only_mac = written.only_op_mac && mac_prefix.is_some();
        let needed = |list: &[String], text: &str| match list.is_empty() && !only_mac {
            true => Err(call.error(text)),
            false => cidr::read_all(list).map_err(|e| call.error(e)),
        };
        // The texts stand the wrong way round in the replaced plugins, and people look for them.
        let overlay_text = "the subnet of overlay cni(such as calico or cilium) must be given";
        Ok(Self {
            service: needed(&written.service_hijack_subnet, overlay_text)?,
            overlay: needed(&written.overlay_hijack_subnet, "the subnet of service clusterip must be given")?,
            additional: written.additional_hijack_subnet,
            migrate: written.migrate_route != Some(0),
            rp_filter: RpFilter::read(written.rp_filter),
            skip_call: written.skip_call,
            mac_prefix,
            only_mac,
            conflict: IpConflict::read(written.ip_conflict).map_err(|e| call.error(e))?,
        })
    }

    /// What to ask the network: whether the addresses of the interface are free.
    pub(super) fn probes(&self, call: &Call<'_>, prev: &Success) -> Result<Vec<Probe>, Error> {
        let Some(conflict) = self.conflict.filter(|_| !self.skip_call) else { return Ok(Vec::new()) };
        let addresses: Vec<IpNet> = prev.ips.iter().map(|ip| ip.address).collect();
        if addresses.is_empty() {
            return Err(call.error(format!("interface {} has no any ip configured", call.ifname)));
        }
        Ok(conflict.probes(&call.ifname, &addresses))
    }

    /// The settings to observe for [`super::draft::Draft::filter_reverse_paths`] and for switching IPv6 on.
    pub(super) fn setting_needs(
        &self,
        needs: &mut polynic_net::Needs,
        facts: &polynic_net::Facts,
        addresses: &[IpNet],
    ) {
        if super::cable::has_ipv6(&super::view::families(addresses))
            && let Some(pod) = &facts.pod
        {
            needs.pod.sysctls.extend(super::settings::DISABLE_IPV6.keys(pod));
        }
        let unlike = Some(polynic_net::RpFilterNeed::Unlike(self.rp_filter.value));
        (needs.pod.rp_filter, needs.host.rp_filter) = (unlike, unlike.filter(|_| self.rp_filter.on_host));
    }
}

fn read_prefix(call: &Call<'_>, text: &str) -> Result<Option<MacPrefix>, Error> {
    MacPrefix::read(text).map_err(|unfit| match unfit {
        Unfit::Form => call.error(format!(
            "invalid mac_prefix {text:?}: it must be two hexadecimal bytes with a colon, like 0a:1b"
        )),
        Unfit::Group => {
            call.error(format!("failed to update mac address, maybe mac_prefix is invalid: {text}"))
        }
    })
}

/// The number N of prevResult's first interface, whose name must be `net<N>`, N from 1.
pub(super) fn number(call: &Call<'_>, prev: &Success) -> Result<u32, Error> {
    let first = prev.interfaces.first().filter(|i| !i.name.is_empty());
    let first = first.ok_or_else(|| call.error("failed to find interface from prevResult"))?;
    let digits = first.name.strip_prefix("net").filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
    let number = digits.and_then(|d| d.parse().ok()).filter(|n| (1..=10_000).contains(n));
    let text = format!("failed to get the number of rule table for interface {}", first.name);
    number.ok_or_else(|| call.error(text))
}

/// Names of node links whose addresses pods need not reach (spec/coordinator.md 1.4).
pub(super) fn is_excluded(name: &str) -> bool {
    const PARTS: [&str; 10] =
        ["docker", "cbr", "dummy", "virbr", "lxcbr", "veth", "flannel", "kube-ipvs", "cni", "vx-submariner"];
    name == "lo"
        || name.starts_with("cali")
        || name.contains("ciliu")
        || PARTS.iter().any(|p| name.contains(p))
}

impl super::draft::Draft {
    /// Reverse path filtering of every link, on the node if asked for, in the pod always; `new` are the ends of a cable that the
    /// plan makes.
    pub(super) fn filter_reverse_paths(
        &mut self,
        filter: RpFilter,
        view: super::view::View<'_>,
        new: Option<&super::cable::Cable>,
    ) {
        use super::settings::RP_FILTER;
        use polynic_net::Place;
        let value = filter.value.to_string();
        let mut write = |place: Place, ns: &NsFacts, end: Option<&polynic_net::IfName>| {
            if let Some(end) = end {
                self.set_new(place, ns, (RP_FILTER, end), &value);
            }
            for key in RP_FILTER.known(ns) {
                self.set(place, ns, &key, &value);
            }
        };
        if filter.on_host {
            write(Place::Host, view.host, new.map(|c| &c.host));
        }
        write(Place::Pod, view.pod, new.map(|c| &c.pod));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reverse_path_filtering_as_the_table_says() {
        let read = |json: serde_json::Value| RpFilter::read(serde_json::from_value(json).unwrap());
        let is = |on_host, value| RpFilter { on_host, value };
        use serde_json::json;
        assert_eq!(read(json!(null)), is(true, 2));
        assert_eq!(read(json!({})), is(false, 0));
        assert_eq!(read(json!({"set_host": true})), is(true, 2));
        assert_eq!(read(json!({"set_host": true, "value": 7})), is(true, 2));
        assert_eq!(read(json!({"set_host": true, "value": 0})), is(true, 0));
        assert_eq!(read(json!({"value": 1})), is(false, 1));
    }

    #[test]
    fn node_links_are_excluded_by_parts_of_their_names() {
        for name in
            ["lo", "docker0", "br-cni0", "cali123", "my-veth", "kube-ipvs0", "flannel.1", "lxc-cilium"]
        {
            assert!(is_excluded(name), "{name}");
        }
        for name in ["eth0", "tunl0", "vxlan.calico", "br0", "bond0", "lo0", "xcali"] {
            assert!(!is_excluded(name), "{name}");
        }
    }
}
