//! What is known of the cluster, and which of this node's pods a change concerns.
//!
//! Which pods a rule's peers are is looked up once, when a pod of this node first needs it, and kept up to date from then on: a pod that
//! comes or goes costs a look at each such rule, not at all pods.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use polynic_net::FwRuleset;

use crate::custom::CustomRules;
use crate::names::{Direction, Names};
use crate::peers::Namespaces;
use crate::pod::{Attachment, Pod, PodKey};
use crate::policy::{Policy, PolicyKey, Rule};
use crate::render::{self, Concerned, Entries, Parts, Rendered};

mod families;
mod members;

use families::Families;
pub(crate) use members::Members;

/// What does not come from the cluster.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Name of this node: its pods are the ones whose tables matter.
    pub node: String,
    /// Policies act on networks whose first plugin is of one of these types; absent means all.
    pub network_plugins: Option<BTreeSet<String>>,
    /// Let all ICMP pass.
    pub accept_icmp: bool,
    /// Let all ICMPv6 pass, not only neighbour discovery.
    pub accept_icmpv6: bool,
    /// Rules for what comes into isolated interfaces, whatever policies say.
    pub custom_ingress: CustomRules,
    /// The same for what goes out.
    pub custom_egress: CustomRules,
}

/// Policies, pods, namespaces and networks as they were last heard of.
#[derive(Debug, Default)]
pub struct Index {
    options: Options,
    pods: BTreeMap<PodKey, Pod>,
    namespaces: Namespaces,
    policies: BTreeMap<PolicyKey, Held>,
    /// Type of the first plugin of each network.
    networks: BTreeMap<String, String>,
    /// Families of which pods have addresses on each network.
    families: Families,
    /// Networks of pods of this node that we know from attaching them.
    announced: BTreeMap<PodKey, BTreeSet<(String, String)>>,
    /// Pods of this node.
    local: BTreeSet<PodKey>,
    dirty: BTreeSet<PodKey>,
    entries: Entries,
}

/// A policy with the pods that its rules are about.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) policy: Policy,
    pub(crate) names: Arc<Names>,
    /// By direction and rule; absent where nobody has asked yet.
    members: BTreeMap<(Direction, usize), Members>,
    /// What it comes to in pods' tables.
    parts: Parts,
    /// Which families there are on its networks.
    families: [bool; 2],
}

impl Index {
    /// Nothing known yet.
    pub fn new(options: Options) -> Self {
        Self { options, ..Self::default() }
    }

    /// A pod is there, or is different now. Older versions than the known one are ignored, because a read may overtake a watch.
    pub fn set_pod(&mut self, key: PodKey, pod: Pod) {
        let known = self.pods.get(&key);
        if known.is_some_and(|known| *known == pod || (pod.version != 0 && pod.version < known.version)) {
            return;
        }
        if !pod.matters() && !self.is_attached(&key) {
            return self.drop_pod(&key);
        }
        let families = self.families.exchange(self.pods.get(&key), Some(&pod));
        for held in self.policies.values_mut() {
            let follows = held.follow(&key, Some(&pod), &self.namespaces);
            if follows || !families.is_disjoint(&held.policy.networks) {
                self.dirty.extend(selected(&held.policy, &self.local, &self.pods));
            }
        }
        if pod.node == self.options.node || self.announced.contains_key(&key) {
            self.local.insert(key.clone());
            self.dirty.insert(key.clone());
        }
        self.pods.insert(key, pod);
    }

    /// A pod is gone. One of the same name that came after it stays.
    pub fn remove_pod(&mut self, key: &PodKey, uid: &str) {
        if self.pods.get(key).is_some_and(|known| known.uid == uid) {
            self.drop_pod(key);
        }
    }

    fn drop_pod(&mut self, key: &PodKey) {
        let Some(pod) = self.pods.remove(key) else { return };
        let families = self.families.exchange(Some(&pod), None);
        self.announced.remove(key);
        self.local.remove(key);
        for held in self.policies.values_mut() {
            let follows = held.follow(key, None, &self.namespaces);
            if follows || !families.is_disjoint(&held.policy.networks) {
                self.dirty.extend(selected(&held.policy, &self.local, &self.pods));
            }
        }
        self.dirty.insert(key.clone());
    }

