//! The plan of `coordinator`, in the order of spec/coordinator.md 4.4.

use std::net::IpAddr;

use polynic_cni::{Error, Success};
use polynic_net::{
    Attr, Change, Entropy, Facts, Family, IfName, IpNet, LinkFact, Mac, Neighbour, Place, Route, Rule,
    TABLE_MAIN,
};

use super::config::Settings;
use super::mode::{Kind, Layout, overlay_link};
use super::{reply_path, tune};
use crate::routing::cable::{Cable, has_ipv6};
use crate::routing::draft::{Draft, Selector};
use crate::routing::settings::RP_FILTER;
use crate::routing::view::{View, families, single};
use crate::routing::{HOST_RULE_PRIORITY, mac_rewrite, own_answers};
use crate::{Call, Planned};

pub(super) fn plan(
    settings: &Settings,
    call: &Call<'_>,
    prev: &Success,
    facts: &Facts,
    entropy: &mut Entropy,
) -> Result<Planned, Error> {
    let view = View::new(call, facts)?;
    let nic = view.pod_link(call, &call.ifname)?;
    let addresses = view.pod_addresses(&call.ifname);
    if addresses.is_empty() {
        let name = call.ifname.as_str();
        return Err(call.error(format!("no usable IP addresses on {name:?}")));
    }
    let mut draft = Draft::new(call, facts);
    let layout = Layout::find(settings, call, view, &draft)?;
    if !nic.up {
        draft.plan.own(Change::up(Place::Pod, &nic.name));
    }
    settings.detect.probe(&mut draft, view, &nic.name, &addresses);
    let ends = Ends::find(settings, call, view, &mut draft, (layout, entropy))?;
    let families = families(&addresses);
    let node_ips = view.node_ips(&families, is_excluded);
    let source = source(call, settings, view, &families)?;
    let mut work = Work { settings, view, nic, draft, layout, ends, families, addresses, node_ips, source };
    let mac = work.prepare_links();
    work.know_each_other();
    work.node_routes();
    work.hijack();
    work.reply_path();
    work.tune();
    work.policy_routes();
    Ok(Planned { plan: work.draft.plan, result: mac_rewrite::in_result(call, prev, mac) })
}

/// Names of node links whose addresses pods need not reach (spec/coordinator.md 1.4).
fn is_excluded(name: &str) -> bool {
    const STARTS: [&str; 11] = [
        "docker",
        "cbr",
        "dummy",
        "virbr",
        "lxcbr",
        "veth",
        "cali",
        "flannel",
        "kube-ipvs",
        "cni",
        "vx-submariner",
    ];
    name == "lo" || name.starts_with("ciliu") || STARTS.iter().any(|start| name.starts_with(start))
}

/// The first IPv4 address of the pod's link `eth0`, or of its first interface under another name: the source of what goes through
/// the node. IPv6 has no counterpart.
fn source(
    call: &Call<'_>,
    settings: &Settings,
    view: View<'_>,
    families: &[Family],
) -> Result<Option<IpAddr>, Error> {
    if !families.contains(&Family::V4) {
        return Ok(None);
    }
    let first = [overlay_link(), settings.first_nic.clone()].into_iter().find(|n| view.pod.link(n).is_some());
    let first = first.ok_or_else(|| call.error("interface eth0 not found in the pod"))?;
    Ok(view.pod_addresses(&first).iter().map(IpNet::addr).find(IpAddr::is_ipv4))
}

/// The link in the pod that leads to the node, and its other end there.
struct Ends {
    pod: IfName,
    pod_mac: Mac,
    host: IfName,
    host_mac: Mac,
    /// Whether the plan makes them.
    new: bool,
}

