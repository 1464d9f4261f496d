//! The pods that one rule's peers are, and the addresses they contribute.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use polynic_net::Family;

use crate::names::Direction;
use crate::peers::Namespaces;
use crate::pod::{Pod, PodKey};
use crate::policy::{Policy, Rule};
use crate::ports::PortMatch;

/// Addresses of both families, IPv4 first.
pub(crate) type Addresses = [Arc<BTreeSet<IpAddr>>; 2];

/// Protocol and port, as a name of a port is looked up.
pub(crate) type Number = (u8, u16);

/// What one pod contributes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Contribution {
    addresses: Vec<IpAddr>,
    /// What the rule's names of ports mean to it.
    numbers: BTreeSet<Number>,
}

/// The pods of one rule.
#[derive(Debug)]
pub(crate) struct Members {
    pods: BTreeMap<PodKey, Contribution>,
    /// All of their addresses, until they change.
    all: Option<Addresses>,
    /// Addresses by what a name of a port means there, until they change.
    named: Option<BTreeMap<Number, Addresses>>,
}

/// Whether pods have to be looked up for a rule.
pub(super) fn concerns_pods(direction: Direction, rule: &Rule) -> bool {
    rule.peers.as_ref().is_some_and(|peers| !peers.pods.is_empty()) || rule.looks_up_everywhere(direction)
}

/// Whether a pod is a peer of a rule and has something to contribute.
pub(super) fn is_member(
    policy: &Policy,
    direction: Direction,
    rule: &Rule,
    (key, pod): (&PodKey, &Pod),
    namespaces: &Namespaces,
) -> bool {
    let matches = match &rule.peers {
        Some(peers) => peers.matches(&policy.key.namespace, key, pod, namespaces),
        None => rule.looks_up_everywhere(direction),
    };
    matches && !pod.host_network && !pod.ended && pod.addresses(&policy.networks).next().is_some()
}

impl Members {
    pub(super) fn look_up(
        policy: &Policy,
        direction: Direction,
        rule: &Rule,
        pods: &BTreeMap<PodKey, Pod>,
        namespaces: &Namespaces,
    ) -> Self {
        // A rule about the own namespace need not look at all pods of the cluster.
        let own = &policy.key.namespace;
        let is_local = rule.peers.as_ref().is_some_and(|peers| peers.is_local());
        let first = if is_local { PodKey::new(own, "") } else { PodKey::default() };
        let near = pods.range(first..).take_while(|(key, _)| !is_local || key.namespace == *own);
        let members = near.filter(|(key, pod)| is_member(policy, direction, rule, (key, pod), namespaces));
        let contributions = members.map(|(key, pod)| (key.clone(), Contribution::of(policy, rule, pod)));
        Self { pods: contributions.collect(), all: None, named: None }
    }

    /// Takes note of a pod, which is a member or not; says whether that makes a difference.
    pub(super) fn follow(
        &mut self,
        policy: &Policy,
        rule: &Rule,
        key: &PodKey,
        member: Option<&Pod>,
    ) -> bool {
        let now = member.map(|pod| Contribution::of(policy, rule, pod));
        if self.pods.get(key) == now.as_ref() {
            return false;
        }
        match now {
            Some(contribution) => self.pods.insert(key.clone(), contribution),
            None => self.pods.remove(key),
        };
        (self.all, self.named) = (None, None);
        true
    }

    /// The addresses of all.
    pub(crate) fn all(&mut self) -> &Addresses {
        let pods = &self.pods;
        self.all.get_or_insert_with(|| {
            let mut sets = [BTreeSet::new(), BTreeSet::new()];
            pods.values().for_each(|contribution| contribution.add_to(&mut sets));
            sets.map(Arc::new)
        })
    }

    /// The addresses of those to which a rule's names of ports mean something, by what they mean.
    pub(crate) fn named(&mut self) -> &BTreeMap<Number, Addresses> {
        let pods = &self.pods;
        self.named.get_or_insert_with(|| {
            let mut found: BTreeMap<Number, [BTreeSet<IpAddr>; 2]> = BTreeMap::new();
            for contribution in pods.values() {
                for number in &contribution.numbers {
                    contribution.add_to(found.entry(*number).or_default());
                }
            }
            found.into_iter().map(|(number, sets)| (number, sets.map(Arc::new))).collect()
        })
    }
}

impl Contribution {
    fn of(policy: &Policy, rule: &Rule, pod: &Pod) -> Self {
        let names = rule.ports.iter().flatten().filter_map(|port| match port {
            PortMatch::Named { protocol, name } => Some((*protocol, name)),
            _ => None,
        });
        let means = |(protocol, name): (u8, &String)| {
            let ports = pod.ports.iter().filter(move |port| port.protocol == protocol && port.name == *name);
            ports.map(|port| (port.protocol, port.port)).collect::<Vec<_>>()
        };
        Self {
            addresses: pod.addresses(&policy.networks).collect(),
            numbers: names.flat_map(means).collect(),
        }
    }

    fn add_to(&self, [v4, v6]: &mut [BTreeSet<IpAddr>; 2]) {
        for address in &self.addresses {
            match Family::of(*address) {
                Family::V4 => v4.insert(*address),
                Family::V6 => v6.insert(*address),
            };
        }
    }
}