    /// All pods have been seen: the others are gone. Pods that were announced may be younger than the list: they stay, and are answered.
    pub fn keep_pods(&mut self, is_there: impl Fn(&PodKey) -> bool) -> Vec<PodKey> {
        let missing = self.pods.keys().filter(|key| !is_there(key)).cloned();
        let (doubtful, gone): (Vec<_>, Vec<_>) = missing.partition(|key| self.announced.contains_key(key));
        gone.iter().for_each(|key| self.drop_pod(key));
        doubtful
    }

    /// All namespaces have been seen: the others are gone.
    pub fn keep_namespaces(&mut self, is_there: impl Fn(&str) -> bool) {
        let gone: Vec<String> = self.namespaces.keys().filter(|name| !is_there(name)).cloned().collect();
        gone.iter().for_each(|name| self.set_namespace(name, None));
    }

    /// A namespace is there, with these labels, or gone.
    pub fn set_namespace(&mut self, name: &str, labels: Option<BTreeMap<String, String>>) {
        if self.namespaces.get(name) == labels.as_ref() {
            return;
        }
        match labels {
            Some(labels) => self.namespaces.insert(name.to_owned(), labels),
            None => self.namespaces.remove(name),
        };
        for held in self.policies.values_mut().filter(|held| held.looks_at_namespaces()) {
            held.forget_members();
            self.dirty.extend(selected(&held.policy, &self.local, &self.pods));
        }
    }

    /// A policy is there, or is different now. Older versions than the known one are ignored, because a read may overtake a watch.
    pub fn set_policy(&mut self, policy: Policy) {
        if let Some(held) = self.policies.get_mut(&policy.key) {
            if policy.version != 0 && policy.version < held.policy.version {
                return;
            }
            if held.policy.says_the_same(&policy) {
                held.policy.version = policy.version;
                return;
            }
            self.dirty.extend(selected(&held.policy, &self.local, &self.pods));
        }
        self.dirty.extend(selected(&policy, &self.local, &self.pods));
        self.policies.insert(policy.key.clone(), Held::new(policy));
    }

    /// A policy is gone, as of `version`. One that was made after that stays; 0 is always.
    pub fn remove_policy(&mut self, key: &PolicyKey, version: u64) {
        let is_newer = |held: &Held| version != 0 && held.policy.version > version;
        if self.policies.get(key).is_none_or(is_newer) {
            return;
        }
        if let Some(held) = self.policies.remove(key) {
            self.dirty.extend(selected(&held.policy, &self.local, &self.pods));
        }
    }

