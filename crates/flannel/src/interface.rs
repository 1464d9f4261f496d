//! The external interface: which link carries the network's packets, and under which addresses (spec/flannel.md 4).

use std::net::IpAddr;

use polynic_net::{AddressFact, Family, IfName, LinkFact, LinkNeed, NsFacts, NsNeeds, Route, TABLE_MAIN};
use regex_lite::Regex;

use crate::PerFamily;

/// How a user wants the interface chosen. What is empty is not asked for.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Names or addresses, in the order of preference (`--iface`).
    pub interfaces: Vec<String>,
    /// Patterns for addresses and names, tried afterwards (`--iface-regex`).
    pub patterns: Vec<Regex>,
    /// The link by which this address is reached, tried last (`--iface-can-reach`).
    pub can_reach: Option<IpAddr>,
    /// Addresses that peers use (`--public-ip`, `--public-ipv6`).
    pub public: PerFamily<IpAddr>,
}

/// The chosen link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct External {
    /// Its name.
    pub link: IfName,
    /// Its index.
    pub index: u32,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// The node's own addresses on it.
    pub addresses: PerFamily<IpAddr>,
    /// The addresses that peers send to.
    pub public: PerFamily<IpAddr>,
}

/// Why there is no external interface.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InterfaceError {
    /// Nothing that was asked for is there.
    #[error("no external interface: {} (there are {})", .tried.join("; "), .links.join(", "))]
    NotFound {
        /// What was tried.
        tried: Vec<String>,
        /// The links that there are.
        links: Vec<String>,
    },
    /// It has no address of a family that is on.
    #[error("external interface {link} has no usable {family} address")]
    NoAddress {
        /// The link.
        link: IfName,
        /// The family.
        family: Family,
    },
    /// Default routes of the families lead elsewhere.
    #[error("the IPv4 default route leaves by {v4}, the IPv6 one by {v6}: choose with --iface")]
    Split {
        /// The link of IPv4.
        v4: IfName,
        /// The link of IPv6.
        v6: IfName,
    },
    /// Its MTU is 0.
    #[error("external interface {0} has MTU 0")]
    NoMtu(IfName),
}

impl Selection {
    /// What [`Selection::choose`] looks at.
    pub fn needs(&self, needs: &mut NsNeeds) {
        needs.links = LinkNeed::All;
        needs.all_addresses = true;
        needs.routes = true;
        needs.ways.extend(self.can_reach);
    }

    /// Chooses. Of the links that were asked for one by one, the first that can be used; any other stays as long as it has the same
    /// addresses: nothing moves without need.
    ///
    /// # Errors
    /// See [`InterfaceError`].
    pub fn choose(
        &self,
        facts: &NsFacts,
        families: &[Family],
        before: Option<&External>,
    ) -> Result<External, InterfaceError> {
        let same = before.and_then(|before| still(before, facts));
        let mut tried = Vec::new();
        for wanted in &self.interfaces {
            let Some(found) = by_address_or_name(facts, wanted) else {
                tried.push(format!("--iface={wanted}"));
                continue;
            };
            let link = &found.0.name;
            if let Some(same) = same.as_ref().filter(|same| same.link == *link) {
                return Ok(same.clone());
            }
            match self.external(&found, facts, families) {
                // It was chosen, and has lost its address for now: nobody is sent elsewhere for that.
                Err(why) if before.is_none_or(|before| before.link != *link) => {
                    tried.push(format!("--iface={wanted}: {why}"))
                }
                outcome => return outcome,
            }
        }
        match same {
            Some(same) => Ok(same),
            None => self.otherwise(facts, families, tried),
        }
    }

    /// The external interface that a link would be.
    fn external(
        &self,
        (link, fixed): &Found<'_>,
        facts: &NsFacts,
        families: &[Family],
    ) -> Result<External, InterfaceError> {
        let mut addresses = PerFamily::default();
        for family in families {
            let own = fixed.get(*family).copied().or_else(|| best_address(facts, &link.name, *family));
            let missing = || InterfaceError::NoAddress { link: link.name.clone(), family: *family };
            addresses.set(*family, Some(own.ok_or_else(missing)?));
        }
        if link.mtu == 0 {
            return Err(InterfaceError::NoMtu(link.name.clone()));
        }
        let public = |family| Some((family, *self.public.get(family).or(addresses.get(family))?));
        Ok(External {
            link: link.name.clone(),
            index: link.index,
            mtu: link.mtu,
            public: families.iter().filter_map(|family| public(*family)).collect(),
            addresses,
        })
    }

