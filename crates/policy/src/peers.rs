//! The other ends of a rule.

use std::collections::BTreeMap;

use polynic_api::meta::LabelSelector;
use polynic_api::multi_policy::{IpBlock, Peer};
use polynic_net::{Family, IntervalSet, IpNet, IpRange};

use crate::pod::{Pod, PodKey};

/// Labels of all namespaces.
pub(crate) type Namespaces = BTreeMap<String, BTreeMap<String, String>>;

/// The peers of one rule that has any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peers {
    /// Pods by their labels.
    pub(crate) pods: Vec<PodPeer>,
    /// Blocks of addresses of both families, each without its own exceptions.
    pub(crate) blocks: [IntervalSet; 2],
}

/// One peer that names pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodPeer {
    pods: LabelSelector,
    /// Absent means the policy's own namespace.
    namespaces: Option<LabelSelector>,
}

impl Peers {
    /// Reads a list that is not empty. Bad items go to `problems`.
    pub(crate) fn read(peers: &[Peer], mut problem: impl FnMut(usize, String)) -> Self {
        let mut read = Self {
            pods: Vec::new(),
            blocks: [IntervalSet::empty(Family::V4), IntervalSet::empty(Family::V6)],
        };
        for (at, peer) in peers.iter().enumerate() {
            match (&peer.ip_block, PodPeer::read(peer)) {
                (Some(block), _) => read.add_block(block, |what| problem(at, what)),
                (None, Ok(pods)) => read.pods.push(pods),
                (None, Err(what)) => problem(at, what),
            }
        }
        read
    }

    /// An exception that cannot be read could be anything: then the whole block is left out.
    fn add_block(&mut self, block: &IpBlock, problem: impl FnOnce(String)) {
        match interval(block) {
            Ok(set) => {
                let own = self.blocks.iter_mut().filter(|own| own.family() == set.family());
                own.for_each(|own| *own = own.union(&set));
            }
            Err(what) => problem(what),
        }
    }

    /// Whether a pod is one of them.
    pub(crate) fn matches(&self, own: &str, key: &PodKey, pod: &Pod, namespaces: &Namespaces) -> bool {
        self.pods.iter().any(|peer| peer.matches(own, key, pod, namespaces))
    }

    /// Whether all pods that can match are in the policy's own namespace.
    pub(crate) fn is_local(&self) -> bool {
        self.pods.iter().all(|peer| peer.namespaces.is_none())
    }
}

impl PodPeer {
    fn read(peer: &Peer) -> Result<Self, String> {
        let selectors = [&peer.pod_selector, &peer.namespace_selector];
        if selectors.iter().all(|selector| selector.is_none()) {
            return Err("a peer needs a podSelector, a namespaceSelector or an ipBlock".to_owned());
        }
        match selectors.into_iter().flatten().find_map(LabelSelector::problem) {
            Some(what) => Err(what),
            None => Ok(Self {
                pods: peer.pod_selector.clone().unwrap_or_default(),
                namespaces: peer.namespace_selector.clone(),
            }),
        }
    }

    fn matches(&self, own: &str, key: &PodKey, pod: &Pod, namespaces: &Namespaces) -> bool {
        let of_namespace = match &self.namespaces {
            None => key.namespace == own,
            // A namespace that is not known yet has no labels: only the empty selector selects it.
            Some(selector) => match namespaces.get(&key.namespace) {
                Some(labels) => selector.matches(labels),
                None => selector.is_empty(),
            },
        };
        of_namespace && self.pods.matches(&pod.labels)
    }
}

fn interval(block: &IpBlock) -> Result<IntervalSet, String> {
    let (family, whole) = network(&block.cidr)?;
    let mut without = IntervalSet::empty(family);
    for except in &block.except {
        let (of, except) = network(except)?;
        if of != family {
            return Err(format!("except {} is of another family than {}", except_text(&except), block.cidr));
        }
        without = without.union(&IntervalSet::of_ranges(of, [&except]));
    }
    Ok(IntervalSet::of_ranges(family, [&whole]).difference(&without))
}

fn except_text(range: &IpRange) -> String {
    format!("{}-{}", range.first(), range.last())
}

fn network(text: &str) -> Result<(Family, IpRange), String> {
    let net: IpNet = text.trim().parse().map_err(|_| format!("{text:?} is no network"))?;
    let last = match net {
        IpNet::V4(net) => net.broadcast().into(),
        IpNet::V6(net) => net.broadcast().into(),
    };
    let range = IpRange::new(net.network(), last).map_err(|why| format!("{text:?}: {why}"))?;
    Ok((Family::of(net.addr()), range))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(cidr: &str, except: &[&str]) -> Peer {
        let except = except.iter().map(|e| (*e).to_owned()).collect();
        Peer { ip_block: Some(IpBlock { cidr: cidr.into(), except }), ..Peer::default() }
    }

    fn read(peers: &[Peer]) -> (Peers, Vec<(usize, String)>) {
        let mut problems = Vec::new();
        let read = Peers::read(peers, |at, what| problems.push((at, what)));
        (read, problems)
    }

    #[test]
    fn an_exception_counts_for_its_own_block_only() {
        let (peers, problems) = read(&[
            block("10.0.0.0/8", &["10.1.0.0/16"]),
            block("10.1.2.0/24", &[]),
            block("10.1.2.128/25", &["10.1.2.128/26"]),
            block("fd00::/8", &["fd12::/16"]),
        ]);
        assert_eq!(problems, []);
        let has = |ip: &str| peers.blocks.iter().any(|set| set.contains(ip.parse().unwrap()));
        assert!(has("10.0.0.1") && has("10.1.2.130") && has("10.2.0.0") && has("fd13::1"));
        assert!(!has("10.1.3.0") && !has("10.1.1.255") && !has("fd12::1") && !has("11.0.0.0"));
    }

    #[test]
    fn what_cannot_be_read_matches_nothing() {
        let (peers, problems) = read(&[
            block("10.0.0.0/33", &[]),
            block("10.0.0.0/8", &["nonsense"]),
            block("10.0.0.0/8", &["fd00::/8"]),
            Peer::default(),
        ]);
        assert!(peers.pods.is_empty() && peers.blocks.iter().all(IntervalSet::is_empty));
        assert_eq!(problems.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 1, 2, 3]);
    }
}