    /// All policies.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.policies.values().map(|held| &held.policy)
    }

    /// The policies of a namespace are these, as of `version`.
    pub fn set_policies_of(&mut self, namespace: &str, policies: Vec<Policy>, version: u64) {
        let known = self.policies.keys().filter(|key| key.namespace == namespace);
        let there: BTreeSet<&PolicyKey> = policies.iter().map(|policy| &policy.key).collect();
        let gone: Vec<PolicyKey> = known.filter(|key| !there.contains(key)).cloned().collect();
        gone.iter().for_each(|key| self.remove_policy(key, version));
        policies.into_iter().for_each(|policy| self.set_policy(policy));
    }

    /// A network's first plugin is of this type; absent if the network is gone or does not say.
    pub fn set_network(&mut self, network: &str, plugin: Option<String>) {
        if self.networks.get(network) == plugin.as_ref() {
            return;
        }
        match plugin {
            Some(plugin) => self.networks.insert(network.to_owned(), plugin),
            None => self.networks.remove(network),
        };
        if self.options.network_plugins.is_some() {
            self.dirty.extend(self.local.iter().cloned());
        }
    }

    /// A pod of this node has or gets these networks, as (network, interface), whatever its status says: that is written later, and by
    /// whoever may write annotations.
    pub fn announce(&mut self, key: &PodKey, networks: impl IntoIterator<Item = (String, String)>) {
        self.announced.insert(key.clone(), networks.into_iter().collect());
        self.local.insert(key.clone());
        self.dirty.insert(key.clone());
    }

    /// What was announced for a pod does not come, or is gone.
    pub fn withdraw(&mut self, key: &PodKey) {
        if self.announced.remove(key).is_some() {
            self.dirty.insert(key.clone());
        }
        if self.pods.get(key).is_none_or(|pod| pod.node != self.options.node) {
            self.local.remove(key);
        }
    }

    /// Pods of this node that are known.
    pub fn local_pods(&self) -> impl Iterator<Item = &PodKey> {
        self.local.iter()
    }

    /// A pod, if it is known.
    pub fn pod(&self, key: &PodKey) -> Option<&Pod> {
        self.pods.get(key)
    }

    /// Pods of this node, and such as were, whose tables may be others than when this was last asked.
    pub fn take_dirty(&mut self) -> BTreeSet<PodKey> {
        std::mem::take(&mut self.dirty)
    }

    /// The table of a pod.
    pub fn render(&mut self, key: &PodKey) -> Rendered {
        let Some(pod) = self.pods.get(key).filter(|pod| pod.selects_networks || self.is_attached(key)) else {
            return Rendered::default();
        };
        let mut interfaces = Interfaces { all: self.interfaces(key, pod), last: None };
        let of_namespace = PolicyKey::new(&key.namespace, "");
        let mut concerned = Vec::new();
        for (_, held) in
            self.policies.range_mut(of_namespace..).take_while(|(k, _)| k.namespace == key.namespace)
        {
            let own = interfaces.on(&held.policy.networks);
            if own.is_empty() || !held.policy.selects(pod) {
                continue;
            }
            held.look_up(&self.pods, &self.namespaces);
            held.set_families(self.families.of(&held.policy.networks));
            concerned.push(Concerned { held, interfaces: own });
        }
        render::render(pod, concerned, &mut self.entries, &self.options)
    }

    /// Whether we know of an attachment to secondary networks. What is attached is isolated whatever the pod's annotations say now: who
    /// takes the selection away, or never had one because the node's configuration adds the network, has the interface all the same.
    fn is_attached(&self, key: &PodKey) -> bool {
        self.announced.get(key).is_some_and(|networks| !networks.is_empty())
    }

    /// The pod's secondary interfaces as (network, interface), those to come included.
    fn interfaces(&self, key: &PodKey, pod: &Pod) -> BTreeSet<(String, String)> {
        let announced = self.announced.get(key).into_iter().flatten().cloned();
        let all = pairs(&pod.attachments).chain(announced);
        all.filter(|(network, interface)| !interface.is_empty() && self.acts_on(network)).collect()
    }

    /// Whether policies act on a network. One that is not known is not known to be exempt.
    fn acts_on(&self, network: &str) -> bool {
        match (&self.options.network_plugins, self.networks.get(network)) {
            (Some(listed), Some(plugin)) => listed.contains(plugin),
            _ => true,
        }
    }
}

/// A pod's secondary interfaces.
struct Interfaces {
    /// As (network, interface).
    all: BTreeSet<(String, String)>,
    /// The last question and its answer: policies are about the same few networks, mostly.
    last: Option<(BTreeSet<String>, Arc<BTreeSet<String>>)>,
}

impl Interfaces {
    /// Those on some networks.
    fn on(&mut self, networks: &BTreeSet<String>) -> Arc<BTreeSet<String>> {
        if let Some((_, answer)) = self.last.as_ref().filter(|(asked, _)| asked == networks) {
            return Arc::clone(answer);
        }
        let on = self.all.iter().filter(|(network, _)| networks.contains(network));
        let answer = Arc::new(on.map(|(_, interface)| interface.clone()).collect());
        self.last = Some((networks.clone(), Arc::clone(&answer)));
        answer
    }
}

