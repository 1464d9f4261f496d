//! `vrf`: an interface becomes a port of a routing domain of its own (spec/plugins.md 3.6).
//!
//! The kernel takes the interface down and up when it joins: connected routes follow by themselves, the others are
//! lost. So they leave the main table before, and come into the domain's table after. IPv6 addresses survive because the plugins
//! that add them ask for that (`keep_addr_on_down`); where somebody did not, they are added again.

use polynic_cni::{Error, Success};
use polynic_net::{
    Address, Attr, Change, Entropy, Facts, Family, IfName, Link, LinkFact, LinkKind, LinkNeed, Needs,
    NsFacts, Place, Plan, Route, RouteKind, SysctlKey, TABLE_MAIN, Wait,
};
use serde::Deserialize;

use crate::{Call, ChainedAttachment, ChainedPlugin, Planned};

/// `RTPROT_KERNEL`: routes that come with addresses.
const BY_KERNEL: u8 = 2;

/// The plugin.
pub struct Vrf;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    vrfname: String,
    table: u32,
}

struct Domain {
    name: IfName,
    /// Absent: the lowest that no VRF has.
    table: Option<u32>,
}

impl ChainedPlugin for Vrf {
    fn plugin_type(&self) -> &'static str {
        "vrf"
    }

    fn versions(&self) -> &'static [polynic_cni::Version] {
        super::since(polynic_cni::Version::V0_3_1)
    }

    fn read(&self, call: &Call<'_>) -> Result<Box<dyn ChainedAttachment>, Error> {
        let config: Config = call.conf.read()?;
        if config.vrfname.is_empty() {
            return Err(call.error("configuration is expected to have a valid vrf name"));
        }
        let name = IfName::new(&config.vrfname);
        let name = name.map_err(|e| call.error(format!("invalid vrfname {:?}: {e}", config.vrfname)))?;
        Ok(Box::new(Domain { name, table: (config.table != 0).then_some(config.table) }))
    }
}

impl Domain {
    /// The table of the domain; makes the link that stands for it, if there is none.
    fn ensure_link(&self, call: &Call<'_>, pod: &NsFacts, plan: &mut Plan) -> Result<u32, Error> {
        let failed = |why: String| call.error(format!("cmdAdd failed: {why}"));
        let Some(link) = pod.link(&self.name) else {
            let table = self.table.unwrap_or_else(|| free_table(&pod.links));
            let link = Link::new(self.name.clone(), LinkKind::Vrf { table });
            plan.ensure(Change::create_link(Place::Pod, link));
            plan.ensure(Change::up(Place::Pod, &self.name));
            return Ok(table);
        };
        let table = link.vrf_table.filter(|_| link.kind == "vrf");
        let table = table.ok_or_else(|| failed(format!("Netlink {} is not a VRF", self.name)))?;
        match self.table {
            Some(wanted) if wanted != table => {
                Err(failed(format!("VRF {} already exist with different routing table {table}", self.name)))
            }
            _ => Ok(table),
        }
    }

    fn join(&self, call: &Call<'_>, pod: &NsFacts, plan: &mut Plan, table: u32) {
        let routes: Vec<&Route> = own_routes(pod, &call.ifname).collect();
        // Those with a next hop first, so that they come back last.
        for with_hop in [true, false] {
            for route in routes.iter().filter(|r| r.gw.is_some() == with_hop) {
                plan.own(Change::delete_route(Place::Pod, (*route).clone()));
            }
        }
        let master = Attr::Master(Some(self.name.clone()));
        plan.own(Change::attr(Place::Pod, &call.ifname, Attr::Master(None), master));
        restore_ipv6(call, pod, plan);
        for with_hop in [false, true] {
            for route in routes.iter().filter(|r| r.gw.is_some() == with_hop) {
                plan.own(Change::add_route(Place::Pod, (*route).clone().in_table(table)));
            }
        }
    }
}

/// Routes that somebody added to the main table for this link.
fn own_routes<'f>(pod: &'f NsFacts, link: &'f IfName) -> impl Iterator<Item = &'f Route> {
    let ours = |r: &&Route| r.table == TABLE_MAIN && r.protocol != BY_KERNEL && r.kind == RouteKind::Unicast;
    pod.routes.iter().filter(ours).filter(move |r| r.link.as_ref() == Some(link))
}

fn keep_key(link: &IfName) -> SysctlKey {
    SysctlKey::conf("ipv6", link, "keep_addr_on_down")
}

