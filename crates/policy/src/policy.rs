//! A policy, understood: which pods and networks it is about and what it allows, with what of it could not be understood.

use std::collections::BTreeSet;
use std::fmt;

use polynic_api::MultiNetworkPolicy;
use polynic_api::meta::{LabelExpression, LabelSelector};
use polynic_api::multi_policy::{POLICY_FOR, Peer, Port, Spec};
use serde_json::Value;

use crate::names::Direction;
use crate::peers::Peers;
use crate::pod::Pod;
use crate::ports::PortMatch;

/// Which policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl PolicyKey {
    /// A policy by namespace and name.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl fmt::Display for PolicyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Something of a policy that was left out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where, as in `ingress[0].ports[1]`.
    pub place: String,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// A policy as this crate understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub(crate) key: PolicyKey,
    /// The version of the object that this was read from; 0 if unknown.
    pub(crate) version: u64,
    /// Networks, `namespace/name`. None: the policy has no effect.
    pub(crate) networks: BTreeSet<String>,
    selector: LabelSelector,
    /// Rules of a direction; absent if the policy does not isolate it.
    pub(crate) ingress: Option<Vec<Rule>>,
    pub(crate) egress: Option<Vec<Rule>>,
    problems: Vec<Problem>,
}

/// What passes. Absent peers or ports are any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) peers: Option<Peers>,
    pub(crate) ports: Option<Vec<PortMatch>>,
}

impl Rule {
    /// Whether the addresses of all pods are needed for it, because they are what a name of a port is looked up in.
    pub(crate) fn looks_up_everywhere(&self, direction: Direction) -> bool {
        self.peers.is_none() && direction == Direction::Egress && self.has_names()
    }

    pub(crate) fn has_names(&self) -> bool {
        self.ports.iter().flatten().any(|port| matches!(port, PortMatch::Named { .. }))
    }
}

impl Policy {
    /// Reads an object as the API server sends it. A spec that is not of the known shape isolates, in both directions, whatever its
    /// selector says as far as that can be read.
    pub fn parse(object: &Value) -> Self {
        match serde_json::from_value::<MultiNetworkPolicy>(object.clone()) {
            Ok(policy) => Self::read(&policy),
            Err(why) => Self::unreadable(object, &why.to_string()),
        }
    }

    fn unreadable(object: &Value, why: &str) -> Self {
        let part = |path: &str| object.pointer(path).cloned().unwrap_or_default();
        let policy = MultiNetworkPolicy {
            metadata: serde_json::from_value(part("/metadata")).unwrap_or_default(),
            spec: Spec {
                pod_selector: serde_json::from_value(part("/spec/podSelector")).unwrap_or_default(),
                policy_types: vec!["Ingress".to_owned(), "Egress".to_owned()],
                ..Spec::default()
            },
        };
        let mut read = Self::read(&policy);
        read.problems.push(Problem { place: "spec".to_owned(), what: format!("{why}; nothing is allowed") });
        read
    }

    /// Understands a policy.
    pub fn read(policy: &MultiNetworkPolicy) -> Self {
        let (meta, spec) = (&policy.metadata, &policy.spec);
        let mut problems = Vec::new();
        let networks = networks(meta.annotation(POLICY_FOR), &meta.namespace, &mut problems);
        let (selector, is_whole) = selector(&spec.pod_selector, &mut problems);
        let [isolates_ingress, isolates_egress] = directions(spec, &mut problems);
        let ingress = spec.ingress.iter().map(|rule| (rule.from.as_slice(), rule.ports.as_slice()));
        let ingress = rules(Direction::Ingress, ingress, &mut problems);
        let egress = spec.egress.iter().map(|rule| (rule.to.as_slice(), rule.ports.as_slice()));
        let egress = rules(Direction::Egress, egress, &mut problems);
        // Whom a broken selector was meant for is not known: it isolates all that it may have meant, and allows none of them anything.
        let allowed = |rules: Vec<Rule>| if is_whole { rules } else { Vec::new() };
        Self {
            key: PolicyKey::new(&meta.namespace, &meta.name),
            version: version(meta.resource_version.as_deref()),
            networks,
            selector,
            ingress: isolates_ingress.then(|| allowed(ingress)),
            egress: isolates_egress.then(|| allowed(egress)),
            problems,
        }
    }

