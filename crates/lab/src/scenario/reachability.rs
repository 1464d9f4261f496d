//! Every NIC reachable both ways: pods of every kind that `router`, `veth` and `coordinator` make, asked from everywhere and asking
//! everybody, by ping, by TCP and by Services, with the node's reverse path filter off, strict and loose. One lab serves all.
//!
//! No guide tells this story; it is issue 4's matrix. Each case is captured at the pod's own links ([`super::probe`]): requests and answers have to pass
//! by the NIC that [`kinds`] names, and by no other. `explain` has to say the same of each.

mod cases;
mod kinds;
mod parties;
mod services;

use super::pools::{self, DEFAULT_POOLS};
use super::world::World;
use super::{Chapter, Fact, Finding, Story};
use crate::shape::Shape;
use kinds::KINDS;

/// The story.
pub const STORY: Story = Story {
    name: "reachability",
    given: DEFAULT_POOLS,
    manifests: include_str!("../../../../scenarios/reachability/manifests.yaml"),
    nodes: 2,
    shape,
    chapters: &[
        Chapter { title: "rp_filter 0 on the nodes", act: |world| begin(world, 0), facts: FACTS },
        Chapter { title: "rp_filter 1 on the nodes", act: |world| begin(world, 1), facts: FACTS },
        Chapter { title: "rp_filter 2 on the nodes", act: |world| begin(world, 2), facts: FACTS },
    ],
};

fn shape() -> Shape {
    Shape { kubeadm_config: true, ..pools::shape() }
}

const FACTS: &[Fact] = &[
    Fact { name: "router: eth0 of the overlay, net1 in the LAN", check: |world| cases::of(world, &KINDS[0]) },
    Fact { name: "coordinator overlay, default route on eth0", check: |world| cases::of(world, &KINDS[1]) },
    Fact { name: "coordinator overlay, default route on net1", check: |world| cases::of(world, &KINDS[2]) },
    Fact { name: "veth: eth0 in the LAN", check: |world| cases::of(world, &KINDS[3]) },
    Fact { name: "veth: two NICs in one LAN", check: |world| cases::of(world, &KINDS[4]) },
    Fact { name: "coordinator underlay, one NIC", check: |world| cases::of(world, &KINDS[5]) },
    Fact { name: "coordinator underlay, two NICs in one LAN", check: |world| cases::of(world, &KINDS[6]) },
];

/// The nodes; all pods of [`KINDS`] are on the first one.
const NODES: [&str; 2] = ["node1", "node2"];
const HOME: &str = NODES[0];
/// A pod of the overlay alone, and one with two NICs, on the second node.
const PLAIN: &str = "plain";
const OTHER: &str = "other";

/// Sets the nodes' filter, and makes all pods anew: plugins see the setting when they attach.
fn begin(world: &World, mode: u8) -> Finding {
    let all: Vec<&str> = KINDS.iter().map(|kind| kind.pod).chain([PLAIN, OTHER]).collect();
    let old: Vec<&str> = all.iter().copied().filter(|name| world.pod(name).is_ok()).collect();
    let is_first = old.is_empty();
    world.delete(&old)?;
    for node in NODES {
        world.set_reverse_path_filter(node, mode)?;
    }
    if is_first {
        services::open_to_outsiders(world)?;
        services::make(world, &all)?;
    }
    world.apply(DEFAULT_POOLS)?;
    world.apply(STORY.manifests)?;
    world.wait_running(&all)?;
    let served = services::wait(world, &all)?;
    Ok(format!("{} pods run; {served}", all.len()))
}