impl Ends {
    fn find(
        settings: &Settings,
        call: &Call<'_>,
        view: View<'_>,
        draft: &mut Draft,
        (layout, entropy): (Layout, &mut Entropy),
    ) -> Result<Self, Error> {
        if layout.kind == Kind::Overlay {
            return Self::of_overlay(call, view);
        }
        let found = Cable::find(call, view)?;
        let new = found.is_none();
        let cable = match found {
            Some(cable) => cable,
            None => Self::make(settings, call, view, draft, entropy)?,
        };
        let Cable { pod, pod_mac, host, host_mac } = cable;
        Ok(Self { pod, pod_mac, host, host_mac, new })
    }

    fn make(
        settings: &Settings,
        call: &Call<'_>,
        view: View<'_>,
        draft: &mut Draft,
        entropy: &mut Entropy,
    ) -> Result<Cable, Error> {
        let cable = Cable::make(call, view.host, settings.veth_mtu, entropy, draft)?;
        cable.enable_ipv6(draft, view, &view.pod_addresses(&call.ifname));
        let has_ipv4 = view.pod_addresses(&call.ifname).iter().any(|net| net.addr().is_ipv4());
        if let Some(ip) = settings.veth_link_address.filter(|_| has_ipv4) {
            cable.address(draft, ip);
        }
        Ok(cable)
    }

    /// The overlay's own cable. Anything but a cable may be the node's way to the world, and is left alone.
    fn of_overlay(call: &Call<'_>, view: View<'_>) -> Result<Self, Error> {
        let near = view.pod_link(call, &overlay_link())?;
        let far = view.other_end(near).ok_or_else(|| {
            call.error(format!(
                "failed to find the other end of {} on the node: it is of kind {:?}",
                near.name, near.kind
            ))
        })?;
        let mac = |link: &LinkFact| {
            link.mac.ok_or_else(|| call.error(format!("{} has no hardware address", link.name)))
        };
        let (pod_mac, host_mac) = (mac(near)?, mac(far)?);
        Ok(Self { pod: near.name.clone(), pod_mac, host: far.name.clone(), host_mac, new: false })
    }
}

struct Work<'a> {
    settings: &'a Settings,
    view: View<'a>,
    nic: &'a LinkFact,
    draft: Draft,
    layout: Layout,
    ends: Ends,
    families: Vec<Family>,
    addresses: Vec<IpNet>,
    node_ips: Vec<IpAddr>,
    source: Option<IpAddr>,
}

