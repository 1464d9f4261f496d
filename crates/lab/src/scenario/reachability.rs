//! Every NIC reachable both ways: pods of every kind that `router`, `veth` and `coordinator` make, asked from everywhere and asking
//! everybody, with the node's reverse path filter off, strict and loose. One lab serves all.
//!
//! No guide tells this story; it is issue 4's matrix. Each case is observed at the pod's own links: by which one the requests come in, by which the
//! answers leave. `explain` has to say the same of each.

mod cases;

use super::pools::{self, DEFAULT_POOLS, LAN};
use super::world::World;
use super::{Chapter, Fact, Finding, Story};
use crate::registry::OUTSIDE;
use crate::shape::Shape;
use cases::Seen;

/// The story.
pub const STORY: Story = Story {
    name: "reachability",
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
    Fact { name: "router: eth0 of the overlay, net1 in the LAN", check: |world| cases::of(world, "router") },
    Fact { name: "veth: eth0 in the LAN", check: |world| cases::of(world, "veth") },
    Fact { name: "veth: two NICs in one LAN", check: |world| cases::of(world, "veth-two") },
    Fact { name: "coordinator overlay, default route on eth0", check: |world| cases::of(world, "overlay") },
    Fact {
        name: "coordinator overlay, default route on net1",
        check: |world| cases::of(world, "overlay-net1"),
    },
    Fact { name: "coordinator underlay, one NIC", check: |world| cases::of(world, "underlay") },
    Fact {
        name: "coordinator underlay, two NICs in one LAN",
        check: |world| cases::of(world, "underlay-two"),
    },
];

/// The pods that are asked, all on the first node.
const ASKED: [&str; 7] =
    ["router", "veth", "veth-two", "overlay", "overlay-net1", "underlay", "underlay-two"];
/// A pod of the overlay alone, and one with two NICs, on the second node.
const PLAIN: &str = "plain";
const OTHER: &str = "other";
/// Hosts beside the nodes.
const HOSTS: [&str; 2] = [LAN, OUTSIDE];

/// Sets the nodes' filter, and makes all pods anew: plugins see the setting when they attach.
fn begin(world: &World, mode: u8) -> Finding {
    let all: Vec<&str> = ASKED.into_iter().chain([PLAIN, OTHER]).collect();
    let old: Vec<&str> = all.iter().copied().filter(|name| world.pod(name).is_ok()).collect();
    world.delete(&old)?;
    for node in ["node1", "node2"] {
        world.set_reverse_path_filter(node, mode)?;
    }
    world.apply(DEFAULT_POOLS)?;
    world.apply(STORY.manifests)?;
    world.wait_running(&all)?;
    Ok(format!("{} pods run", all.len()))
}

/// What a case is allowed to be besides "by the NIC that it came by".
fn is_expected(seen: &Seen) -> bool {
    // Packets of the overlay reach a NIC in the LAN from outside of the pod's node, over the LAN: their sender is in the network that is hijacked to
    // the overlay, so the answer takes that way.
    seen.asker == PLAIN
}
