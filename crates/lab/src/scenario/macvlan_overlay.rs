//! scenarios/macvlan-overlay: eth0 of the default network, net1 a macvlan with pool addresses, and `router` between them.

mod packets;
mod routes;

use super::pools::{self, DEFAULT_POOLS};
use super::world::World;
use super::{Chapter, Fact, Finding, Story};

/// The story.
pub const STORY: Story = Story {
    name: "macvlan-overlay",
    given: DEFAULT_POOLS,
    manifests: include_str!("../../../../scenarios/macvlan-overlay/manifests.yaml"),
    nodes: 2,
    shape: pools::shape,
    chapters: &[
        Chapter { title: "The manifests, unchanged", act: apply, facts: STARTED },
        Chapter { title: "Deleting the Deployment", act: delete, facts: DELETED },
    ],
};

const LABEL: &str = "app=macvlan-overlay-deploy";
const REPLICAS: usize = 3;

const STARTED: &[Fact] = &[
    Fact { name: "each pod has eth0 with a /32 and a /128", check: routes::eth0_is_single },
    Fact {
        name: "each pod has net1 with an address of each default pool",
        check: routes::net1_is_of_the_pools,
    },
    Fact { name: "the main table's defaults are net1's alone", check: routes::defaults },
    Fact { name: "169.254.1.1 is on eth0, and the node's addresses go by eth0", check: routes::eth0_in_main },
    Fact { name: "packets from eth0's address look in table 100", check: routes::from_eth0 },
    Fact { name: "packets to each hijacked network look in table 100", check: routes::to_hijacked },
    Fact { name: "table 100 has eth0's default, and what is on eth0's link", check: routes::table_100 },
    Fact { name: "network-status has two rows", check: routes::status },
    Fact { name: "the SpiderEndpoint says interface, pools, addresses and node", check: routes::endpoints },
    Fact { name: "no annotation of older releases says it as well", check: routes::no_record_of_old },
    Fact { name: "the gateway is reached by net1", check: packets::gateway },
    Fact { name: "the host behind the router is reached by net1", check: packets::outside },
    Fact { name: "another pod's eth0 address is reached by eth0", check: packets::other_pod },
    Fact { name: "a Service's cluster address is reached by eth0", check: packets::service },
    Fact { name: "who asks net1 from outside is answered by net1", check: packets::answers_net1 },
    Fact { name: "who asks eth0's address is answered by eth0", check: packets::answers_eth0 },
    Fact { name: "the node and its pods reach each other at both addresses", check: packets::node },
    Fact { name: "net1 addresses of pods reach each other", check: packets::between_net1 },
];

const DELETED: &[Fact] = &[Fact { name: "the pools are empty again", check: pools::empty }];

fn apply(world: &World) -> Finding {
    world.apply(DEFAULT_POOLS)?;
    world.apply(pools::WEB)?;
    let applied = world.apply(STORY.manifests)?;
    world.wait_pods(LABEL, REPLICAS)?;
    world.wait_pods(pools::WEB_LABEL, pools::WEB_REPLICAS)?;
    Ok(applied)
}

fn delete(world: &World) -> Finding {
    world.remove("/apis/apps/v1/namespaces/default/deployments/macvlan-overlay-deploy")?;
    world.wait_gone(LABEL)
}

fn each(world: &World, check: impl Fn(&World, &str) -> Finding) -> Finding {
    pools::each(world, LABEL, REPLICAS, check)
}
