//! `sbr`, source-based routing: packets from an interface's addresses take the routes of a table of their own
//! (spec/plugins.md 3.5).
//!
//! Unlike the replaced plugin it leaves the kernel's link-local IPv6 route in the main table too: neighbours need it.

mod gateways;
mod tables;

use std::net::IpAddr;

use polynic_cni::{Error, Ip, Success};
use polynic_net::{
    Change, Entropy, Facts, Family, IfName, IpNet, Needs, NsFacts, Place, Plan, Route, RouteKind, Rule,
    TABLE_MAIN, scope,
};
use serde::Deserialize;

use self::gateways::Gateways;
use self::tables::Tables;
use super::own_addresses;
use crate::{Call, ChainedAttachment, ChainedPlugin, Leftovers, Planned};

/// The plugin.
pub struct Sbr;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Config {
    table: Option<u32>,
    gateways: Vec<String>,
    add_source_hints: bool,
}

struct SourceRouting {
    /// Only rules to this table; no routes move.
    table: Option<u32>,
    gateways: Gateways,
    /// The main table keeps the networks' routes, with a source.
    hints: bool,
}

impl ChainedPlugin for Sbr {
    fn plugin_type(&self) -> &'static str {
        "sbr"
    }

    fn read(&self, call: &Call<'_>) -> Result<Box<dyn ChainedAttachment>, Error> {
        let config: Config = call.conf.read()?;
        Ok(Box::new(SourceRouting {
            table: config.table,
            gateways: Gateways::read(&config.gateways).map_err(|why| call.error(why))?,
            hints: config.add_source_hints,
        }))
    }
}

/// A single address as a network.
fn host(ip: IpAddr) -> IpNet {
    IpNet::from(ip)
}

/// Where the kernel would put a rule without priority: before the second of its family (net/core/fib_rules.c,
/// fib_default_rule_pref).
fn next_priority(rules: &[Rule], family: Family) -> u32 {
    let mut priorities: Vec<u32> = rules.iter().filter(|r| r.family == family).map(|r| r.priority).collect();
    priorities.sort_unstable();
    priorities.get(1).map_or(0, |second| second.saturating_sub(1))
}

/// The unicast routes of a link in the main table.
fn main_routes<'f>(pod: &'f NsFacts, link: &'f IfName) -> impl Iterator<Item = &'f Route> {
    pod.routes.iter().filter(move |r| {
        r.table == TABLE_MAIN && r.kind == RouteKind::Unicast && r.link.as_ref() == Some(link)
    })
}

/// Whether a route belongs with an address: its source or next hop is in the address's network, or it has neither.
fn belongs(route: &Route, address: IpNet) -> bool {
    let within = |ip: Option<IpAddr>| ip.is_some_and(|ip| address.contains(&ip));
    within(route.src) || within(route.gw) || (route.src.is_none() && route.gw.is_none())
}

fn is_link_local(route: &Route) -> bool {
    matches!(route.dst, IpNet::V6(net) if net.network().segments()[0] == 0xfe80)
}

/// The route as it is in another table: somebody's decision now, not the kernel's.
fn copy(route: &Route, table: u32) -> Route {
    Route { table, onlink: false, ..route.clone() }
}

impl SourceRouting {
    fn rules(&self, plan: &mut Plan, pod: &NsFacts, addresses: &[(IpNet, u32)]) {
        let mut rules = pod.rules.clone();
        for (address, table) in addresses {
            let family = Family::of(address.addr());
            let from = Some(host(address.addr()));
            let priority = next_priority(&rules, family);
            let rule = Rule { family, priority, from, to: None, iif: None, mark: None, table: *table };
            plan.own(Change::add_rule(Place::Pod, rule.clone()));
            rules.push(rule);
        }
    }

    /// What an address's table gets: a default route by its gateway, and copies of the routes that belong with it.
    fn fill(&self, plan: &mut Plan, call: &Call<'_>, pod: &NsFacts, ip: &Ip, table: u32) {
        let family = Family::of(ip.address.addr());
        let gateway = self.gateways.of(family).or(ip.gateway);
        let mut routes: Vec<Route> = Vec::new();
        let copies =
            main_routes(pod, &call.ifname).filter(|r| belongs(r, ip.address) && r.family() == family);
        for route in copies.map(|route| copy(route, table)) {
            // A later one replaces what has its destination and metric.
            routes.retain(|r| r.dst != route.dst || r.effective_priority() != route.effective_priority());
            routes.push(route);
        }
        // A next hop must be reachable when its route is made.
        routes.sort_by_key(|route| route.gw.is_some());
        if let Some(gateway) = gateway {
            let default = Route::new(any(family), &call.ifname).via(gateway).in_table(table);
            routes.retain(|r| !r.is_default() || r.effective_priority() != default.effective_priority());
            routes.push(default);
        }
        for route in routes {
            plan.own(Change::add_route(Place::Pod, route));
        }
    }

