//! Interfaces of a pod that are in one network: each has to answer for its own addresses alone.
//!
//! By default a host answers an ARP request for any of its addresses by the link that the request came in (net/ipv4/arp.c, `arp_ignore`). Of two
//! links in one LAN both answer, whoever asks keeps the faster answer, and packets to the one address come by the other link: not by the one the
//! replies leave by, which a strict reverse path filter drops. IPv6 has no such habit. The replaced plugins leave it as it is.

use polynic_net::{Facts, IfName, IpNet, Needs, NsFacts, Place};

use super::draft::Draft;
use super::settings::PerLink;

/// Which requests a link answers: 1 is those for its own addresses. Whoever set more than 0 has a reason.
const ARP_IGNORE: PerLink = PerLink { family: "ipv4", setting: "arp_ignore" };

/// The settings of the links in question.
pub(super) fn needs(needs: &mut Needs, facts: &Facts) {
    for link in facts.pod.iter().flat_map(in_one_network) {
        needs.pod.sysctl(ARP_IGNORE.key(&link));
    }
}

/// Makes them answer for their own addresses.
pub(super) fn keep_apart(draft: &mut Draft, pod: &NsFacts) {
    for link in in_one_network(pod) {
        let key = ARP_IGNORE.key(&link);
        if pod.sysctl(&key) == Some("0") {
            draft.set(Place::Pod, pod, &key, "1");
        }
    }
}

/// The links that share an IPv4 network with another one.
fn in_one_network(pod: &NsFacts) -> Vec<IfName> {
    let nets = || pod.addresses.iter().filter(|a| a.is_global() && a.net.addr().is_ipv4());
    let meets = |a: IpNet, b: IpNet| a.contains(&b.addr()) && b.contains(&a.addr());
    let mut links: Vec<IfName> = nets()
        .filter(|one| nets().any(|other| one.link != other.link && meets(one.net, other.net)))
        .map(|one| one.link.clone())
        .collect();
    links.dedup();
    links
}
