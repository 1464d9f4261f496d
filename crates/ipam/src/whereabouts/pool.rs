//! Who gets which address of a pool (spec/whereabouts.md 4).

use std::collections::BTreeMap;
use std::net::IpAddr;

use polynic_net::{Family, IntervalSet};

use super::Range;

/// Who holds an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// The container.
    pub id: String,
    /// The pod, as `namespace/name`.
    pub podref: String,
    /// The interface; old releases left it out.
    pub ifname: String,
}

/// Allocations of a pool, by their keys. What is no address of the range is kept as it is.
pub type Holders = BTreeMap<String, Holder>;

/// An address for somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The address.
    pub ip: IpAddr,
    /// The pod had it for this interface already: its container is replaced.
    pub is_known: bool,
}

/// The address for a pod's interface: the one it has, else the lowest that is free and not among those of `taken`, which are known
/// to be somebody's by other ranges. None: the range is exhausted.
pub fn choose(range: &Range, holders: &Holders, taken: &[IpAddr], who: &Holder) -> Option<Chosen> {
    let same = |holder: &Holder| holder.podref == who.podref && holder.ifname == who.ifname;
    let known = holders.iter().find(|(_, holder)| same(holder)).and_then(|(key, _)| range.address(key));
    if let Some(ip) = known.filter(|ip| !taken.contains(ip)) {
        return Some(Chosen { ip, is_known: true });
    }
    let family = Family::of(range.net.addr());
    let held = holders.keys().filter_map(|key| range.address(key));
    let held = IntervalSet::of_addresses(family, held.chain(taken.iter().copied()));
    range.free().difference(&held).first().map(|ip| Chosen { ip, is_known: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::whereabouts::RangeText;

    fn range() -> Range {
        let text = RangeText {
            range: "10.0.0.0/29".into(),
            exclude: vec!["10.0.0.2".into()],
            ..RangeText::default()
        };
        Range::read(&text).unwrap()
    }

    fn holder(id: &str, podref: &str, ifname: &str) -> Holder {
        Holder { id: id.into(), podref: podref.into(), ifname: ifname.into() }
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn the_lowest_free_address_is_chosen() {
        let mut holders = Holders::new();
        let mut given = Vec::new();
        for n in 0..6 {
            let who = holder(&format!("c{n}"), &format!("blue/web-{n}"), "net1");
            let Some(chosen) = choose(&range(), &holders, &[], &who) else { break };
            holders.insert(range().offset(chosen.ip), who);
            given.push(chosen.ip);
        }
        assert_eq!(given, [ip(1), ip(3), ip(4), ip(5), ip(6)], "and then there is none");
        holders.remove("4");
        assert_eq!(choose(&range(), &holders, &[], &holder("c9", "blue/web-9", "net1")).unwrap().ip, ip(4));
    }

    #[test]
    fn a_pods_interface_keeps_its_address_and_a_second_interface_gets_another() {
        let holders = Holders::from([("3".into(), holder("c1", "blue/web", "net1"))]);
        let again = choose(&range(), &holders, &[], &holder("c2", "blue/web", "net1")).unwrap();
        assert_eq!(again, Chosen { ip: ip(3), is_known: true });
        let second = choose(&range(), &holders, &[], &holder("c2", "blue/web", "net2")).unwrap();
        assert_eq!(second, Chosen { ip: ip(1), is_known: false });
    }

    #[test]
    fn what_other_ranges_gave_away_is_passed_over() {
        let who = holder("c1", "blue/web", "net1");
        assert_eq!(choose(&range(), &Holders::new(), &[ip(1), ip(3)], &who).unwrap().ip, ip(4));
    }
}