    /// By what is tried after single names and addresses, which were `tried` in vain.
    fn otherwise(
        &self,
        facts: &NsFacts,
        families: &[Family],
        mut tried: Vec<String>,
    ) -> Result<External, InterfaceError> {
        if self.interfaces.is_empty() && self.patterns.is_empty() && self.can_reach.is_none() {
            return self.external(&self.find_by_default(facts, families)?, facts, families);
        }
        let patterns = self
            .patterns
            .iter()
            .map(|pattern| (format!("--iface-regex={pattern}"), by_pattern(facts, pattern, families)));
        let way = self.can_reach.map(|to| (format!("--iface-can-reach={to}"), by_way(facts, to)));
        for (option, found) in patterns.chain(way) {
            match found.map(|found| self.external(&found, facts, families)) {
                Some(Ok(external)) => return Ok(external),
                Some(Err(why)) => tried.push(format!("{option}: {why}")),
                None => tried.push(option),
            }
        }
        Err(not_found(facts, tried))
    }

    fn find_by_default<'f>(
        &self,
        facts: &'f NsFacts,
        families: &[Family],
    ) -> Result<Found<'f>, InterfaceError> {
        let public = families.iter().find_map(|family| self.public.get(*family));
        if let Some(found) = public.and_then(|ip| by_address(facts, *ip)) {
            return Ok(found);
        }
        let default = |family: Family| {
            let routes = facts.routes.iter().filter(|r| r.table == TABLE_MAIN && r.is_default());
            let best = routes.filter(|r| r.family() == family).min_by_key(|r| r.effective_priority());
            best.and_then(|route: &Route| route.link.clone())
        };
        let links: Vec<IfName> = families.iter().filter_map(|family| default(*family)).collect();
        match links.as_slice() {
            [v4, v6] if v4 != v6 => Err(InterfaceError::Split { v4: v4.clone(), v6: v6.clone() }),
            [link, ..] if facts.link(link).is_some() => {
                // Just looked at.
                Ok((facts.link(link).ok_or_else(|| not_found(facts, Vec::new()))?, PerFamily::default()))
            }
            _ => Err(not_found(facts, vec!["there is no default route".to_owned()])),
        }
    }
}

fn not_found(facts: &NsFacts, tried: Vec<String>) -> InterfaceError {
    InterfaceError::NotFound { tried, links: facts.links.iter().map(|link| link.name.to_string()).collect() }
}

/// The interface as it is now, if it still has its addresses.
fn still(before: &External, facts: &NsFacts) -> Option<External> {
    let link = facts.link(&before.link).filter(|link| link.mtu != 0)?;
    let has = |ip: &IpAddr| facts.addresses_of(&before.link).any(|a| a.net.addr() == *ip);
    let same = before.addresses.iter().all(|(_, ip)| has(ip));
    same.then(|| External { index: link.index, mtu: link.mtu, ..before.clone() })
}

type Found<'f> = (&'f LinkFact, PerFamily<IpAddr>);

fn by_address_or_name<'f>(facts: &'f NsFacts, wanted: &str) -> Option<Found<'f>> {
    match wanted.parse::<IpAddr>() {
        Ok(ip) => by_address(facts, ip),
        Err(_) => facts.links.iter().find(|l| l.name.as_str() == wanted).map(|l| (l, PerFamily::default())),
    }
}

fn by_address(facts: &NsFacts, ip: IpAddr) -> Option<Found<'_>> {
    let address = facts.addresses.iter().find(|a| a.net.addr() == ip)?;
    Some((facts.link(&address.link)?, [(Family::of(ip), ip)].into_iter().collect()))
}

/// Addresses of every link in the order of their indexes, then names. With two families both need an address that matches.
fn by_pattern<'f>(facts: &'f NsFacts, pattern: &Regex, families: &[Family]) -> Option<Found<'f>> {
    let mut links: Vec<&LinkFact> = facts.links.iter().collect();
    links.sort_by_key(|link| link.index);
    let matching = |link: &LinkFact| -> PerFamily<IpAddr> {
        let on_link = facts.addresses_of(&link.name).map(|a| a.net.addr());
        let hits = on_link.filter(|ip| pattern.is_match(&ip.to_string()));
        hits.map(|ip| (Family::of(ip), ip)).collect()
    };
    let by_addresses = links.iter().find_map(|link| {
        let hits = matching(link);
        families.iter().all(|family| hits.get(*family).is_some()).then_some((*link, hits))
    });
    let by_name = || links.iter().find(|link| pattern.is_match(link.name.as_str()));
    by_addresses.or_else(|| by_name().map(|link| (*link, PerFamily::default())))
}

fn by_way(facts: &NsFacts, to: IpAddr) -> Option<Found<'_>> {
    let way = facts.ways.get(&to)?;
    let fixed = way.src.map(|ip| (Family::of(ip), ip)).into_iter().collect();
    Some((facts.link(&way.link)?, fixed))
}

/// Global before link-local, permanent before dynamic, stable before temporary, then the kernel's order.
fn best_address(facts: &NsFacts, link: &IfName, family: Family) -> Option<IpAddr> {
    let usable = |a: &&AddressFact| {
        Family::of(a.net.addr()) == family && !a.deprecated && !a.dad_failed && !a.net.addr().is_loopback()
    };
    let on_link = facts.addresses_of(link).filter(usable);
    let best = on_link.min_by_key(|a| (!a.is_global(), !a.permanent, a.temporary));
    best.map(|a| a.net.addr())
}

#[cfg(test)]
mod tests;