fn pairs(attachments: &[Attachment]) -> impl Iterator<Item = (String, String)> {
    attachments.iter().map(|attachment| (attachment.network.clone(), attachment.interface.clone()))
}

/// Pods of this node that a policy selects.
fn selected<'a>(
    policy: &'a Policy,
    local: &'a BTreeSet<PodKey>,
    pods: &'a BTreeMap<PodKey, Pod>,
) -> impl Iterator<Item = PodKey> + 'a {
    let namespace = &policy.key.namespace;
    let of_namespace =
        local.range(PodKey::new(namespace, "")..).take_while(move |key| key.namespace == *namespace);
    of_namespace.filter(|key| pods.get(*key).is_some_and(|pod| policy.selects(pod))).cloned()
}

impl Held {
    fn new(policy: Policy) -> Self {
        let names = Arc::new(Names::of(&policy.key));
        Self { policy, names, members: BTreeMap::new(), parts: Parts::default(), families: [true; 2] }
    }

    /// What the policy comes to in the table of a pod with these interfaces.
    pub(crate) fn part(&mut self, pod: &Pod, interfaces: Arc<BTreeSet<String>>) -> Arc<FwRuleset> {
        let rules = self.policy.rules(Direction::Ingress).unwrap_or_default();
        // Only names are looked up among the pod's own ports.
        let ports = if rules.iter().any(Rule::has_names) { pod.ports.as_slice() } else { &[] };
        if let Some(made) = self.parts.get(&interfaces, ports) {
            return made;
        }
        let made = render::part(self, pod, &interfaces);
        self.parts.keep(interfaces, ports, made)
    }

    /// Which families pods have on its networks, IPv4 first.
    pub(crate) fn families(&self) -> [bool; 2] {
        self.families
    }

    fn set_families(&mut self, families: [bool; 2]) {
        if self.families != families {
            self.families = families;
            self.parts.clear();
        }
    }

    fn forget_members(&mut self) {
        self.members.clear();
        self.parts.clear();
    }

    /// Who a rule's peers are; absent for a rule that names no pods.
    pub(crate) fn members(&mut self, direction: Direction, rule: usize) -> Option<&mut Members> {
        self.members.get_mut(&(direction, rule))
    }

    fn looks_at_namespaces(&self) -> bool {
        let rules =
            Direction::BOTH.into_iter().filter_map(|direction| self.policy.rules(direction)).flatten();
        rules.filter_map(|rule| rule.peers.as_ref()).any(|peers| !peers.is_local())
    }

    /// Looks up the pods of all rules, where that has not been done.
    fn look_up(&mut self, pods: &BTreeMap<PodKey, Pod>, namespaces: &Namespaces) {
        let Self { policy, members, .. } = self;
        for (direction, at, rule) in rules(policy) {
            if members::concerns_pods(direction, rule) {
                members
                    .entry((direction, at))
                    .or_insert_with(|| Members::look_up(policy, direction, rule, pods, namespaces));
            }
        }
    }

    /// Takes note of a pod that is different or gone; says whether that makes a difference.
    fn follow(&mut self, key: &PodKey, pod: Option<&Pod>, namespaces: &Namespaces) -> bool {
        let Self { policy, members, parts, .. } = self;
        let mut differs = false;
        for (direction, at, rule) in rules(policy) {
            if let Some(members) = members.get_mut(&(direction, at)) {
                let is_member =
                    pod.filter(|pod| members::is_member(policy, direction, rule, (key, pod), namespaces));
                differs |= members.follow(policy, rule, key, is_member);
            }
        }
        if differs {
            parts.clear();
        }
        differs
    }
}

fn rules(policy: &Policy) -> impl Iterator<Item = (Direction, usize, &Rule)> {
    Direction::BOTH.into_iter().flat_map(move |direction| {
        let rules = policy.rules(direction).unwrap_or_default();
        rules.iter().enumerate().map(move |(at, rule)| (direction, at, rule))
    })
}
