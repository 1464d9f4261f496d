//! scenarios/mac-and-conflict: MACs that follow from addresses, and addresses that somebody on the LAN has already.

use std::net::IpAddr;

use polynic_net::IpNet;
use serde_json::{Value, json};

use super::pools::{self, DEFAULT_POOLS, LAN, addresses};
use super::world::Place::{Host, Pod};
use super::world::World;
use super::{Chapter, Fact, Finding, Story, eventually, same};
use crate::registry::OUTSIDE;

/// The story.
pub const STORY: Story = Story {
    name: "mac-and-conflict",
    given: DEFAULT_POOLS,
    manifests: include_str!("../../../../scenarios/mac-and-conflict/manifests.yaml"),
    nodes: 1,
    shape: pools::shape,
    chapters: &[
        Chapter { title: "The manifests, unchanged", act: apply, facts: STARTED },
        Chapter { title: "The pod again, under the same name", act: again, facts: AGAIN },
        Chapter { title: "A prefix that is none", act: bad_prefix, facts: BAD_PREFIX },
        Chapter { title: "A host on the LAN has the IPv4 address", act: taken_v4, facts: TAKEN_V4 },
        Chapter { title: "The host gives it up", act: free_v4, facts: FREE },
        Chapter { title: "A host on the LAN has the IPv6 address", act: taken_v6, facts: TAKEN_V6 },
    ],
};

const POD: &str = "fixed-mac";
const V4: &str = "172.18.40.250";
const V6: &str = "fc00:f853:ccd:e793::2500";

/// Pools of one address each, for whoever asks for them by name.
const ONE_EACH: &str = "
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderIPPool
metadata: {name: one-v4}
spec: {ipVersion: 4, subnet: 172.18.0.0/16, gateway: 172.18.0.1, ips: [172.18.40.250]}
---
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderIPPool
metadata: {name: one-v6}
spec: {ipVersion: 6, subnet: 'fc00:f853:ccd:e793::/64', gateway: 'fc00:f853:ccd:e793::1', ips: ['fc00:f853:ccd:e793::2500']}
";

const STARTED: &[Fact] = &[
    Fact { name: "net1's MAC is the prefix and the IPv4 address", check: mac_follows },
    Fact { name: "network-status shows it", check: status_shows },
    Fact { name: "explain says of each ping what it does", check: explained },
];
const AGAIN: &[Fact] = &[Fact { name: "the same address has the same MAC", check: mac_follows }];
const BAD_PREFIX: &[Fact] = &[
    Fact { name: "the Event names the key", check: prefix_told },
    Fact { name: "no address stays held", check: bad_prefix_holds_nothing },
];
const TAKEN_V4: &[Fact] = &[
    Fact { name: "the Event names the address and the MAC that answered", check: told_v4 },
    Fact { name: "the address is released", check: released_v4 },
];
const FREE: &[Fact] = &[Fact { name: "the same pod starts with the address", check: started_v4 }];
const TAKEN_V6: &[Fact] = &[
    Fact { name: "the Event names the address and the MAC that answered", check: told_v6 },
    Fact { name: "the address is released", check: released_v6 },
];

fn apply(world: &World) -> Finding {
    world.apply(DEFAULT_POOLS)?;
    world.apply(ONE_EACH)?;
    let applied = world.apply(STORY.manifests)?;
    world.wait_running(&[POD])?;
    Ok(applied)
}

fn again(world: &World) -> Finding {
    world.delete(&[POD])?;
    world.apply(STORY.manifests)?;
    world.wait_running(&[POD])
}

/// `0a:1b` and the four bytes of the address.
fn expected_mac(world: &World, pod: &str) -> Result<String, String> {
    let IpAddr::V4(address) = addresses(world, pod, "net1")?[0] else {
        return Err("no IPv4 address".to_owned());
    };
    let [a, b, c, d] = address.octets();
    Ok(format!("0a:1b:{a:02x}:{b:02x}:{c:02x}:{d:02x}"))
}

fn mac_follows(world: &World) -> Finding {
    same(&world.look(Pod(POD))?.mac("net1")?, &expected_mac(world, POD)?)
}

fn status_shows(world: &World) -> Finding {
    let (_, rows) = world.network_status(POD)?;
    let row = rows.iter().find(|row| row["interface"] == "net1").ok_or("no row for net1")?;
    same(&row["mac"], &Value::String(expected_mac(world, POD)?))
}