    /// Which policy it is.
    pub fn key(&self) -> &PolicyKey {
        &self.key
    }

    /// The version of the object that this was read from; 0 if unknown.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether it says the same as another one.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        *self == Self { version: self.version, ..other.clone() }
    }

    /// What was left out.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether it is about a pod of its namespace, if that has one of its networks.
    pub(crate) fn selects(&self, pod: &Pod) -> bool {
        !self.networks.is_empty() && !pod.host_network && self.selector.matches(&pod.labels)
    }

    pub(crate) fn rules(&self, direction: Direction) -> Option<&[Rule]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }
}

/// The API server's versions are numbers that grow with every change; what is none orders nothing.
pub fn version(text: Option<&str>) -> u64 {
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// The networks of the annotation. Malformed items are left out.
fn networks(annotation: Option<&str>, namespace: &str, problems: &mut Vec<Problem>) -> BTreeSet<String> {
    let mut networks = BTreeSet::new();
    let items = annotation.unwrap_or_default().split(',').map(str::trim).filter(|item| !item.is_empty());
    for item in items {
        let (of, name) = item.split_once('/').unwrap_or((namespace, item));
        let is_name = |part: &str| !part.is_empty() && !part.contains(['/', ' ', '\t']);
        if is_name(of) && is_name(name) {
            networks.insert(format!("{of}/{name}"));
        } else {
            let what = format!("{item:?} is neither NAME nor NAMESPACE/NAME");
            problems.push(Problem { place: POLICY_FOR.to_owned(), what });
        }
    }
    networks
}

/// The conditions that are understood, and whether that is all of them.
fn selector(given: &LabelSelector, problems: &mut Vec<Problem>) -> (LabelSelector, bool) {
    let wrong = |expression: &LabelExpression| {
        LabelSelector { match_expressions: vec![expression.clone()], ..LabelSelector::default() }.problem()
    };
    let mut read = LabelSelector { match_labels: given.match_labels.clone(), match_expressions: Vec::new() };
    for (at, expression) in given.match_expressions.iter().enumerate() {
        match wrong(expression) {
            None => read.match_expressions.push(expression.clone()),
            Some(what) => {
                let place = format!("podSelector.matchExpressions[{at}]");
                problems.push(Problem { place, what: format!("{what}; nothing is allowed") });
            }
        }
    }
    let is_whole = read.match_expressions.len() == given.match_expressions.len();
    (read, is_whole)
}

/// Whether ingress and egress are isolated.
fn directions(spec: &Spec, problems: &mut Vec<Problem>) -> [bool; 2] {
    let given = |name: &str| spec.policy_types.iter().any(|given| given == name);
    let unknown = spec
        .policy_types
        .iter()
        .enumerate()
        .filter(|(_, name)| !["Ingress", "Egress"].contains(&name.as_str()));
    problems.extend(unknown.map(|(at, name)| Problem {
        place: format!("policyTypes[{at}]"),
        what: format!("unknown type {name:?}, want Ingress or Egress"),
    }));
    match [given("Ingress"), given("Egress")] {
        [false, false] => [true, !spec.egress.is_empty()],
        types => types,
    }
}

fn rules<'a>(
    direction: Direction,
    given: impl Iterator<Item = (&'a [Peer], &'a [Port])>,
    problems: &mut Vec<Problem>,
) -> Vec<Rule> {
    given.enumerate().map(|(at, (peers, ports))| rule(direction, at, peers, ports, problems)).collect()
}