/// Global IPv6 addresses come back where the kernel does not keep them; either way they are tentative for a while.
fn restore_ipv6(call: &Call<'_>, pod: &NsFacts, plan: &mut Plan) {
    let global =
        pod.addresses_of(&call.ifname).filter(|a| Family::of(a.net.addr()) == Family::V6 && a.scope == 0);
    let global: Vec<_> = global.collect();
    if global.is_empty() {
        return;
    }
    if pod.sysctl(&keep_key(&call.ifname)) != Some("1") {
        for address in &global {
            plan.own(Change::add_address(Place::Pod, Address::new(&call.ifname, address.net)));
        }
    }
    plan.own(Change::wait(Place::Pod, Wait::Dad { link: call.ifname.clone() }));
}

/// The lowest number from 1 that no VRF has.
fn free_table(links: &[LinkFact]) -> u32 {
    (1..).find(|number| !links.iter().any(|link| link.vrf_table == Some(*number))).unwrap_or(1)
}

impl ChainedAttachment for Domain {
    fn without_prev_result(&self) -> &'static str {
        "Required prevResult missing"
    }

    fn needs(&self, call: &Call<'_>, _prev: &Success) -> Needs {
        let mut needs = Needs::default();
        needs.pod.links = LinkNeed::All;
        needs.pod.addresses.push(call.ifname.clone());
        needs.pod.routes = true;
        needs.pod.sysctl(keep_key(&call.ifname));
        needs
    }

    fn plan(
        &self,
        call: &Call<'_>,
        prev: &Success,
        facts: &Facts,
        _entropy: &mut Entropy,
    ) -> Result<Planned, Error> {
        let pod = facts.pod.clone().unwrap_or_default();
        let link = pod.link(&call.ifname);
        let link = link.ok_or_else(|| {
            call.error(format!("cmdAdd failed: could not get link by name {}", call.ifname))
        })?;
        if let Some(master) = link.master {
            let name = pod.link_by_index(master).map(|m| m.name.to_string()).unwrap_or_default();
            return Err(call.error(format!(
                "cmdAdd failed: interface {} has already a master set: {name}",
                call.ifname
            )));
        }
        let mut plan = Plan::default();
        let table = self.ensure_link(call, &pod, &mut plan)?;
        self.join(call, &pod, &mut plan, table);
        Ok(Planned { plan, result: prev.clone() })
    }

    fn leftover_needs(&self, _call: &Call<'_>) -> Needs {
        let mut needs = Needs::default();
        needs.pod.links = LinkNeed::All;
        needs
    }

    fn sweep(&self, _call: &Call<'_>, facts: &Facts) -> Vec<Change> {
        let Some(pod) = &facts.pod else { return Vec::new() };
        let Some(link) = pod.link(&self.name).filter(|link| link.kind == "vrf") else { return Vec::new() };
        if pod.links.iter().any(|port| port.master == Some(link.index)) {
            return Vec::new();
        }
        let made = Link::new(self.name.clone(), LinkKind::Vrf { table: link.vrf_table.unwrap_or_default() });
        Change::create_link(Place::Pod, made).inverse().into_iter().collect()
    }

    /// Attached by the replaced plugin: the interface leaves the domain.
    fn leftovers(&self, call: &Call<'_>, facts: &Facts) -> crate::Leftovers {
        let joined = facts.pod.as_ref().and_then(|pod| {
            let (port, domain) = (pod.link(&call.ifname)?, pod.link(&self.name)?);
            (port.master == Some(domain.index)).then_some(())
        });
        let master = Attr::Master(Some(self.name.clone()));
        let leave = || Change::attr(Place::Pod, &call.ifname, master, Attr::Master(None));
        let changes = joined.map(|()| leave()).into_iter().collect();
        crate::Leftovers { changes, ..crate::Leftovers::default() }
    }

    fn check_needs(&self, _call: &Call<'_>, _prev: &Success) -> Needs {
        let mut needs = Needs::default();
        needs.pod.links = LinkNeed::All;
        needs
    }

    fn check(&self, call: &Call<'_>, _prev: &Success, facts: &Facts) -> Result<(), Error> {
        let pod = facts.pod.clone().unwrap_or_default();
        let domain = pod.link(&self.name).filter(|link| link.kind == "vrf").map(|link| link.index);
        let port = pod.link(&call.ifname).and_then(|link| link.master);
        match domain.is_some() && domain == port {
            true => Ok(()),
            false => {
                Err(call.error(format!("failed to find {} associated to vrf {}", call.ifname, self.name)))
            }
        }
    }
}