impl Work<'_> {
    /// Steps 3 to 6. Answers the interface's hardware address if it is one of ours.
    fn prepare_links(&mut self) -> Option<Mac> {
        let mac = mac_rewrite::rewrite(&mut self.draft, self.nic, self.settings.mac_prefix, &self.addresses);
        if let Some(mac) = mac {
            mac_rewrite::announce(&mut self.draft, self.nic, mac, &self.addresses);
        }
        let old = self.nic.tx_queue_len;
        if let Some(length) = self.settings.tx_queue_len.filter(|new| *new != old) {
            let (before, after) = (Attr::TxQueueLen(old), Attr::TxQueueLen(length));
            self.draft.plan.own(Change::attr(Place::Pod, &self.nic.name, before, after));
        }
        if has_ipv6(&self.families) {
            self.draft.enable_ipv6(self.view.pod);
        }
        own_answers::keep_apart(&mut self.draft, self.view.pod);
        if let Some(value) = self.settings.rp_filter {
            self.filter_reverse_paths(&value.to_string());
        }
        mac
    }

    /// `all`, and a new cable's end: there the stricter of both would count, and what comes through it need not have its way back there.
    fn filter_reverse_paths(&mut self, value: &str) {
        if self.ends.new {
            self.draft.set_new(Place::Pod, self.view.pod, (RP_FILTER, &self.ends.pod), value);
        }
        if let Some(all) = RP_FILTER.of("all") {
            self.draft.set(Place::Pod, self.view.pod, &all, value);
        }
    }

    /// Steps 7 to 9.
    fn know_each_other(&mut self) {
        for net in &self.addresses {
            self.draft.set_host_neighbour(&self.ends.host, net.addr(), self.ends.pod_mac);
        }
        for ip in self.node_ips.clone() {
            let (link, mac) = (self.ends.pod.clone(), self.ends.host_mac);
            self.draft.rely_on_neighbour(Neighbour { link, ip, mac });
        }
        for ip in self.node_ips.clone() {
            let route = self.through_node(single(ip)).link_scope();
            self.draft.add_route(Place::Pod, route.clone().in_table(self.layout.table));
            self.in_main(route);
        }
    }

    /// What the first call puts into main, and later ones rely on.
    fn in_main(&mut self, route: Route) {
        match self.layout.first {
            true => self.draft.add_route(Place::Pod, route),
            false => self.draft.keep_route(route),
        }
    }

    /// Steps 10 and 11.
    fn node_routes(&mut self) {
        let table = self.settings.host_rule_table;
        for family in self.families.iter().copied() {
            let priority = HOST_RULE_PRIORITY;
            let rule = Rule { family, priority, from: None, to: None, iif: None, mark: None, table };
            self.draft.ensure_rule(Place::Host, rule);
        }
        for net in &self.addresses {
            let route = Route::new(single(net.addr()), &self.ends.host).link_scope().in_table(table);
            self.draft.set_host_route(route);
        }
    }

    /// Step 12. On the overlay's first call into both tables, so that replies from the interface's address to the cluster's networks go
    /// the way that requests came.
    fn hijack(&mut self) {
        for net in self.settings.hijacked.clone() {
            let Some(gateway) = self.gateway(Family::of(net.addr())) else { continue };
            let route = self.through_node(net).via(gateway);
            self.in_main(route.clone());
            if !self.layout.first || self.layout.kind == Kind::Overlay {
                self.draft.add_route(Place::Pod, route.in_table(self.layout.table));
            }
        }
    }

    /// Step 13.
    fn reply_path(&mut self) {
        if !self.layout.first || self.layout.kind != Kind::Underlay {
            return;
        }
        reply_path::mark(&mut self.draft, self.view.pod, &self.ends.pod);
        for family in self.families.clone() {
            let Some(gateway) = self.gateway(family) else { continue };
            let Selector { from, to, .. } = Selector::default();
            let (mark, table) = (Some(reply_path::MARK), reply_path::TABLE);
            let rule = Rule { family, priority: HOST_RULE_PRIORITY, from, to, iif: None, mark, table };
            self.draft.insert_rule(Place::Pod, rule);
            let default = match family {
                Family::V4 => IpNet::V4(Default::default()),
                Family::V6 => IpNet::V6(Default::default()),
            };
            let route = self.through_node(default).via(gateway).in_table(table);
            self.draft.add_route(Place::Pod, route);
        }
    }

    /// Step 14.
    fn tune(&mut self) {
        let applies = !self.layout.first || self.layout.kind == Kind::Overlay;
        if !self.settings.tune || !applies {
            return;
        }
        let nic = tune::Nic {
            name: &self.nic.name,
            addresses: &self.addresses,
            families: &self.families,
            layout: self.layout,
        };
        tune::tune(&mut self.draft, self.settings, self.view, &nic);
    }

    /// Step 15.
    fn policy_routes(&mut self) {
        let in_main = self.layout.first && self.layout.kind == Kind::Underlay;
        let table = if in_main { TABLE_MAIN } else { self.layout.table };
        for (net, gateway) in &self.settings.policy_routes {
            if self.families.contains(&Family::of(*gateway)) {
                let route = Route::new(*net, &self.nic.name).via(*gateway).in_table(table);
                self.draft.add_route(Place::Pod, route);
            }
        }
    }

    fn gateway(&self, family: Family) -> Option<IpAddr> {
        self.node_ips.iter().copied().find(|ip| Family::of(*ip) == family)
    }

    /// A route through the link that leads to the node.
    fn through_node(&self, net: IpNet) -> Route {
        let route = Route::new(net, &self.ends.pod);
        match (self.source, net) {
            (Some(source), IpNet::V4(_)) => route.from_src(source),
            _ => route,
        }
    }
}
