//! scenarios/calico-flannel: flannel as a second network over the nodes' second NIC, beside a default network in Calico's manner.

mod churn;
mod crowd;
mod nodes;
mod outages;
mod packets;
mod pods;

use std::time::{Duration, Instant};

use serde_json::Value;

use super::pools::IntoNet;
use super::world::World;
use super::{Chapter, Fact, Finding, Story, eventually};
use crate::shape::{Dual, Host, Shape, Underlay};

/// The story.
pub const STORY: Story = Story {
    name: "calico-flannel",
    given: "",
    manifests: include_str!("../../../../scenarios/calico-flannel/manifests.yaml"),
    nodes: 3,
    shape,
    chapters: &[
        Chapter { title: "flannel starts on eth1 of each node", act: nodes::wait_for_subnets, facts: NODES },
        Chapter { title: "The manifests, unchanged", act: apply, facts: PODS },
        Chapter { title: "flannel twice in one pod", act: pods::twice, facts: TWICE },
        Chapter { title: "Pods with flannel twice come and go", act: crowd::come_and_go, facts: CROWD },
        Chapter {
            title: "flanneld of node2 is killed while packets flow",
            act: churn::restart,
            facts: RESTARTED,
        },
        Chapter { title: "The tunnel of node2 is deleted", act: churn::delete_tunnel, facts: REBUILT },
        Chapter { title: "A new node joins", act: churn::join, facts: JOINED },
        Chapter { title: "node1 is removed", act: churn::remove, facts: REMOVED },
        Chapter { title: "eth1 of node2 goes down and comes up", act: outages::flap, facts: FLAPPED },
        Chapter {
            title: "While flanneld of node2 is away, node4 goes, node5 comes, and node3 gets another address",
            act: outages::change_all_meanwhile,
            facts: CAUGHT_UP,
        },
        Chapter { title: "node3 joins again with another subnet", act: outages::rejoin, facts: REJOINED },
        Chapter { title: "The pods are deleted", act: pods::delete, facts: DELETED },
    ],
};

/// The pods of the manifests: nginx on node3, nginx2 on node2.
const NGINX: &str = "nginx";
const NGINX2: &str = "nginx2";
/// One more, on node1, with the default network alone: the Service's endpoint.
const WEB: &str = "web";
const NODES3: [&str; 3] = ["node1", "node2", "node3"];
/// The whole network, as everybody routes it.
const NETWORK: &str = "10.233.0.0/16";
/// A host on eth1's network that has no flannel.
const STRANGER: &str = "stranger";
/// The guide's Services lie inside flannel's network.
const SERVICE: [u8; 4] = [10, 233, 0, 80];

