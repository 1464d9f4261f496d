//! The plan of `veth`, in the order of spec/coordinator.md 3.3.

use std::net::IpAddr;

use polynic_cni::{Error, Interface, Success, Version};
use polynic_net::{Entropy, Facts, Family, IpNet, Neighbour, Place, Route, TABLE_MAIN};

use super::Config;
use crate::routing::cable::{Cable, has_ipv6};
use crate::routing::draft::{Draft, Selector};
use crate::routing::keys::{self, is_excluded};
use crate::routing::moves::{Keep, Move};
use crate::routing::view::{View, families, single};
use crate::routing::{mac_rewrite, own_answers};
use crate::{Call, Planned};

/// Bytes.
const MTU: u32 = 1500;
/// The table of the second interface.
const FIRST_TABLE: u32 = 100;

pub(super) fn plan(
    config: &Config,
    call: &Call<'_>,
    prev: &Success,
    facts: &Facts,
    entropy: &mut Entropy,
) -> Result<Planned, Error> {
    let view = View::new(call, facts)?;
    let nic = view.pod_link(call, &call.ifname)?;
    if prev.interfaces.is_empty() {
        return Err(call.error("failed to find interface from prevResult"));
    }
    let addresses: Vec<IpNet> = prev.ips.iter().map(|ip| ip.address).collect();
    let mut draft = Draft::new(call, facts);
    let mac = mac_rewrite::rewrite(&mut draft, nic, config.keys.mac_prefix, &addresses);
    let mut result = mac_rewrite::in_result(call, prev, mac);
    if config.keys.only_mac {
        return Ok(Planned { plan: draft.plan, result });
    }
    refuse_router(call, view)?;
    let (cable, first) = match Cable::find(call, view)? {
        Some(cable) => (cable, false),
        None => (Cable::make(call, view.host, MTU, entropy, &mut draft)?, true),
    };
    let table = match first {
        true => TABLE_MAIN,
        // Ways to the node stand in every table; they are no sign that another interface has this one.
        false => {
            let meant = FIRST_TABLE + keys::number(call, prev)? - 1;
            draft.free_table(meant, |r| r.link.as_ref() != Some(&cable.pod))
        }
    };
    let families = families(&addresses);
    if first {
        cable.enable_ipv6(&mut draft, view, &addresses);
    }
    let mut work = Work { config, view, draft, cable, first, table, families, addresses };
    work.all(call);
    if first {
        add_interfaces(&mut result, call, &work.cable);
    }
    Ok(Planned { plan: work.draft.plan, result })
}

/// `router` leaves rules for destinations; nothing else of ours does.
fn refuse_router(call: &Call<'_>, view: View<'_>) -> Result<(), Error> {
    match view.pod.rules.iter().any(|r| r.to.is_some() && r.table >= FIRST_TABLE && r.table < TABLE_MAIN) {
        true => Err(call.error(
            "router and veth cannot serve one pod: rules of router are there, for destinations, to a table of their own",
        )),
        false => Ok(()),
    }
}

struct Work<'a> {
    config: &'a Config,
    view: View<'a>,
    draft: Draft,
    cable: Cable,
    /// Whether the cable is made by this call.
    first: bool,
    table: u32,
    families: Vec<Family>,
    addresses: Vec<IpNet>,
}

impl Work<'_> {
    fn all(&mut self, call: &Call<'_>) {
        if has_ipv6(&self.families) {
            self.draft.enable_ipv6(self.view.pod);
        }
        let node_ips = self.view.node_ips(&self.families, is_excluded);
        self.neighbours(&node_ips);
        self.ways_to_the_node(&node_ips);
        self.hijack();
        for net in self.addresses.clone() {
            self.draft.set_host_route(Route::new(single(net.addr()), &self.cable.host).link_scope());
        }
        if !self.first && self.config.keys.migrate {
            self.give_way(call);
        }
        own_answers::keep_apart(&mut self.draft, self.view.pod);
        let new = self.first.then_some(&self.cable);
        self.draft.filter_reverse_paths(self.config.keys.rp_filter, self.view, new);
    }

    /// Steps 4 and 5.
    fn neighbours(&mut self, node_ips: &[IpAddr]) {
        for net in self.addresses.clone() {
            self.draft.set_host_neighbour(&self.cable.host, net.addr(), self.cable.pod_mac);
        }
        for ip in node_ips {
            let (link, mac) = (self.cable.pod.clone(), self.cable.host_mac);
            self.draft.rely_on_neighbour(Neighbour { link, ip: *ip, mac });
        }
    }

    /// Step 6.
    fn ways_to_the_node(&mut self, node_ips: &[IpAddr]) {
        for ip in node_ips {
            let route = Route::new(single(*ip), &self.cable.pod).link_scope();
            self.draft.add_route(Place::Pod, route.in_table(self.table));
        }
    }

    /// Step 7: through the address that the node would use towards the interface.
    fn hijack(&mut self) {
        let keys = &self.config.keys;
        let nets = keys.service.iter().chain(&keys.overlay).chain(&self.config.additional);
        for net in nets {
            if let Some(gateway) = self.gateway(Family::of(net.addr())) {
                let route = Route::new(*net, &self.cable.pod).via(gateway);
                self.draft.add_route(Place::Pod, route.in_table(self.table));
            }
        }
    }

    fn gateway(&self, family: Family) -> Option<IpAddr> {
        let first = self.addresses.iter().map(IpNet::addr).find(|ip| Family::of(*ip) == family)?;
        self.view.host.sources.get(&first).copied()
    }

    /// Step 9.
    fn give_way(&mut self, call: &Call<'_>) {
        for net in self.addresses.clone() {
            let selector = Selector::from(single(net.addr()));
            self.draft.add_rule(Family::of(net.addr()), selector, self.table);
        }
        for family in self.families.clone() {
            let job = Move { link: &call.ifname, family, table: self.table, keep: Keep::Everything };
            // The pod's only default route stays, whoever brought it.
            match self.view.default_link(family, &call.ifname) {
                Some(_) => self.draft.move_routes(job),
                None => self.draft.copy_routes(job),
            }
        }
    }
}

/// Formats since 1.0.0 show the cable, too.
fn add_interfaces(result: &mut Success, call: &Call<'_>, cable: &Cable) {
    if call.conf.cni_version < Version::V1_0_0 {
        return;
    }
    let interface = |name: &polynic_net::IfName, mac: polynic_net::Mac, sandbox: &str| Interface {
        name: name.to_string(),
        mac: mac.to_string(),
        sandbox: sandbox.to_owned(),
        ..Interface::default()
    };
    result.interfaces.push(interface(&cable.host, cable.host_mac, ""));
    result.interfaces.push(interface(&cable.pod, cable.pod_mac, &call.invocation.netns));
}
