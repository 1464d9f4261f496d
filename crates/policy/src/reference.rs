//! The semantics of policies decided directly, packet by packet, from the objects as users wrote them (spec/multi-networkpolicy.md 3), and the
//! comparison with the tables. Nothing of the translation is used here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use polynic_api::MultiNetworkPolicy;
use polynic_api::meta::{LabelSelector, ObjectMeta};
use polynic_api::multi_policy::{
    EgressRule, IngressRule, IntOrString, IpBlock, POLICY_FOR, Peer, Port, Spec,
};
use polynic_net::{FwEdit, IpNet};
use proptest::prelude::*;
use proptest::sample::select;

use crate::names::Direction;
use crate::verdict::{self, Packet};
use crate::{Attachment, ContainerPort, Index, Options, Pod, PodKey, Policy, Rendered};

/// A cluster with pods whose interfaces are all on nets `x/a` and `x/b`.
#[derive(Clone, Debug)]
struct Cluster {
    pods: BTreeMap<PodKey, Pod>,
    namespaces: BTreeMap<String, BTreeMap<String, String>>,
    policies: Vec<MultiNetworkPolicy>,
}

impl Cluster {
    /// Rule 2 and 3: whether a packet at a pod passes.
    fn allows(&self, at: &PodKey, packet: &Packet) -> bool {
        let pod = &self.pods[at];
        let on = pod.attachments.iter().filter(|a| a.interface == packet.interface).map(|a| &a.network);
        let networks: BTreeSet<&String> = on.collect();
        let isolating: Vec<&MultiNetworkPolicy> = self
            .policies
            .iter()
            .filter(|policy| {
                policy.metadata.namespace == at.namespace
                    && !pod.host_network
                    && pod.selects_networks
                    && selects(&policy.spec.pod_selector, &pod.labels)
                    && policy_for(policy).iter().any(|network| networks.contains(network))
                    && isolates(policy, packet.direction)
            })
            .collect();
        if isolating.is_empty() || packet.known || is_always_allowed(packet) {
            return true;
        }
        isolating.iter().any(|policy| self.some_rule_allows(policy, pod, packet))
    }

    fn some_rule_allows(&self, policy: &MultiNetworkPolicy, pod: &Pod, packet: &Packet) -> bool {
        match packet.direction {
            Direction::Ingress => policy.spec.ingress.iter().any(|rule| {
                self.is_peer(policy, &rule.from, packet.source)
                    && (rule.ports.is_empty() || rule.ports.iter().any(|p| port_matches(p, packet, &[pod])))
            }),
            Direction::Egress => policy.spec.egress.iter().any(|rule| {
                let peers: Vec<&Pod> = self.peer_pods(policy, &rule.to, packet.destination);
                let numeric = |p: &Port| !matches!(p.port, Some(IntOrString::String(_)));
                let (plain, named): (Vec<&Port>, Vec<&Port>) = rule.ports.iter().partition(|p| numeric(p));
                (self.is_peer(policy, &rule.to, packet.destination)
                    && (rule.ports.is_empty() || plain.iter().any(|p| port_matches(p, packet, &[]))))
                    || named.iter().any(|p| port_matches(p, packet, &peers))
            }),
        }
    }

    /// Rules 4 to 7.
    fn is_peer(&self, policy: &MultiNetworkPolicy, peers: &[Peer], address: IpAddr) -> bool {
        let in_block = |block: &IpBlock| {
            let inside = |text: &String| text.parse::<IpNet>().unwrap().contains(&address);
            inside(&block.cidr) && !block.except.iter().any(inside)
        };
        peers.is_empty()
            || peers.iter().any(|peer| match &peer.ip_block {
                Some(block) => in_block(block),
                None => !self.matching_pods(policy, peer, address).is_empty(),
            })
    }

    /// The pods behind an address as far as selectors name them; all with an empty list.
    fn peer_pods(&self, policy: &MultiNetworkPolicy, peers: &[Peer], address: IpAddr) -> Vec<&Pod> {
        let everybody = Peer { namespace_selector: Some(LabelSelector::default()), ..Peer::default() };
        let peers = if peers.is_empty() { std::slice::from_ref(&everybody) } else { peers };
        let peers = peers.iter().filter(|peer| peer.ip_block.is_none());
        peers.flat_map(|peer| self.matching_pods(policy, peer, address)).collect()
    }

