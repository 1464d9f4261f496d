//! scenarios/multus-quickstart: one NetworkAttachmentDefinition, a pod with it, a pod with it twice, and what can go wrong.
//!
//! Two nodes, the second one cordoned: host-local keeps its store per node, so the guide's range is good for one node only. A pod
//! placed on the second node by hand is the far end for packets of the default network.

use super::world::World;
use super::{Chapter, Fact, Finding, Story};

mod addresses;
mod failures;
mod links;
mod packets;
mod status;

/// The story.
pub const STORY: Story = Story {
    name: "multus-quickstart",
    given: "",
    manifests: include_str!("../../../../scenarios/multus-quickstart/manifests.yaml"),
    nodes: 2,
    shape: crate::shape::Shape::default,
    chapters: &[
        Chapter { title: "The manifests, unchanged", act: apply, facts: STARTED },
        Chapter {
            title: "A default-route in the selection element",
            act: links::choose_default,
            facts: CHOSEN,
        },
        Chapter { title: "A network that does not exist", act: failures::ask_for_nothing, facts: NOTHING },
        Chapter { title: "An unknown plugin type", act: failures::ask_for_nonsense, facts: NONSENSE },
        Chapter { title: "An exhausted range", act: failures::exhaust, facts: EXHAUSTED },
        Chapter { title: "Deleting the pods", act: delete_all, facts: DELETED },
    ],
};

/// The node of all pods but the far one.
const NODE: &str = "node1";
const ONE: &str = "samplepod";
const TWO: &str = "samplepod-two";
/// On the other node, with the default network only.
const FAR: &str = "far";
/// Left over after the failure stories.
const REPAIRED: [&str; 3] = ["missing-net", "odd-plugin", "late"];

const STARTED: &[Fact] = &[
    Fact { name: "samplepod has exactly lo, eth0, net1", check: links::exactly_three },
    Fact { name: "net1 is a macvlan in bridge mode on the node's eth0", check: links::macvlan_on_eth0 },
    Fact {
        name: "net1 has one address of 192.168.1.200-216 with prefix length 24",
        check: addresses::in_range,
    },
    Fact { name: "net1's default route is in front of eth0's", check: links::net1_in_front },
    Fact { name: "the status is written byte for byte as Multus does", check: status::bytes },
    Fact { name: "the first row is the default network: eth0 and its addresses", check: status::default_row },
    Fact {
        name: "the second row is default/macvlan-conf: net1, its address and MAC",
        check: status::net1_row,
    },
    Fact {
        name: "samplepod-two has net1 and net2 with different addresses and MACs",
        check: addresses::two_differ,
    },
    Fact { name: "samplepod-two has three status rows", check: status::three_rows },
    Fact { name: "the pods' status addresses are those of eth0", check: addresses::pod_ips },
    Fact { name: "host-local holds three addresses", check: addresses::three_held },
    Fact { name: "net1 reaches the gateway", check: packets::gateway },
    Fact { name: "net1 reaches the host behind the router", check: packets::outside_by_net1 },
    Fact { name: "traffic to the outside leaves by net1", check: packets::outside_sees_net1 },
    Fact { name: "net1 reaches net1 of the other pod", check: packets::between_net1 },
    Fact { name: "eth0 reaches eth0 of the other pod", check: packets::between_eth0 },
    Fact { name: "eth0 reaches eth0 on the other node", check: packets::across_nodes },
    Fact { name: "TCP works over both networks", check: packets::tcp },
    Fact { name: "explain says of each ping what it does", check: packets::explained },
    Fact { name: "polynic explain on the node finds the pod by name", check: packets::explain_command },
];

const CHOSEN: &[Fact] = &[
    Fact { name: "exactly the requested default remains", check: links::only_requested_default },
    Fact { name: "the outside is reached by it", check: packets::chosen_reaches_outside },
    Fact { name: "net1 reaches the gateway", check: packets::chosen_reaches_gateway },
];

const NOTHING: &[Fact] = &[
    Fact { name: "the Event names pod, network and cause", check: failures::nothing_told },
    Fact { name: "so does the pod's status", check: failures::nothing_in_status },
    Fact { name: "nothing of the failed attach is left behind", check: failures::nothing_left },
    Fact { name: "once the network exists the same pod starts", check: failures::nothing_repaired },
];

const NONSENSE: &[Fact] = &[
    Fact { name: "the Event names pod, network and cause", check: failures::nonsense_told },
    Fact { name: "so does the pod's status", check: failures::nonsense_in_status },
    Fact { name: "nothing of the failed attach is left behind", check: failures::nonsense_left },
    Fact { name: "once the type is corrected the same pod starts", check: failures::nonsense_repaired },
];

const EXHAUSTED: &[Fact] = &[
    Fact { name: "all 17 addresses are held, each once", check: addresses::all_held },
    Fact {
        name: "the Event of the 18th attachment names pod, network and cause",
        check: failures::late_told,
    },
    Fact { name: "so does the pod's status", check: failures::late_in_status },
    Fact { name: "nothing of the failed attach is left behind", check: failures::late_left },
    Fact { name: "once an address is free the same pod starts", check: failures::late_repaired },
];

const DELETED: &[Fact] = &[
    Fact { name: "the addresses in host-local's store are free", check: addresses::none_held },
    Fact { name: "no link is left on the node", check: links::node_as_before },
    Fact { name: "no route to a pod is left on the node", check: links::no_pod_routes },
    Fact { name: "no cached result or record is left", check: addresses::no_files },
];

fn apply(world: &World) -> Finding {
    world.cordon("node2")?;
    let applied = world.apply(STORY.manifests)?;
    world.create_pod(FAR, None, Some("node2"))?;
    world.wait_running(&[ONE, TWO, FAR])?;
    Ok(applied)
}

fn delete_all(world: &World) -> Finding {
    let all: Vec<&str> = [ONE, TWO, FAR].into_iter().chain(REPAIRED).collect();
    world.delete(&all)
}
