//! The plan of `router`, in the order of spec/coordinator.md 2.2.

use std::net::IpAddr;

use polynic_cni::{Error, Success};
use polynic_net::{
    Change, Facts, Family, IfName, IpNet, LinkFact, Mac, Neighbour, Place, Route, RouteKind, Rule, TABLE_MAIN,
};

use super::Config;
use crate::routing::draft::{Draft, Selector};
use crate::routing::keys::{self, is_excluded};
use crate::routing::moves::{Keep, Move};
use crate::routing::view::{View, families, single};
use crate::routing::{HOST_RULE_PRIORITY, cable, mac_rewrite, own_answers};
use crate::{Call, Planned};

/// The table of the first interface that gives way.
const FIRST_TABLE: u32 = 100;

pub(super) fn plan(
    config: &Config,
    call: &Call<'_>,
    prev: &Success,
    facts: &Facts,
) -> Result<Planned, Error> {
    let view = View::new(call, facts)?;
    let number = keys::number(call, prev)?;
    let nic = view.pod_link(call, &call.ifname)?;
    let addresses: Vec<IpNet> = prev.ips.iter().map(|ip| ip.address).collect();
    let mut draft = Draft::new(call, facts);
    let mac = mac_rewrite::rewrite(&mut draft, nic, config.keys.mac_prefix, &addresses);
    let result = mac_rewrite::in_result(call, prev, mac);
    if config.keys.only_mac {
        return Ok(Planned { plan: draft.plan, result });
    }
    refuse_veth(call, view)?;
    let families = families(&addresses);
    let previous = previous(config, view, number);
    let table = draft.free_table(FIRST_TABLE + number - 1, |_| true);
    let mut work = Work { config, view, draft, families, addresses, table, nic: call.ifname.clone() };
    if work.families.contains(&Family::V6) {
        work.draft.enable_ipv6(view.pod);
    }
    if !config.sriov {
        work.through_the_node(call)?;
    }
    work.rules_to(number, &previous);
    work.give_way(&previous);
    work.keep_others_ways();
    own_answers::keep_apart(&mut work.draft, view.pod);
    work.draft.filter_reverse_paths(config.keys.rp_filter, view, None);
    Ok(Planned { plan: work.draft.plan, result })
}

/// A pod whose first interface is on the underlay has `veth` instead.
fn refuse_veth(call: &Call<'_>, view: View<'_>) -> Result<(), Error> {
    match view.pod.link(&cable::pod_end()) {
        Some(_) => Err(call.error(
            "router and veth (or coordinator in underlay mode) cannot serve one pod: interface veth0 is there",
        )),
        None => Ok(()),
    }
}

/// The interface that gives way: the one numbered before, or the nearest before that if it is gone; else the first one.
fn previous(config: &Config, view: View<'_>, number: u32) -> IfName {
    let numbered = (1..number).rev().filter_map(|n| IfName::new(format!("net{n}")).ok());
    let mut candidates = numbered.chain(IfName::new("eth0"));
    candidates.find(|name| view.pod.link(name).is_some()).unwrap_or_else(|| config.overlay_interface.clone())
}

struct Work<'a> {
    config: &'a Config,
    view: View<'a>,
    draft: Draft,
    families: Vec<Family>,
    addresses: Vec<IpNet>,
    table: u32,
    nic: IfName,
}

impl<'a> Work<'a> {
    /// Steps 2 to 5: pod and node know each other through the overlay's cable.
    fn through_the_node(&mut self, call: &Call<'_>) -> Result<(), Error> {
        let (near, far) = self.overlay_cable(call)?;
        let (near_mac, far_mac) = (mac_of(call, near)?, mac_of(call, far)?);
        let node_ips = self.view.node_ips(&self.families, is_excluded);
        for ip in &node_ips {
            let neighbour = Neighbour { link: near.name.clone(), ip: *ip, mac: far_mac };
            self.draft.rely_on_neighbour(neighbour);
        }
        for net in self.addresses.clone() {
            self.draft.set_host_neighbour(&far.name, net.addr(), near_mac);
            if node_ips.iter().any(|ip| net.contains(ip)) {
                self.way_back(&far.name, net.addr());
            }
        }
        for ip in node_ips {
            let route = Route::new(single(ip), &near.name).link_scope();
            // In the first table the way goes by main.
            let table = if self.table == FIRST_TABLE { TABLE_MAIN } else { self.table };
            self.draft.add_route(Place::Pod, route.clone().in_table(table));
            if table != TABLE_MAIN {
                self.draft.keep_route(route);
            }
        }
        Ok(())
    }

