//! Links and routes of the quickstart.

use polynic_net::{Family, MacvlanMode};

use super::super::same;
use super::super::world::Place::{Host, Pod};
use super::super::{Finding, world::World};
use super::{NODE, ONE};

/// A pod that asks for its default route by net1.
pub const CHOSEN: &str = "chosen";

pub fn exactly_three(world: &World) -> Finding {
    let names = world.look(Pod(ONE))?.link_names();
    same(&names, &["lo", "eth0", "net1"].map(str::to_owned).to_vec())
}

pub fn macvlan_on_eth0(world: &World) -> Finding {
    let (pod, node) = (world.look(Pod(ONE))?, world.look(Host(NODE))?);
    let net1 = pod.link("net1")?;
    let parent = net1.peer.and_then(|index| node.name_of(index)).map(ToString::to_string).unwrap_or_default();
    let found = (net1.kind.as_str(), net1.macvlan_mode, parent.as_str(), net1.up);
    same(&found, &("macvlan", Some(MacvlanMode::Bridge), "eth0", true))
}

/// IPv4 takes the first of several default routes with the same metric: the order is what decides.
pub fn net1_in_front(world: &World) -> Finding {
    let found = world.look(Pod(ONE))?.defaults(Family::V4);
    let expected = ["default via 192.168.1.1 dev net1", "default via 169.254.1.1 dev eth0"];
    same(&found, &expected.map(str::to_owned).to_vec())
}

pub fn choose_default(world: &World) -> Finding {
    let networks = r#"[{"name": "macvlan-conf", "default-route": ["192.168.1.1"]}]"#;
    world.create_pod(CHOSEN, Some(networks), None)?;
    world.wait_running(&[CHOSEN])
}

pub fn only_requested_default(world: &World) -> Finding {
    let view = world.look(Pod(CHOSEN))?;
    let found = [view.defaults(Family::V4), view.defaults(Family::V6)].concat();
    same(&found, &vec!["default via 192.168.1.1 dev net1".to_owned()])
}

/// What a node of the lab has before any pod.
pub fn node_as_before(world: &World) -> Finding {
    super::super::eventually(super::super::world::PATIENCE, || {
        same(&world.look(Host(NODE))?.link_names(), &["lo", "eth0"].map(str::to_owned).to_vec())
    })
}

pub fn no_pod_routes(world: &World) -> Finding {
    let view = world.look(Host(NODE))?;
    let to_pods = view.routes().filter(|route| {
        route.link.as_ref().is_some_and(|link| link.as_str() != "eth0" && link.as_str() != "lo")
    });
    let found: Vec<String> = to_pods.map(ToString::to_string).collect();
    same(&found, &Vec::new())
}
