//! Many attachments made in one process, as the node agent makes them, one after another and at once; and what is left after
//! their DEL: no link, rule, file, namespace or file descriptor. A binary of its own, because descriptors are a process's.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail like the test")]

mod crowded;
mod left;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polynic_cni::{Delegate, Invocation, Output, Verb, Version};
use polynic_e2e::{Node, Pod};
use polynic_kernel::RealDoor;
use polynic_plugins::{Host, Registry};
use serde_json::{Value, json};

use left::Left;

#[ctor::ctor(unsafe)]
fn private() {
    polynic_kernel::testing::enter_before_main();
}

/// A door keeps no more sockets than this between attachments (`kernel::real::idle`).
const MOST_KEPT: usize = 16;
/// How many attachments are made, if this variable does not say: enough to see what grows with each.
const COUNT: &str = "POLYNIC_ATTACHMENTS";
const USUALLY: usize = 100;

fn count() -> usize {
    std::env::var(COUNT).map_or(USUALLY, |text| text.parse().expect("POLYNIC_ATTACHMENTS is a number"))
}

/// One test at a time: they count what the process holds.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The plugins of a process that goes on.
fn registry() -> Registry {
    registry_with(Box::new(polynic_wire::Sockets))
}

fn registry_with(addresses: Box<dyn polynic_wire::AddressServices>) -> Registry {
    let seeds = std::sync::atomic::AtomicU64::new(1);
    Registry::new(Host {
        door: Box::<RealDoor>::default(),
        state: PathBuf::from(left::STATE),
        executable: None,
        addresses,
        releases: polynic_wire::ReleaseJournal::new(format!("{}/releases", left::STATE)),
        seed: Box::new(move || {
            seeds.fetch_add(1, std::sync::atomic::Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        }),
        warn: Box::new(|warning| panic!("a warning: {warning}")),
    })
}

/// A network: the plugins of its chain, given the number of the pod.
type Chain = fn(&Node, usize) -> Vec<Value>;

fn bridge(node: &Node, number: usize) -> Vec<Value> {
    let ipam = json!({"type": "host-local", "dataDir": node.directory(), "ranges": [[{"subnet": "10.5.0.0/20"}]],
        "routes": [{"dst": "0.0.0.0/0"}]});
    let mapping = json!([{"hostPort": 10_000 + number, "containerPort": 80, "protocol": "tcp"}]);
    vec![
        json!({"type": "bridge", "bridge": "br5", "isGateway": true, "ipMasq": true, "ipam": ipam}),
        json!({"type": "portmap", "runtimeConfig": {"portMappings": mapping}}),
    ]
}

fn macvlan(node: &Node, _number: usize) -> Vec<Value> {
    let ipam =
        json!({"type": "host-local", "dataDir": node.directory(), "ranges": [[{"subnet": "10.6.0.0/20"}]]});
    vec![json!({"type": "macvlan", "master": "eth0", "ipam": ipam})]
}

/// A pod's calls, in order.
struct Attachment {
    pod: Pod,
    chain: Vec<Value>,
    result: Option<Value>,
}

impl Attachment {
    fn new(node: &Node, chain: Chain, number: usize) -> Self {
        let whole = |mut conf: Value| {
            conf["cniVersion"] = json!("1.0.0");
            conf["name"] = json!("net");
            conf
        };
        Self { pod: Pod::new(), chain: chain(node, number).into_iter().map(whole).collect(), result: None }
    }

    fn call(&self, registry: &Registry, verb: Verb, conf: &Value, prev: Option<&Value>) -> Output {
        let mut conf = conf.clone();
        if let Some(prev) = prev {
            conf["prevResult"] = prev.clone();
        }
        let invocation = Invocation {
            container_id: self.pod.id.clone(),
            netns: self.pod.path.clone(),
            ifname: "net1".to_owned(),
            // Built-in plugins are called in this process when nobody's file has their name.
            path: "/nonexistent".to_owned(),
            stdin: conf.to_string().into_bytes(),
            ..Invocation::default()
        };
        let plugin = conf["type"].as_str().unwrap();
        registry.call(plugin, verb, &invocation).unwrap_or_else(|e| panic!("{verb:?} of {conf}: {e:?}"))
    }

    fn attach(&mut self, registry: &Registry) {
        let mut prev = None;
        for conf in &self.chain {
            let Output::Success(success) = self.call(registry, Verb::Add, conf, prev.as_ref()) else {
                panic!("ADD answers a result");
            };
            prev = Some(success.to_value(Version::V1_0_0).unwrap());
        }
        self.result = prev;
    }

    fn detach(&mut self, registry: &Registry) {
        for conf in self.chain.iter().rev() {
            self.call(registry, Verb::Del, conf, self.result.as_ref());
        }
    }
}

/// A node on which one attachment has come and gone, so that what all of them share is there.
fn used_node(registry: &Registry, chain: Chain) -> Option<Node> {
    let node = Node::new()?;
    let mut first = Attachment::new(&node, chain, 0);
    first.attach(registry);
    first.detach(registry);
    Some(node)
}

/// The addresses of all, each given once.
fn assert_all_differ(attachments: &[Attachment]) {
    let address = |a: &Attachment| a.result.as_ref().unwrap()["ips"][0]["address"].to_string();
    let addresses: std::collections::BTreeSet<String> = attachments.iter().map(address).collect();
    assert_eq!(addresses.len(), attachments.len());
}

fn one_after_another(chain: Chain) {
    let _turn = alone();
    let registry = registry();
    let Some(node) = used_node(&registry, chain) else { return };
    let before = Left::observe(&node);
    let mut attachments: Vec<Attachment> = (1..=count()).map(|n| Attachment::new(&node, chain, n)).collect();
    attachments.iter_mut().for_each(|a| a.attach(&registry));
    assert_all_differ(&attachments);
    assert_eq!(node.addresses_held("net").len(), count());
    attachments.iter_mut().for_each(|a| a.detach(&registry));
    assert!(attachments.iter().all(|a| a.pod.state().link_names().is_empty()));
    drop(attachments);
    Left::observe(&node).assert_same(&before);
}

/// As many threads as attachments, in lanes that begin and end together.
fn at_once(chain: Chain) {
    let _turn = alone();
    let Some(node) = used_node(&registry(), chain) else { return };
    let before = Left::observe(&node);
    let registry = Arc::new(registry());
    let mut attachments: Vec<Attachment> = (1..=100).map(|n| Attachment::new(&node, chain, n)).collect();
    // A new thread is in the namespace of the one that makes it.
    let all = |attachments: &mut [Attachment], work: fn(&mut Attachment, &Registry)| {
        std::thread::scope(|scope| {
            for attachment in attachments {
                let registry = Arc::clone(&registry);
                scope.spawn(move || work(attachment, &registry));
            }
        });
    };
    all(&mut attachments, Attachment::attach);
    assert_all_differ(&attachments);
    all(&mut attachments, Attachment::detach);
    assert!(attachments.iter().all(|a| a.pod.state().link_names().is_empty()));
    drop(attachments);
    // It keeps a few sockets for the next attachments, as many as worked at the same time and no more than it says.
    let kept = Left::observe(&node).descriptors_more_than(&before);
    assert!(kept <= MOST_KEPT, "{kept} descriptors are kept");
    drop(registry);
    Left::observe(&node).assert_same(&before);
}

#[test]
fn of_masqueraded_pods_with_mapped_ports_one_after_another_nothing_is_left() {
    one_after_another(bridge);
}

#[test]
fn of_macvlans_one_after_another_nothing_is_left() {
    one_after_another(macvlan);
}

#[test]
fn of_a_hundred_masqueraded_pods_with_mapped_ports_at_once_nothing_is_left() {
    at_once(bridge);
}

#[test]
fn of_a_hundred_macvlans_at_once_nothing_is_left() {
    at_once(macvlan);
}
