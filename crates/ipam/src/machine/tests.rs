use super::*;
use crate::sim::Api;
use crate::{Pod, PoolSpec};

/// A node with pods, whose events come when a test says so.
struct Node {
    api: Api,
    machine: Allocator,
    effects: Vec<Effect>,
}

impl Node {
    fn new(pods: &[&str]) -> Self {
        let mut api = Api::default();
        let ips = vec!["10.9.0.1-10.9.0.20".parse().unwrap()];
        api.put_pool("blue", PoolSpec::new("10.9.0.0/16".parse().unwrap(), ips));
        for name in pods {
            api.put_pod(Pod::new(PodKey::new("a", *name), format!("uid-{name}"), "n1"));
        }
        Self { api, machine: Allocator::new(Settings::default(), Entropy::new(1)), effects: Vec::new() }
    }

    fn step(&mut self, at: u64, event: Event) {
        self.effects = self.machine.step(Millis(at), event);
    }

    fn add(&mut self, at: u64, id: u64, pod: &str) {
        let request = AddRequest {
            pod: PodKey::new("a", pod),
            uid: String::new(),
            container_id: "c".to_owned(),
            nic: "eth0".to_owned(),
            default_ipv4_pools: vec!["blue".to_owned()],
            default_ipv6_pools: Vec::new(),
            clean_gateway: false,
            master_addresses: None,
            deadline: Millis(100_000),
        };
        self.step(at, Event::Add(RequestId(id), request));
    }

    fn observed(&mut self, at: u64, id: u64, pod: &str) {
        let pools = self.api.pools.values().cloned().collect();
        let seen = self.api.observe(&Settings::default(), &PodKey::new("a", pod), pools);
        self.step(at, Event::Observed(RequestId(id), Box::new(Ok(seen))));
    }

    fn writes_a_pool(&self) -> bool {
        self.effects.iter().any(|effect| matches!(effect, Effect::WritePool(_)))
    }

    /// The answers of the last step, with what their requests waited.
    fn answers(&self) -> Vec<(u64, u64)> {
        let answer = |effect: &Effect| match effect {
            Effect::Answer(id, _, queued) => Some((id.0, *queued)),
            _ => None,
        };
        self.effects.iter().filter_map(answer).collect()
    }
}

#[test]
fn the_time_in_queues_is_told() {
    let mut node = Node::new(&["one", "two"]);
    node.add(0, 1, "one");
    node.observed(5, 1, "one");
    assert!(node.writes_a_pool());
    // Reading is work; what comes during a write waits for the next.
    node.add(6, 2, "two");
    node.observed(10, 2, "two");
    assert!(!node.writes_a_pool());
    // The pod's own second request waits before its pod.
    node.add(20, 3, "two");
    node.step(35, Event::PoolWritten("blue".to_owned(), Ok("2".to_owned())));
    assert_eq!(node.answers(), [(1, 0)]);
    assert!(node.writes_a_pool());
    node.step(60, Event::PoolWritten("blue".to_owned(), Ok("3".to_owned())));
    assert_eq!(node.answers(), [(2, 25)]);
    node.step(70, Event::EndpointWritten(PodKey::new("a", "two"), Ok(())));
    node.observed(90, 3, "two");
    node.step(95, Event::PoolRead("blue".to_owned(), Ok(None)));
    assert_eq!(node.answers(), [(3, 50)]);
}

#[test]
fn a_conflict_counts_with_those_whom_it_concerned() {
    let mut node = Node::new(&["one"]);
    node.add(0, 1, "one");
    node.observed(0, 1, "one");
    node.step(1, Event::PoolWritten("blue".to_owned(), Err(WriteError::Conflict)));
    let counters = node.machine.counters();
    assert_eq!(
        (counters.pool_conflicts, counters.allocation_conflicts, counters.release_conflicts),
        (1, 1, 0)
    );
}
