//! scenarios/spiderpool-calico: a pool, a SpiderMultusConfig, and `coordinator`, which keeps paths symmetric.

mod objects;
mod packets;
mod routes;

use std::time::Duration;

use serde_json::Value;

use super::pools::{self, IntoNet};
use super::world::World;
use super::{Chapter, Fact, Finding, Story, eventually};
use crate::shape::{Dual, Host, Shape, Underlay};

/// The story.
pub const STORY: Story = Story {
    name: "spiderpool-calico",
    given: "",
    manifests: include_str!("../../../../scenarios/spiderpool-calico/manifests.yaml"),
    nodes: 2,
    shape,
    chapters: &[
        Chapter {
            title: "A cluster that says nothing of its networks",
            act: objects::ask_too_early,
            facts: UNSAID,
        },
        Chapter { title: "kubeadm-config appears", act: objects::say, facts: SAID },
        Chapter { title: "The manifests, unchanged", act: apply, facts: STARTED },
        Chapter { title: "A pod whose default is net1", act: routes::swap, facts: SWAPPED },
        Chapter {
            title: "The cluster's networks are asked of Calico",
            act: objects::ask_calico,
            facts: CALICO,
        },
        Chapter {
            title: "The SpiderMultusConfig is edited, and a NAD is in the way",
            act: objects::edit,
            facts: EDITED,
        },
        Chapter { title: "A node dies, and the Deployment is deleted", act: delete, facts: DELETED },
        Chapter { title: "Deleting the SpiderMultusConfig", act: objects::delete_config, facts: UNDEFINED },
    ],
};

const LABEL: &str = "app=nginx";
const REPLICAS: usize = 2;
const POOL: &str = "10-6-v4";
/// Behind the gateway, in the routed network.
const FAR: &str = "far";
/// The DNS-like Service.
const DNS: [u8; 4] = [10, 233, 0, 3];
/// A pod on the default network only.
const OVERLAY: &str = "overlay";

