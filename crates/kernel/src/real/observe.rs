//! Looking at what is asked for, and at nothing else.

use polynic_net::{IfName, LinkFact, LinkNeed, NsFacts, NsNeeds};

use super::legacy;
use super::space::Space;
use crate::netlink::Fault;
use crate::{Errno, nft};

impl Space {
    pub(super) fn observe(&mut self, needs: &NsNeeds) -> Result<NsFacts, Fault> {
        let mut facts = NsFacts { links: self.links_needed(&needs.links)?, ..NsFacts::default() };
        if needs.all_addresses {
            facts.addresses = self.all_addresses()?;
        } else {
            for link in &needs.addresses {
                facts.addresses.extend(self.addresses(link)?);
            }
        }
        for link in &needs.vfs {
            facts.vfs.extend(self.vfs_if_there(link)?);
        }
        for to in &needs.sources {
            facts.sources.extend(self.source_towards(*to)?.map(|from| (*to, from)));
        }
        if needs.routes {
            facts.routes = self.routes()?;
        }
        if needs.rules {
            facts.rules = self.rules()?;
        }
        if needs.neighbours {
            facts.neighbours = self.neighbours()?;
        }
        for link in &needs.forwarding {
            facts.forwarding.extend(self.forwarding(link)?);
        }
        for to in &needs.ways {
            facts.ways.extend(self.way_to(*to)?.map(|way| (*to, way)));
        }
        if !needs.sysctls.is_empty() {
            facts.sysctls = self.sysctls(&needs.sysctls)?;
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

    fn links_needed(&mut self, need: &LinkNeed) -> Result<Vec<LinkFact>, Fault> {
        match need {
            LinkNeed::All => self.links(),
            LinkNeed::Named(names) => self.links_named(names),
        }
    }

    fn links_named(&mut self, names: &[IfName]) -> Result<Vec<LinkFact>, Fault> {
        let mut found = Vec::new();
        for name in names {
            match self.link(name) {
                Ok(link) => found.push(link),
                Err(fault) if fault.is(Errno::ENODEV) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(found)
    }
}