    fn matching_pods(&self, policy: &MultiNetworkPolicy, peer: &Peer, address: IpAddr) -> Vec<&Pod> {
        let networks = policy_for(policy);
        let has_it = |pod: &Pod| {
            let on = pod.attachments.iter().filter(|a| networks.contains(&a.network));
            on.into_iter().any(|a| a.addresses.contains(&address))
        };
        let near = |key: &PodKey| match &peer.namespace_selector {
            None => key.namespace == policy.metadata.namespace,
            Some(selector) => selects(selector, &self.namespaces[&key.namespace]),
        };
        let of_labels = |pod: &Pod| peer.pod_selector.as_ref().is_none_or(|s| selects(s, &pod.labels));
        let all = self.pods.iter().filter(|(key, pod)| near(key) && of_labels(pod));
        all.map(|(_, pod)| pod).filter(|pod| !pod.ended && !pod.host_network && has_it(pod)).collect()
    }
}

/// Rule 1.
fn isolates(policy: &MultiNetworkPolicy, direction: Direction) -> bool {
    let types = &policy.spec.policy_types;
    match direction {
        Direction::Ingress => types.is_empty() || types.iter().any(|t| t == "Ingress"),
        Direction::Egress => {
            (types.is_empty() && !policy.spec.egress.is_empty()) || types.iter().any(|t| t == "Egress")
        }
    }
}

/// Rule 9.
fn is_always_allowed(packet: &Packet) -> bool {
    packet.source.is_ipv6()
        && packet.protocol == 58
        && [130, 131, 132, 133, 134, 135, 136, 137, 143].contains(&packet.port)
}

/// Rule 8, with the pods in which a name is looked up.
fn port_matches(port: &Port, packet: &Packet, pods: &[&Pod]) -> bool {
    let protocol = match port.protocol.as_deref() {
        None | Some("TCP") => 6,
        Some("UDP") => 17,
        Some(_) => 132,
    };
    let number = i64::from(packet.port);
    packet.protocol == protocol
        && match (&port.port, port.end_port) {
            (None, _) => true,
            (Some(IntOrString::Int(first)), None) => number == *first,
            (Some(IntOrString::Int(first)), Some(last)) => number >= *first && number <= last,
            (Some(IntOrString::String(name)), _) => pods.iter().any(|pod| {
                pod.ports.iter().any(|p| p.name == *name && p.protocol == protocol && p.port == packet.port)
            }),
        }
}

fn policy_for(policy: &MultiNetworkPolicy) -> Vec<String> {
    let items = policy.metadata.annotations[POLICY_FOR].split(',').map(str::trim);
    let full = |item: &str| match item.contains('/') {
        true => item.to_owned(),
        false => format!("{}/{item}", policy.metadata.namespace),
    };
    items.map(full).collect()
}

fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let expression = |e: &polynic_api::meta::LabelExpression| match (e.operator.as_str(), labels.get(&e.key))
    {
        ("In", Some(value)) => e.values.contains(value),
        ("NotIn", Some(value)) => !e.values.contains(value),
        ("NotIn" | "DoesNotExist", None) | ("Exists", Some(_)) => true,
        _ => false,
    };
    selector.match_labels.iter().all(|(k, v)| labels.get(k) == Some(v))
        && selector.match_expressions.iter().all(expression)
}

const NAMESPACES: [&str; 2] = ["x", "y"];
const NETWORKS: [&str; 2] = ["x/a", "y/b"];
const ADDRESSES: [&str; 8] =
    ["10.0.0.1", "10.0.0.2", "10.0.1.3", "10.1.0.4", "fd00::1", "fd00::2", "fd00:1::3", "fd01::4"];
const BLOCKS: [&str; 8] = [
    "10.0.0.0/8",
    "10.0.0.0/16",
    "10.0.0.0/24",
    "10.0.0.2/32",
    "0.0.0.0/0",
    "fd00::/16",
    "fd00::/64",
    "::/0",
];

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map(select(vec!["a", "b"]).prop_map(str::to_owned), "[12]", 0..3)
}

fn selector() -> impl Strategy<Value = LabelSelector> {
    let expression = (select(vec!["In", "NotIn", "Exists", "DoesNotExist"]), select(vec!["a", "b"]), "[12]")
        .prop_map(|(operator, key, value)| polynic_api::meta::LabelExpression {
            key: key.to_owned(),
            operator: operator.to_owned(),
            values: if operator.ends_with("In") { vec![value] } else { Vec::new() },
        });
    let expressions = prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(expression, 1..2)];
    let labels = prop_oneof![2 => Just(BTreeMap::new()), 1 => labels()];
    (labels, expressions)
        .prop_map(|(match_labels, match_expressions)| LabelSelector { match_labels, match_expressions })
}