/// Whoever answers at the cluster's DNS address, and somebody on the overlay alone.
pub const OTHERS: &str = "
apiVersion: v1
kind: Service
metadata: {name: dns}
spec: {clusterIP: 10.233.0.3, selector: {app: dns}, ports: [{name: tcp, port: 53, protocol: TCP, targetPort: 5353}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: dns}
spec:
  replicas: 1
  selector: {matchLabels: {app: dns}}
  template:
    metadata: {labels: {app: dns}}
    spec: {containers: [{name: dns, image: dns, ports: [{containerPort: 5353}]}]}
---
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderCoordinator
metadata: {name: default}
spec: {podCIDRType: cluster}
";

fn shape() -> Shape {
    let mut underlay = Underlay::of(([10, 6, 0, 0], 16).into_net());
    underlay.nic = Some("ens192".to_owned());
    let dual = |text: &str| Dual::parse(text).unwrap_or_else(|_| Shape::default().pods);
    let hosts = vec![
        Host::new(FAR, ([10, 7, 212, 101], 24).into_net()),
        Host::new(pools::LAN, ([10, 6, 0, 77], 16).into_net()),
    ];
    Shape {
        underlays: vec![underlay],
        pods: dual("10.233.64.0/18,fd00:10:233::/48"),
        services: dual("10.233.0.0/18,fd00:10:96::/112"),
        hosts: [Shape::default().hosts, hosts].concat(),
        nodes_without_cidrs: true,
        spiderpool: true,
        ..Shape::default()
    }
}

const UNSAID: &[Fact] = &[
    Fact { name: "SpiderCoordinator is NotReady and says why", check: objects::not_ready },
    Fact { name: "attaching fails with that reason", check: objects::told_why },
];

const SAID: &[Fact] = &[
    Fact { name: "SpiderCoordinator is Synced without a restart", check: objects::synced },
    Fact { name: "the same pod starts", check: objects::early_starts },
];

const STARTED: &[Fact] = &[
    Fact { name: "SpiderCoordinator is Synced with the cluster's networks", check: objects::synced },
    Fact { name: "the NAD is owned by the SpiderMultusConfig", check: objects::owned },
    Fact { name: "its config is macvlan with the pool, then coordinator", check: objects::chain },
    Fact { name: "each pod has eth0 and net1 of the pool, all different", check: routes::addresses_differ },
    Fact { name: "each SpiderEndpoint has interface, pool, address and node", check: objects::endpoints },
    Fact { name: "the pool counts its addresses", check: objects::counted },
    Fact { name: "kubectl shows the columns of the guide", check: objects::columns },
    Fact { name: "the default route stays on eth0", check: routes::default_on_eth0 },
    Fact { name: "packets from net1's address have net1's default", check: routes::net1_table },
    Fact { name: "the cluster's networks and the node go by eth0 in every table", check: routes::hijacked },
    Fact { name: "pods reach each other by eth0", check: packets::pods_by_eth0 },
    Fact { name: "a Service's cluster address is reached by eth0", check: packets::service },
    Fact { name: "the routed network is reached by net1 from net1's address", check: packets::far_by_net1 },
    Fact { name: "who asks net1 from outside is answered by net1", check: packets::answered_by_net1 },
    Fact { name: "the node and its pods reach each other at both addresses", check: packets::node },
    Fact { name: "net1 addresses of pods reach each other", check: packets::between_net1 },
    Fact { name: "the checker finds nothing", check: objects::well },
];

const SWAPPED: &[Fact] = &[
    Fact { name: "the main default is net1's", check: routes::swapped_default },
    Fact { name: "packets from eth0's address have eth0's default", check: routes::swapped_table },
    Fact { name: "the routed network is reached by net1", check: packets::swapped_far },
    Fact { name: "a Service's cluster address is reached by eth0", check: packets::swapped_service },
    Fact { name: "who asks eth0's address is answered by eth0", check: packets::swapped_eth0 },
];

const CALICO: &[Fact] = &[
    Fact { name: "SpiderCoordinator has the networks of Calico's pools in use", check: objects::calicos },
    Fact { name: "a new pod reaches the overlay's pods by eth0", check: packets::asked_by_eth0 },
];

const EDITED: &[Fact] = &[
    Fact { name: "the NAD follows", check: objects::follows },
    Fact { name: "a NAD that was made by hand stays as it is", check: objects::by_hand_stays },
];

const DELETED: &[Fact] = &[
    Fact { name: "the pool is empty", check: empty },
    Fact { name: "the SpiderEndpoints are gone", check: objects::no_endpoints },
    Fact { name: "the checker finds nothing", check: objects::well },
];

const UNDEFINED: &[Fact] = &[Fact { name: "the NAD is gone", check: objects::no_nad }];

fn apply(world: &World) -> Finding {
    let applied = eventually(super::world::PATIENCE, || world.apply(STORY.manifests))?;
    world.create_pod(OVERLAY, None, None)?;
    world.wait_pods(LABEL, REPLICAS)?;
    world.wait_running(&[OVERLAY])?;
    world.wait_pods("app=dns", 1)?;
    Ok(applied)
}

/// Until the cluster has noticed that a node is dead, and the time is over that its pods were given to end.
const NOTICED: Duration = Duration::from_secs(180);

fn delete(world: &World) -> Finding {
    let pods = world.pods_with(LABEL)?;
    let node = world.sandbox(pods.first().ok_or("there is no pod")?)?.node;
    world.kill_node(&node)?;
    world.remove("/apis/apps/v1/namespaces/default/deployments/nginx")?;
    for pod in [routes::SWAPPED, objects::EARLY, objects::ASKED] {
        world.remove(&format!("/api/v1/namespaces/default/pods/{pod}"))?;
    }
    // The objects of its pods stay until the node is back or somebody forces them; their addresses must not.
    Ok(format!("{node} is dead, and the Deployment is gone"))
}

fn empty(world: &World) -> Finding {
    eventually(NOTICED, || super::same(&pools::allocated(world, POOL)?, &0))
}

fn each(world: &World, check: impl Fn(&World, &str) -> Finding) -> Finding {
    pools::each(world, LABEL, REPLICAS, check)
}

/// An object of a Spiderpool kind.
fn spider(world: &World, path: &str) -> Result<Value, String> {
    world.get(&format!("/apis/spiderpool.spidernet.io/v2beta1/{path}"))
}
