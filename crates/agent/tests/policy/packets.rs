//! Tables as they are rendered, against real packets.

use polynic_kernel::{Door, Kernel, RealDoor};
use polynic_net::Place;
use polynic_policy::{Attachment, Index, Options, Pod, PodKey, PodTable, Policy, table};
use serde_json::{Value, json};

use crate::lan::Lan;

/// A cluster whose pods are those of a LAN: `pod1` with label `number: "1"` and so on, on network `shop/lan`.
pub struct Rendering {
    index: Index,
    kernel: Box<dyn Kernel>,
    /// What is in force at pod 1.
    applied: Option<PodTable>,
}

impl Rendering {
    pub fn new(lan: &Lan) -> Self {
        let mut index = Index::new(Options { node: "n1".into(), ..Options::default() });
        for number in 1..=lan.pods.len() {
            index.set_pod(key(number), pod(number));
        }
        let kernel = RealDoor::default().open(Some(&lan.pod(1).path)).unwrap();
        Self { index, kernel, applied: None }
    }

    pub fn index(&mut self) -> &mut Index {
        &mut self.index
    }

    pub fn policy(&mut self, name: &str, spec: Value) {
        let metadata = json!({"name": name, "namespace": "shop", "annotations": {"k8s.v1.cni.cncf.io/policy-for": "lan"}});
        self.index.set_policy(Policy::parse(&json!({"metadata": metadata, "spec": spec})));
    }

    /// Puts pod 1's table in force in one edit; answers in how many steps.
    pub fn enforce(&mut self) -> usize {
        let wanted = self.index.render(&key(1)).table.unwrap();
        let edits = match &self.applied {
            Some(applied) => wanted.edits_from(applied),
            None => wanted.creation(),
        };
        self.kernel.edit_table(Place::Pod, &table(), &edits).unwrap();
        self.applied = Some(wanted);
        edits.len()
    }
}

pub fn key(number: usize) -> PodKey {
    PodKey::new("shop", &format!("pod{number}"))
}

pub fn pod(number: usize) -> Pod {
    let addresses = [format!("10.60.0.{number}"), format!("fd60::{number}")];
    let lan = Attachment {
        network: "shop/lan".into(),
        interface: "net1".into(),
        addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
    };
    Pod {
        labels: [("number".to_owned(), number.to_string())].into(),
        node: "n1".into(),
        selects_networks: true,
        attachments: vec![lan],
        ..Pod::default()
    }
}

fn from(number: usize) -> Value {
    json!({"podSelector": {"matchLabels": {"number": number.to_string()}}})
}

#[test]
fn a_default_deny_lets_answers_and_neighbour_discovery_pass_and_nothing_else() {
    let Some(lan) = Lan::new(2) else { return };
    let mut rendering = Rendering::new(&lan);
    assert!(
        lan.udp(2, 1, "10.60.0.1:5000") && lan.udp(2, 1, "[fd60::1]:5000"),
        "without policies all passes"
    );
    let mut before = lan.connection(1, 2, "10.60.0.2:7000");
    rendering.policy("deny", json!({"podSelector": {}}));
    rendering.enforce();
    assert!(lan.udp_fails(2, 1, "10.60.0.1:5000") && lan.udp_fails(2, 1, "[fd60::1]:5000"));
    assert!(lan.tcp_fails(2, 1, "10.60.0.1:5001"));
    // Its own connections are answered, over IPv6 with a neighbour that has to be discovered anew.
    for pod in [1, 2] {
        lan.pod(pod).ip("neigh flush dev net1");
    }
    assert!(lan.udp(1, 2, "[fd60::2]:5000") && lan.udp(1, 2, "10.60.0.2:5000"));
    assert!(lan.tcp(1, 2, "10.60.0.2:5001"));
    assert!(before.works(), "a connection from before goes on with the pod's next packet");
    // To itself it speaks as before.
    assert!(lan.udp(1, 1, "10.60.0.1:5002") && lan.udp(1, 1, "[fd60::1]:5002"));
    // Both directions: an isolated pod can still be found and be a neighbour.
    rendering.policy(
        "deny",
        json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [{"from": [from(2)]}]}),
    );
    rendering.enforce();
    for pod in [1, 2] {
        lan.pod(pod).ip("neigh flush dev net1");
    }
    assert!(lan.udp(2, 1, "[fd60::1]:5000") && lan.udp(2, 1, "10.60.0.1:5000"));
    assert!(lan.udp_fails(1, 2, "[fd60::2]:5000") && lan.udp_fails(1, 2, "10.60.0.2:5000"));
}

