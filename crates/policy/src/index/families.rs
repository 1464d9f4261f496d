//! Which families there are on a network. Most have one, and tables without sets and rules of the other are half as large: the kernel finds
//! a set by going through the names of all.

use std::collections::{BTreeMap, BTreeSet};

use polynic_net::Family;

use crate::pod::Pod;

/// How many addresses of each family there are, by network, IPv4 first.
#[derive(Debug, Default)]
pub(super) struct Families(BTreeMap<String, [usize; 2]>);

impl Families {
    /// A pod is another one now, or comes, or goes; answers the networks whose families are others now.
    pub(super) fn exchange(&mut self, old: Option<&Pod>, new: Option<&Pod>) -> BTreeSet<String> {
        if old.map(|pod| &pod.attachments) == new.map(|pod| &pod.attachments) {
            return BTreeSet::new();
        }
        let networks = [old, new].into_iter().flatten().flat_map(|pod| &pod.attachments);
        let networks: BTreeSet<String> = networks.map(|attachment| attachment.network.clone()).collect();
        let look = |counts: &Self| networks.iter().map(|network| counts.on(network)).collect::<Vec<_>>();
        let before = look(self);
        self.count(new, |counted| counted + 1);
        self.count(old, |counted| counted.saturating_sub(1));
        let after = look(self);
        let differs = networks.iter().zip(before.into_iter().zip(after));
        differs.filter(|(_, (before, after))| before != after).map(|(network, _)| network.clone()).collect()
    }

    fn count(&mut self, pod: Option<&Pod>, change: fn(usize) -> usize) {
        for attachment in pod.into_iter().flat_map(|pod| &pod.attachments) {
            let counts = self.0.entry(attachment.network.clone()).or_default();
            for ip in &attachment.addresses {
                let of_family = &mut counts[usize::from(Family::of(*ip) == Family::V6)];
                *of_family = change(*of_family);
            }
            if *counts == [0; 2] {
                self.0.remove(&attachment.network);
            }
        }
    }

    fn on(&self, network: &str) -> [bool; 2] {
        self.0.get(network).map_or([false; 2], |counts| counts.map(|count| count > 0))
    }

    /// The families on some networks; both where nothing is known yet.
    pub(super) fn of(&self, networks: &BTreeSet<String>) -> [bool; 2] {
        let known = networks.iter().map(|network| self.on(network));
        match known.fold([false; 2], |all, one| [all[0] || one[0], all[1] || one[1]]) {
            [false, false] => [true; 2],
            families => families,
        }
    }
}