    /// Takes from the main table what the tables of the addresses have now. Routes with a next hop go first, so that they can
    /// come back last.
    fn clear_main(&self, plan: &mut Plan, call: &Call<'_>, pod: &NsFacts, addresses: &[IpNet]) {
        let moved = |route: &&Route| {
            !is_link_local(route)
                && addresses.iter().any(|a| Family::of(a.addr()) == route.family() && belongs(route, *a))
        };
        let mut gone: Vec<&Route> = main_routes(pod, &call.ifname).filter(moved).collect();
        gone.sort_by_key(|route| route.gw.is_none());
        for route in gone {
            if self.hints && route.gw.is_none() && is_connected(route) {
                self.hint(plan, route, addresses);
            } else {
                plan.own(Change::delete_route(Place::Pod, route.clone()));
            }
        }
    }

    /// The network's route stays in the main table, and says which address to come from.
    fn hint(&self, plan: &mut Plan, route: &Route, addresses: &[IpNet]) {
        let source = addresses.iter().find(|a| route.dst.contains(&a.addr())).map(|a| a.addr());
        let (Some(source), Some(link)) = (source, &route.link) else { return };
        if route.src == Some(source) {
            return;
        }
        let hint = Route::new(route.dst, link).link_scope().from_src(source);
        plan.own(Change::delete_route(Place::Pod, route.clone()));
        plan.own(Change::add_route(Place::Pod, Route { priority: route.priority, ..hint }));
    }
}

fn is_connected(route: &Route) -> bool {
    route.scope == scope::LINK || route.family() == Family::V6
}

fn any(family: Family) -> IpNet {
    let zero = match family {
        Family::V4 => IpAddr::from([0; 4]),
        Family::V6 => IpAddr::from([0; 16]),
    };
    IpNet::new_assert(zero, 0)
}

impl ChainedAttachment for SourceRouting {
    fn without_prev_result(&self) -> &'static str {
        "This plugin must be called as chained plugin"
    }

    fn needs(&self, call: &Call<'_>, _prev: &Success) -> Needs {
        let mut needs = Needs::default();
        needs.pod.link(&call.ifname);
        (needs.pod.routes, needs.pod.rules) = (true, true);
        needs
    }

    fn plan(
        &self,
        call: &Call<'_>,
        prev: &Success,
        facts: &Facts,
        _entropy: &mut Entropy,
    ) -> Result<Planned, Error> {
        let none = NsFacts::default();
        let pod = facts.pod.as_ref().unwrap_or(&none);
        let ips: Vec<&Ip> = own_addresses(call, prev).collect();
        if ips.is_empty() {
            return Err(call.error(format!("No IP addresses supplied on interface: {}", call.ifname)));
        }
        let mut tables = Tables::of(pod);
        let table_of = |_: &&Ip| self.table.unwrap_or_else(|| tables.take());
        let tables: Vec<u32> = ips.iter().map(table_of).collect();
        let mut plan = Plan::default();
        if self.table.is_none() {
            ips.iter().zip(&tables).for_each(|(ip, table)| self.fill(&mut plan, call, pod, ip, *table));
        }
        let addresses: Vec<IpNet> = ips.iter().map(|ip| ip.address).collect();
        let ruled: Vec<(IpNet, u32)> = addresses.iter().copied().zip(tables).collect();
        self.rules(&mut plan, pod, &ruled);
        if self.table.is_none() {
            self.clear_main(&mut plan, call, pod, &addresses);
        }
        Ok(Planned { plan, result: prev.clone() })
    }

    fn leftover_needs(&self, call: &Call<'_>) -> Needs {
        let mut needs = Needs::default();
        needs.pod.addresses.push(call.ifname.clone());
        needs.pod.rules = true;
        needs
    }

    /// The rules of the interface's addresses; the routes die with the link.
    fn leftovers(&self, call: &Call<'_>, facts: &Facts) -> Leftovers {
        let Some(pod) = &facts.pod else { return Leftovers::default() };
        let ours = |rule: &&Rule| {
            let table = self.table.is_none_or(|table| table == rule.table);
            table && pod.addresses_of(&call.ifname).any(|a| rule.from == Some(host(a.net.addr())))
        };
        let delete = |rule: &Rule| Change::add_rule(Place::Pod, rule.clone()).inverse();
        let changes = pod.rules.iter().filter(ours).filter_map(delete).collect();
        Leftovers { changes, ..Leftovers::default() }
    }
}