/// A Service of the default network, whose address is inside flannel's.
const WEB_SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: 10.233.0.80, selector: {app: web}, ports: [{port: 80, protocol: TCP, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {nodeName: node1, containers: [{name: web, image: web, ports: [{containerPort: 8080}]}]}
";

fn shape() -> Shape {
    let underlay = |net: ([u8; 4], u8), numbers: [u32; 4]| {
        let mut underlay = Underlay::of(net.into_net());
        underlay.numbers = numbers.to_vec();
        underlay
    };
    let dual = |text: &str| Dual::parse(text).unwrap_or_else(|_| Shape::default().pods);
    Shape {
        underlays: vec![
            underlay(([192, 168, 5, 0], 24), [79, 126, 27, 40]),
            underlay(([192, 168, 10, 0], 24), [11, 12, 13, 14]),
        ],
        pods: dual("172.16.0.0/16,fd00:172:16::/48"),
        services: dual("10.233.0.0/18,fd00:10:96::/112"),
        node_cidrs: Some(dual("10.233.64.0/18,fd00:10:233::/48")),
        hosts: [Shape::default().hosts, vec![Host::new(STRANGER, ([192, 168, 10, 77], 24).into_net())]]
            .concat(),
        flannel: Some(format!(r#"{{"Network": "{NETWORK}", "Backend": {{"Type": "vxlan"}}}}"#)),
        ..Shape::default()
    }
}

const NODES: &[Fact] = &[
    Fact {
        name: "each node's subnet.env says network, subnet, MTU 1450 and masquerading",
        check: nodes::subnet_files,
    },
    Fact {
        name: "flannel.1 is VNI 1, UDP 8472, without learning, MTU 1450, with the subnet's .0/32",
        check: nodes::tunnels,
    },
    Fact {
        name: "routes, neighbours and forwarding entries for every other node, over eth1's addresses",
        check: nodes::peers,
    },
    Fact {
        name: "each node is annotated as flannel does it, and its network is available",
        check: nodes::annotations,
    },
];

const PODS: &[Fact] = &[
    Fact { name: "eth0 is of the default network, net1 of the node's subnet", check: pods::addresses },
    Fact { name: "net1 has MTU 1450", check: pods::mtu },
    Fact { name: "the default route stays on eth0, 10.233.0.0/16 goes by the bridge", check: pods::routes },
    Fact { name: "network-status has both networks", check: pods::status },
    Fact { name: "nginx2 reaches nginx by VXLAN packets on eth1, never eth0", check: packets::by_eth1 },
    Fact { name: "it takes two routers: TTL 62 arrives", check: packets::two_routers },
    Fact {
        name: "packets as large as net1 allows arrive whole, larger ones are refused",
        check: packets::edge_of_mtu,
    },
    Fact { name: "eth0 reaches eth0 by the default network", check: packets::default_network },
    Fact { name: "every node reaches net1 of every pod, and is reached", check: packets::nodes },
    Fact { name: "a host without flannel does not reach net1", check: packets::stranger },
    Fact { name: "net1 reaches the world masqueraded", check: packets::world_masqueraded },
    Fact { name: "a Service whose address is inside flannel's network is reached", check: packets::service },
];

const TWICE: &[Fact] = &[
    Fact { name: "two addresses of the node's subnet, none of them given twice", check: pods::all_differ },
    Fact { name: "both answer", check: packets::both_answer },
];

const CROWD: &[Fact] = &[
    Fact { name: "no address was given to two pods at a time", check: |_| crowd::none_twice() },
    Fact { name: "both networks of each pod answered another node", check: |_| crowd::all_answered() },
    Fact { name: "nothing of them is left", check: crowd::nothing_left },
];

const RESTARTED: &[Fact] = &[
    Fact { name: "no packet was lost", check: churn::nothing_lost },
    Fact { name: "the node keeps its subnet and its tunnel", check: churn::kept },
];

const REBUILT: &[Fact] = &[
    Fact { name: "it is back with all peers", check: churn::rebuilt },
    Fact { name: "nginx2 reaches nginx by VXLAN packets on eth1, never eth0", check: packets::by_eth1 },
];

const JOINED: &[Fact] = &[
    Fact { name: "every node has the way to it without a restart", check: churn::known },
    Fact { name: "its pods and the others' reach each other", check: churn::reached },
];

const REMOVED: &[Fact] = &[
    Fact { name: "nobody has a way to it any more", check: churn::forgotten },
    Fact { name: "nginx2 reaches nginx by VXLAN packets on eth1, never eth0", check: packets::by_eth1 },
];

const FLAPPED: &[Fact] = &[
    Fact { name: "nginx2 reaches nginx again", check: outages::reaches_again },
    Fact { name: "nginx2 reaches nginx by VXLAN packets on eth1, never eth0", check: packets::by_eth1 },
];

const CAUGHT_UP: &[Fact] = &[
    Fact {
        name: "node2's next daemon has the ways to those that are there, and no other",
        check: outages::caught_up,
    },
    Fact { name: "pods on the moved node and on the new one are reached", check: outages::all_reached },
];

const REJOINED: &[Fact] = &[
    Fact {
        name: "every node has the way to the new subnet, and none to the old one",
        check: outages::all_know,
    },
    Fact {
        name: "a new pod has an address of the new subnet, and is reached",
        check: outages::new_pod_reached,
    },
    Fact {
        name: "the tunnel's address is the new subnet's, and the bridge has its gateway",
        check: outages::addresses_follow,
    },
];

const DELETED: &[Fact] =
    &[Fact { name: "no address, no note and no port is left", check: pods::nothing_left }];

fn apply(world: &World) -> Finding {
    let applied = world.apply(STORY.manifests)?;
    world.apply(WEB_SERVICE)?;
    world.wait_running(&[NGINX, NGINX2, WEB])?;
    Ok(applied)
}

/// The subnet of a node as its object says.
fn subnet(world: &World, node: &str) -> Result<String, String> {
    let object = world.get(&format!("/api/v1/nodes/{node}"))?;
    let subnet = object["spec"]["podCIDR"].as_str().map(str::to_owned);
    subnet.ok_or_else(|| format!("{node} has no podCIDR"))
}

/// A subnet without its last number and length: `10.233.64`.
fn stem(subnet: &str) -> &str {
    subnet.rsplit_once('.').map_or(subnet, |(stem, _)| stem)
}

/// As long as a node may take to come up to date. It is to take 5 s; that is measured and told, because this machine may be busy.
const CONVERGENCE: Duration = Duration::from_secs(90);

/// Waits until something holds, and says how long that took.
fn measured(check: impl FnMut() -> Finding) -> Finding {
    let began = Instant::now();
    let found = eventually(CONVERGENCE, check)?;
    Ok(format!("{found} (after {:.1} s)", began.elapsed().as_secs_f32()))
}

fn annotation<'v>(node: &'v Value, key: &str) -> &'v str {
    node["metadata"]["annotations"][format!("flannel.alpha.coreos.com/{key}")].as_str().unwrap_or_default()
}