#[test]
fn blocks_overlap_and_exceptions_are_their_own() {
    let Some(lan) = Lan::new(4) else { return };
    let mut rendering = Rendering::new(&lan);
    let block = |cidr: &str, except: &[&str]| json!({"ipBlock": {"cidr": cidr, "except": except}});
    let blocks = json!([
        block("10.60.0.0/16", &["10.60.0.0/29"]),
        block("10.60.0.2/31", &["10.60.0.3/32"]),
        block("10.60.0.2/32", &[]),
        block("fd60::/64", &["fd60::4/127"]),
        block("::/0", &["fd60::/16"]),
    ]);
    rendering.policy("in", json!({"podSelector": {}, "ingress": [{"from": blocks}]}));
    rendering.enforce();
    assert!(lan.udp(2, 1, "10.60.0.1:5000"));
    assert!(lan.udp_fails(3, 1, "10.60.0.1:5000") && lan.udp_fails(4, 1, "10.60.0.1:5000"));
    assert!(lan.udp(2, 1, "[fd60::1]:5000") && lan.udp(3, 1, "[fd60::1]:5000"));
    assert!(lan.udp_fails(4, 1, "[fd60::1]:5000"));
    lan.pod(4).ip("address del 10.60.0.4/16 dev net1\naddress add 10.60.0.8/16 dev net1");
    assert!(lan.udp(4, 1, "10.60.0.1:5000"), "behind the exception");
}

#[test]
fn ports_protocols_and_directions_count() {
    let Some(lan) = Lan::new(3) else { return };
    let mut rendering = Rendering::new(&lan);
    let ports = json!([{"port": 80}, {"protocol": "UDP", "port": 5000, "endPort": 5010}]);
    let out = json!([{"to": [from(2)], "ports": [{"protocol": "TCP"}, {"protocol": "UDP", "port": 53}]}]);
    rendering.policy(
        "both",
        json!({"podSelector": {"matchLabels": {"number": "1"}}, "ingress": [{"from": [from(2)], "ports": ports}], "egress": out}),
    );
    rendering.enforce();
    assert!(lan.tcp(2, 1, "10.60.0.1:80") && lan.tcp(2, 1, "[fd60::1]:80"));
    assert!(lan.udp(2, 1, "10.60.0.1:5000") && lan.udp(2, 1, "[fd60::1]:5010"));
    assert!(lan.tcp_fails(2, 1, "10.60.0.1:81") && lan.tcp_fails(2, 1, "10.60.0.1:5000"));
    assert!(lan.udp_fails(2, 1, "10.60.0.1:5011") && lan.udp_fails(2, 1, "10.60.0.1:80"));
    assert!(lan.tcp_fails(3, 1, "10.60.0.1:80") && lan.udp_fails(3, 1, "10.60.0.1:5000"));
    assert!(lan.tcp(1, 2, "10.60.0.2:9999") && lan.udp(1, 2, "[fd60::2]:53"));
    assert!(lan.udp_fails(1, 2, "10.60.0.2:54") && lan.tcp_fails(1, 3, "10.60.0.3:9999"));
}

#[test]
fn a_peer_that_comes_or_goes_is_an_edit_of_elements() {
    let Some(lan) = Lan::new(3) else { return };
    let mut rendering = Rendering::new(&lan);
    rendering.policy(
        "in",
        json!({"podSelector": {"matchLabels": {"number": "1"}}, "ingress": [{"from": [{"podSelector": {"matchLabels": {"friend": "yes"}}}]}]}),
    );
    rendering.enforce();
    assert!(lan.udp_fails(2, 1, "10.60.0.1:5000"));
    let mut friend = pod(2);
    friend.labels.insert("friend".into(), "yes".into());
    rendering.index().set_pod(key(2), friend);
    assert_eq!(rendering.enforce(), 2, "an address of each family");
    assert!(lan.udp(2, 1, "10.60.0.1:5000") && lan.udp(2, 1, "[fd60::1]:5000"));
    assert!(lan.udp_fails(3, 1, "10.60.0.1:5000"));
    rendering.index().remove_pod(&key(2), "");
    assert_eq!(rendering.enforce(), 2);
    assert!(lan.udp_fails(2, 1, "10.60.0.1:5000"));
}