fn rule(
    direction: Direction,
    at: usize,
    peers: &[Peer],
    ports: &[Port],
    problems: &mut Vec<Problem>,
) -> Rule {
    let own = direction.chain();
    let side = if direction == Direction::Ingress { "from" } else { "to" };
    let peers = (!peers.is_empty()).then(|| {
        Peers::read(peers, |item, what| {
            problems.push(Problem { place: format!("{own}[{at}].{side}[{item}]"), what });
        })
    });
    let read = |(item, port): (usize, &Port)| match PortMatch::read(port) {
        Ok(port) => Some(port),
        Err(what) => {
            problems.push(Problem { place: format!("{own}[{at}].ports[{item}]"), what });
            None
        }
    };
    let ports = (!ports.is_empty()).then(|| ports.iter().enumerate().filter_map(read).collect());
    Rule { peers, ports }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(annotation: &str, spec: Value) -> Policy {
        let metadata = json!({"name": "p", "namespace": "shop", "annotations": {"k8s.v1.cni.cncf.io/policy-for": annotation}});
        Policy::parse(&json!({"metadata": metadata, "spec": spec}))
    }

    fn places(policy: &Policy) -> Vec<&str> {
        policy.problems().iter().map(|problem| problem.place.as_str()).collect()
    }

    #[test]
    fn the_annotation_names_networks_of_the_own_and_of_other_namespaces() {
        let policy = read(" lan ,infra/storage,, a/b/c ,/x,y/", json!({"podSelector": {}}));
        assert_eq!(policy.networks, BTreeSet::from(["infra/storage".to_owned(), "shop/lan".to_owned()]));
        assert_eq!(places(&policy), [POLICY_FOR; 3]);
        assert!(read("", json!({"podSelector": {}})).networks.is_empty());
    }

    #[test]
    fn without_types_ingress_is_isolated_and_egress_if_it_has_rules() {
        let isolated = |spec: Value| {
            let policy = read("lan", spec);
            (policy.ingress.is_some(), policy.egress.is_some())
        };
        assert_eq!(isolated(json!({"podSelector": {}})), (true, false));
        assert_eq!(isolated(json!({"podSelector": {}, "egress": [{}]})), (true, true));
        assert_eq!(isolated(json!({"podSelector": {}, "policyTypes": ["Egress"]})), (false, true));
        assert_eq!(isolated(json!({"podSelector": {}, "policyTypes": ["Egress", "Ingress"]})), (true, true));
        assert_eq!(isolated(json!({"podSelector": {}, "policyTypes": ["Other"]})), (true, false));
    }

    #[test]
    fn bad_items_are_left_out_one_by_one() {
        let policy = read(
            "lan",
            json!({"podSelector": {}, "policyTypes": ["Both", "Ingress"], "ingress": [{
                "from": [{"ipBlock": {"cidr": "x"}}, {"podSelector": {}}],
                "ports": [{"port": 1, "endPort": 0}, {"port": 2}]
            }, {"from": [{}], "ports": [{"protocol": "ICMP"}]}]}),
        );
        assert_eq!(
            places(&policy),
            [
                "policyTypes[0]",
                "ingress[0].from[0]",
                "ingress[0].ports[0]",
                "ingress[1].from[0]",
                "ingress[1].ports[0]"
            ]
        );
        let rules = policy.ingress.unwrap();
        assert_eq!(rules[0].peers.as_ref().unwrap().pods.len(), 1);
        assert_eq!(rules[0].ports.as_ref().unwrap().len(), 1);
        // A list of which nothing is left is not an empty list.
        assert!(rules[1].peers.as_ref().unwrap().pods.is_empty() && rules[1].ports == Some(vec![]));
    }

    #[test]
    fn a_broken_selector_isolates_all_it_may_have_meant_and_allows_nothing() {
        let spec = json!({"podSelector": {"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "Near"}]},
            "ingress": [{}]});
        let policy = read("lan", spec);
        let pod = |key: &str| Pod { labels: [(key.to_owned(), "1".to_owned())].into(), ..Pod::default() };
        assert!(policy.selects(&pod("a")) && !policy.selects(&pod("b")));
        assert_eq!(policy.ingress, Some(vec![]));
        assert_eq!(places(&policy), ["podSelector.matchExpressions[0]"]);
    }

    #[test]
    fn a_spec_of_another_shape_isolates_both_directions() {
        let policy = read("lan", json!({"podSelector": {"matchLabels": {"a": "1"}}, "ingress": "all"}));
        assert_eq!((policy.ingress.as_deref(), policy.egress.as_deref()), (Some(&[][..]), Some(&[][..])));
        assert_eq!(places(&policy), ["spec"]);
        assert_eq!(policy.networks.len(), 1);
        assert!(!policy.selects(&Pod::default()));
        Policy::parse(&json!(7));
    }
}