    /// Step 4, only where the node shares the interface's network: elsewhere the wire's router knows the way.
    fn way_back(&mut self, far: &IfName, ip: IpAddr) {
        let table = self.config.host_rule_table;
        let family = Family::of(ip);
        let rule =
            Rule { family, priority: HOST_RULE_PRIORITY, from: None, to: None, iif: None, mark: None, table };
        self.draft.ensure_rule(Place::Host, rule);
        self.draft.set_host_route(Route::new(single(ip), far).link_scope().in_table(table));
    }

    fn overlay_cable(&self, call: &Call<'_>) -> Result<(&'a LinkFact, &'a LinkFact), Error> {
        let name = &self.config.overlay_interface;
        let near = self.view.pod_link(call, name)?;
        if near.kind != "veth" {
            return Err(call.error(format!("overlay_interface {name} must be a veth, it is {:?}", near.kind)));
        }
        let far = self.view.other_end(near);
        let far =
            far.ok_or_else(|| call.error(format!("failed to find the other end of {name} on the node")))?;
        Ok((near, far))
    }

    /// Steps 6 and 7.
    fn rules_to(&mut self, number: u32, previous: &IfName) {
        let keys = &self.config.keys;
        let mut targets: Vec<IpNet> = match number {
            1 => keys.overlay.iter().chain(&keys.service).copied().collect(),
            // With its host bits, as the replaced plugin writes it.
            _ => self.view.pod_addresses(previous),
        };
        targets.extend(&self.config.additional);
        for net in targets {
            self.add_rule(Selector::to(net), net);
        }
    }

    /// Steps 8 and 9.
    fn give_way(&mut self, previous: &IfName) {
        if !self.config.keys.migrate {
            return;
        }
        for net in self.view.pod_addresses(previous) {
            self.add_rule(Selector::from(single(net.addr())), net);
        }
        for family in self.families.clone() {
            let job = Move { link: previous, family, table: self.table, keep: Keep::Everything };
            // Without a default route of its own the new interface must not take away the pod's.
            match self.view.defaults(family, &self.nic).next() {
                Some(_) => self.draft.move_routes(job),
                None => self.draft.copy_routes(job),
            }
        }
    }

    /// What interfaces before this one have given way to is not theirs alone: if one of them goes, the others still give way.
    fn keep_others_ways(&mut self) {
        let is_others = |table: u32| (FIRST_TABLE..TABLE_MAIN - 1).contains(&table) && table != self.table;
        let pod = self.view.pod;
        let rules = pod.rules.iter().filter(|r| is_others(r.table));
        let mut kept: Vec<Change> = rules.map(|rule| Change::add_rule(Place::Pod, rule.clone())).collect();
        for route in pod.routes.iter().filter(|r| is_others(r.table) && r.kind == RouteKind::Unicast) {
            kept.push(Change::add_route(Place::Pod, route.clone()));
            let in_main = route.clone().in_table(TABLE_MAIN);
            if route.is_default() && !pod.routes.contains(&in_main) {
                kept.push(Change::delete_route(Place::Pod, in_main));
            }
        }
        kept.into_iter().for_each(|change| self.draft.plan.ensure(change));
    }

    fn add_rule(&mut self, selector: Selector, about: IpNet) {
        let family = Family::of(about.addr());
        if self.families.contains(&family) {
            self.draft.add_rule(family, selector, self.table);
        }
    }
}

fn mac_of(call: &Call<'_>, link: &LinkFact) -> Result<Mac, Error> {
    link.mac.ok_or_else(|| call.error(format!("{} has no hardware address", link.name)))
}