fn attachment(at: usize) -> impl Strategy<Value = Attachment> {
    let addresses = prop::collection::vec(select(ADDRESSES.to_vec()), 0..3);
    (select(NETWORKS.to_vec()), addresses).prop_map(move |(network, addresses)| Attachment {
        network: network.to_owned(),
        interface: format!("net{at}"),
        addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
    })
}

fn container_port() -> impl Strategy<Value = ContainerPort> {
    (select(vec!["web", "dns"]), select(vec![6, 17, 132]), 1_u16..5)
        .prop_map(|(name, protocol, port)| ContainerPort { name: name.to_owned(), protocol, port })
}

fn pod() -> impl Strategy<Value = Pod> {
    let rare = || prop::bool::weighted(0.05);
    let attachments = (attachment(1), prop::option::of(attachment(2)));
    (labels(), attachments, prop::collection::vec(container_port(), 0..3), rare(), rare(), rare()).prop_map(
        |(labels, (first, second), ports, host_network, ended, bare)| Pod {
            labels,
            host_network,
            ended,
            selects_networks: !bare,
            attachments: [first].into_iter().chain(second).collect(),
            ports,
            node: "n".to_owned(),
            ..Pod::default()
        },
    )
}

fn peer() -> impl Strategy<Value = Peer> {
    let block = (select(BLOCKS.to_vec()), prop::collection::vec(select(BLOCKS.to_vec()), 0..2)).prop_map(
        |(cidr, except)| {
            let same = |other: &&str| other.contains(':') == cidr.contains(':');
            Some(IpBlock {
                cidr: cidr.to_owned(),
                except: except.into_iter().filter(same).map(str::to_owned).collect(),
            })
        },
    );
    let block = block.prop_map(|ip_block| Peer { ip_block, ..Peer::default() });
    let pods = (selector(), prop::option::of(selector())).prop_map(|(pods, namespaces)| Peer {
        pod_selector: Some(pods),
        namespace_selector: namespaces,
        ip_block: None,
    });
    let namespaces =
        selector().prop_map(|namespaces| Peer { namespace_selector: Some(namespaces), ..Peer::default() });
    prop_oneof![block, pods, namespaces]
}

fn port() -> impl Strategy<Value = Port> {
    let number = prop_oneof![
        Just((None, None)),
        (1_i64..5).prop_map(|n| (Some(IntOrString::Int(n)), None)),
        (1_i64..3, 3_i64..5).prop_map(|(n, m)| (Some(IntOrString::Int(n)), Some(m))),
        select(vec!["web", "dns"]).prop_map(|n| (Some(IntOrString::String(n.to_owned())), None)),
    ];
    (prop::option::of(select(vec!["TCP", "UDP", "SCTP"])), number).prop_map(|(protocol, (port, end_port))| {
        Port { protocol: protocol.map(str::to_owned), port, end_port }
    })
}

fn policy(at: usize) -> impl Strategy<Value = MultiNetworkPolicy> {
    let annotation = select(vec!["x/a", "a", "b, x/a", "y/b", "x/a,y/b", "b"]);
    let types = select(vec![vec![], vec!["Ingress"], vec!["Egress"], vec!["Ingress", "Egress"]]);
    let rule = || (prop::collection::vec(peer(), 0..3), prop::collection::vec(port(), 0..3));
    let rules = || prop::collection::vec(rule(), 0..3);
    (select(NAMESPACES.to_vec()), annotation, selector(), types, rules(), rules()).prop_map(
        move |(namespace, annotation, pod_selector, types, ingress, egress)| MultiNetworkPolicy {
            metadata: ObjectMeta {
                name: format!("p{at}"),
                namespace: namespace.to_owned(),
                annotations: [(POLICY_FOR.to_owned(), annotation.to_owned())].into(),
                ..ObjectMeta::default()
            },
            spec: Spec {
                pod_selector,
                policy_types: types.into_iter().map(str::to_owned).collect(),
                ingress: ingress.into_iter().map(|(from, ports)| IngressRule { from, ports }).collect(),
                egress: egress.into_iter().map(|(to, ports)| EgressRule { to, ports }).collect(),
            },
        },
    )
}