/// The story's network with other keys of its `router`.
fn define_like(world: &World, name: &str, key: &str, value: Value) -> Finding {
    let path =
        "/apis/k8s.cni.cncf.io/v1/namespaces/kube-system/network-attachment-definitions/macvlan-fixed-mac";
    let text = world.get(path)?["spec"]["config"].as_str().unwrap_or_default().to_owned();
    let mut config: Value = serde_json::from_str(&text).map_err(|why| why.to_string())?;
    config["name"] = json!(name);
    config["plugins"][1][key] = value;
    world.define_network(name, &config)
}

fn bad_prefix(world: &World) -> Finding {
    define_like(world, "bad-prefix", "mac_prefix", json!("0a1b"))?;
    world.create_pod("bad-prefix", Some("bad-prefix"), None)
}

/// Waits for an Event of a pod that says all of this.
fn told(world: &World, pod: &str, words: &[&str]) -> Finding {
    eventually(super::world::PATIENCE, || {
        let events = world.events(pod, "FailedCreatePodSandBox")?;
        let whole = events.iter().find(|event| words.iter().all(|word| event.contains(word)));
        whole.cloned().ok_or_else(|| format!("no Event says {words:?}: {events:?}"))
    })
}

fn prefix_told(world: &World) -> Finding {
    told(world, "bad-prefix", &["mac_prefix", "0a1b"])
}

fn bad_prefix_holds_nothing(world: &World) -> Finding {
    world.delete(&["bad-prefix"])?;
    holds(world, "default-v4-ippool", 1)
}

fn holds(world: &World, pool: &str, count: u64) -> Finding {
    eventually(super::world::PATIENCE, || same(&pools::allocated(world, pool)?, &count))
}

/// A pod on the story's network with an address of these pools.
fn ask_for(world: &World, pod: &str, v4: &str, v6: &str) -> Finding {
    let wanted = json!({"interface": "net1", "ipv4": [v4], "ipv6": [v6]});
    let object = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": pod, "annotations": {
            "k8s.v1.cni.cncf.io/networks": "kube-system/macvlan-fixed-mac",
            "ipam.spidernet.io/ippools": json!([wanted]).to_string(),
        }},
        "spec": {"containers": [{"name": "c", "image": "alpine"}]},
    });
    world.apply(&object.to_string())
}

fn on_lan(address: &str) -> Result<IpNet, String> {
    let length = if address.contains(':') { 64 } else { 16 };
    format!("{address}/{length}").parse().map_err(|why| format!("{address}: {why}"))
}

fn taken_v4(world: &World) -> Finding {
    world.add_address(LAN, on_lan(V4)?)?;
    ask_for(world, "taken-v4", "one-v4", "default-v6-ippool")
}

fn lan_mac(world: &World) -> Result<String, String> {
    world.look(super::world::Place::Host(LAN))?.mac("eth0")
}

fn told_v4(world: &World) -> Finding {
    told(world, "taken-v4", &[V4, &lan_mac(world)?])
}

fn released_v4(world: &World) -> Finding {
    holds(world, "one-v4", 0)
}

fn free_v4(world: &World) -> Finding {
    world.remove_address(LAN, on_lan(V4)?)
}

fn explained(world: &World) -> Finding {
    let [v4, v6] = addresses(world, POD, "net1")?;
    let lan = world.host_addresses(LAN)?;
    let pairs =
        [(Pod(POD), lan[0]), (Pod(POD), lan[1]), (Host(LAN), v4), (Host(OUTSIDE), v4), (Host(OUTSIDE), v6)];
    super::explained::agrees(world, &pairs)
}

fn started_v4(world: &World) -> Finding {
    world.wait_running(&["taken-v4"])?;
    same(&addresses(world, "taken-v4", "net1")?[0].to_string().as_str(), &V4)
}

fn taken_v6(world: &World) -> Finding {
    world.add_address(LAN, on_lan(V6)?)?;
    // Until the host's own detection is over, neither of two that ask at once may keep the address.
    eventually(super::world::PATIENCE, || {
        let view = world.look(super::world::Place::Host(LAN))?;
        let own = view.addresses("eth0", polynic_net::Family::V6);
        match own.iter().any(|address| address.tentative) {
            true => Err("the address of the host is still tentative".to_owned()),
            false => Ok("the host has its address".to_owned()),
        }
    })?;
    ask_for(world, "taken-v6", "default-v4-ippool", "one-v6")
}

fn told_v6(world: &World) -> Finding {
    told(world, "taken-v6", &[V6, &lan_mac(world)?])
}

fn released_v6(world: &World) -> Finding {
    holds(world, "one-v6", 0)
}
