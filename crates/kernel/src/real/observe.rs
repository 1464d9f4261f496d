//! Looking at what is asked for, and at nothing else.

use std::collections::HashMap;

use polynic_net::{Family, LinkFact, LinkNeed, NsFacts, NsNeeds};

use super::destination::Seen;
use super::legacy;
use super::space::Space;
use crate::netlink::Fault;
use crate::{Errno, nft};

impl Space {
    pub(super) fn observe(&mut self, needs: &NsNeeds) -> Result<NsFacts, Fault> {
        self.seen = Some(HashMap::new());
        let facts = self.look(needs);
        self.seen = None;
        facts
    }

    fn look(&mut self, needs: &NsNeeds) -> Result<NsFacts, Fault> {
        let mut facts = NsFacts { links: self.links_needed(needs)?, ..NsFacts::default() };
        if needs.all_addresses {
            facts.addresses = self.all_addresses()?;
        } else {
            for link in &needs.addresses {
                facts.addresses.extend(self.addresses(link)?);
            }
            for family in &needs.global_addresses {
                facts.addresses.extend(self.global_addresses(*family)?);
            }
        }
        for link in &needs.vfs {
            facts.vfs.extend(self.vfs_if_there(link)?);
        }
        facts.port_vlans = self.port_vlans(&needs.port_vlans)?;
        for to in &needs.sources {
            facts.sources.extend(self.source_towards(*to)?.map(|from| (*to, from)));
        }
        self.observe_routes(needs, &mut facts)?;
        for link in &needs.forwarding {
            facts.forwarding.extend(self.forwarding(link)?);
        }
        for link in &needs.wireguard {
            facts.wireguard.extend(self.wireguard(link)?);
        }
        for to in &needs.ways {
            facts.ways.extend(self.way_to(*to)?.map(|way| (*to, way)));
        }
        if !needs.sysctls.is_empty() {
            facts.sysctls = self.sysctls(&needs.sysctls)?;
        }
        if let Some(need) = needs.rp_filter {
            facts.sysctls.extend(self.rp_filters(need)?);
        }
        for link in &needs.traffic {
            facts.traffic.extend(self.traffic(link)?);
        }
        for table in &needs.firewall {
            facts.firewall.extend(nft::observe(self.firewall()?, table)?);
        }
        if needs.legacy_forward {
            facts.legacy_forward_drops = self.netns.run(legacy::forward_drops).map_err(|e| Fault::io(&e))?;
        }
        Ok(facts)
    }

    /// Rules, routes and neighbours: all, or those in question.
    fn observe_routes(&mut self, needs: &NsNeeds, facts: &mut NsFacts) -> Result<(), Fault> {
        let rules = self.rules_needed(needs)?;
        for destination in &needs.destinations {
            self.destination(destination, &rules, facts)?;
        }
        let asked = |seen: &Seen| needs.rules || needs.rules_of.contains(&seen.family);
        facts.rules.extend(rules.into_iter().filter(asked).filter_map(|seen| seen.rule));
        for link in &needs.routes_on {
            facts.routes.extend(self.routes_on(link)?);
        }
        for (link, ip) in &needs.neighbours_of {
            if let Some(index) = present(self.index(link))? {
                facts.neighbours.extend(self.neighbour_at(index, *ip)?);
            }
        }
        if needs.routes {
            facts.routes = self.routes()?;
        }
        if needs.neighbours {
            facts.neighbours = self.neighbours()?;
        }
        Ok(())
    }

    /// Rules that are asked for, and those by which destinations are judged.
    fn rules_needed(&mut self, needs: &NsNeeds) -> Result<Vec<Seen>, Fault> {
        if needs.rules {
            return self.rules(None);
        }
        let mut found = Vec::new();
        for family in [Family::V4, Family::V6] {
            let judged = needs.destinations.iter().any(|to| Family::of(to.ip) == family);
            if judged || needs.rules_of.contains(&family) {
                found.extend(self.rules(Some(family))?);
            }
        }
        Ok(found)
    }

    fn links_needed(&mut self, needs: &NsNeeds) -> Result<Vec<LinkFact>, Fault> {
        let LinkNeed::Named(names) = &needs.links else { return self.links() };
        let mut found = Vec::new();
        for name in names {
            found.extend(present(self.link(name))?);
        }
        for index in &needs.links_at {
            add_new(&mut found, present(self.link_by_index(*index))?);
        }
        for name in &needs.links_called {
            add_new(&mut found, present(self.link_by_other_name(name))?);
        }
        Ok(found)
    }
}

fn add_new(found: &mut Vec<LinkFact>, link: Option<LinkFact>) {
    found.extend(link.filter(|link| found.iter().all(|known| known.index != link.index)));
}

/// Nothing for a link that is not there.
fn present<T>(asked: Result<T, Fault>) -> Result<Option<T>, Fault> {
    match asked {
        Ok(found) => Ok(Some(found)),
        Err(fault) if fault.is(Errno::ENODEV) => Ok(None),
        Err(fault) => Err(fault),
    }
}