fn cluster() -> impl Strategy<Value = Cluster> {
    let pods = prop::collection::vec((select(NAMESPACES.to_vec()), pod()), 1..5);
    let policies = (policy(0), prop::option::of(policy(1)), prop::option::of(policy(2)));
    (pods, policies, labels(), labels()).prop_map(|(pods, (first, second, third), x, y)| Cluster {
        pods: pods
            .into_iter()
            .enumerate()
            .map(|(at, (namespace, pod))| (PodKey::new(namespace, &format!("pod{at}")), pod))
            .collect(),
        namespaces: [("x".to_owned(), x), ("y".to_owned(), y)].into(),
        policies: [Some(first), second, third].into_iter().flatten().collect(),
    })
}

fn packet() -> impl Strategy<Value = Packet> {
    let (v4, v6) = ADDRESSES.split_at(4);
    let pair = |of: &[&'static str]| (select(of.to_vec()), select(of.to_vec()));
    let addresses = prop_oneof![pair(v4), pair(v6)];
    let protocol = prop_oneof![8 => (select(vec![6, 17, 132]), 1_u16..5), 1 => (Just(58), 128_u16..145), 1 => (Just(1), 0_u16..9)];
    (any::<bool>(), 1..3, addresses, protocol, prop::bool::weighted(0.1)).prop_map(
        |(inwards, at, (source, destination), (protocol, port), known)| Packet {
            direction: if inwards { Direction::Ingress } else { Direction::Egress },
            interface: format!("net{at}"),
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            protocol,
            port,
            known,
        },
    )
}

fn index(cluster: &Cluster) -> Index {
    let mut index = Index::new(Options { node: "n".to_owned(), ..Options::default() });
    for (name, labels) in &cluster.namespaces {
        index.set_namespace(name, Some(labels.clone()));
    }
    for (key, pod) in &cluster.pods {
        index.set_pod(key.clone(), pod.clone());
    }
    cluster.policies.iter().for_each(|policy| index.set_policy(Policy::read(policy)));
    index
}

fn edits(old: &Rendered, now: &Rendered) -> Option<Vec<FwEdit>> {
    Some(now.table.as_ref()?.edits_from(old.table.as_ref()?))
}

fn edits_of_all(old: &Rendered, now: &Rendered) -> Option<Vec<FwEdit>> {
    Some(now.table.as_ref()?.whole().edits_from(&old.table.as_ref()?.whole()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// Every pod's table decides about every packet as the policies say.
    #[test]
    fn tables_decide_as_the_policies_say(cluster in cluster(), packets in prop::collection::vec(packet(), 8)) {
        let mut index = index(&cluster);
        for key in cluster.pods.keys() {
            let rendered = index.render(key);
            for packet in &packets {
                let passes = match &rendered.table {
                    Some(table) => {
                        prop_assert_eq!(table.whole().dangling(), Vec::<String>::new());
                        verdict::passes(table, packet)
                    }
                    None => true,
                };
                prop_assert_eq!(passes, cluster.allows(key, packet), "{} {:?}: {:#?}", key, packet, rendered);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// An index that followed changes one by one answers as one that sees the last state only, and pods whose tables changed are dirty.
    #[test]
    fn whatever_the_way_the_last_state_counts(clusters in prop::collection::vec(cluster(), 2..4)) {
        let mut followed = index(&clusters[0]);
        let mut before = BTreeMap::new();
        for next in &clusters {
            followed.take_dirty();
            let gone: Vec<PodKey> = (0..5).flat_map(|n| NAMESPACES.map(|ns| PodKey::new(ns, &format!("pod{n}")))).collect();
            gone.iter().filter(|key| !next.pods.contains_key(key)).for_each(|key| followed.remove_pod(key, ""));
            for namespace in NAMESPACES {
                let own = next.policies.iter().filter(|policy| policy.metadata.namespace == namespace);
                followed.set_policies_of(namespace, own.map(Policy::read).collect(), 0);
            }
            next.pods.iter().for_each(|(key, pod)| followed.set_pod(key.clone(), pod.clone()));
            next.namespaces.iter().for_each(|(name, labels)| followed.set_namespace(name, Some(labels.clone())));
            let dirty = followed.take_dirty();
            let mut fresh = index(next);
            before.retain(|key, _| next.pods.contains_key(key));
            for key in next.pods.keys() {
                let now = fresh.render(key);
                prop_assert_eq!(&followed.render(key), &now, "{}", key);
                if let Some(old) = before.get(key).filter(|old| **old != now) {
                    prop_assert!(dirty.contains(key), "{} has another table and is not dirty", key);
                    prop_assert_eq!(edits(old, &now), edits_of_all(old, &now), "part by part, as in one piece");
                }
                before.insert(key.clone(), now);
            }
        }
    }
}
