//! scenarios/multi-networkpolicy: what policies let through on a macvlan and on flannel, from a pod's first packet on.

mod connections;
mod edits;
mod first;
mod flood;
mod peers;

use serde_json::{Value, json};

use super::pools::IntoNet;
use super::world::{PATIENCE, Place::Pod, World};
use super::{Chapter, Fact, Finding, Story, eventually, packet};
use crate::shape::{Dual, Shape, Underlay};

use peers::{exactly, targets};

/// The story.
pub const STORY: Story = Story {
    name: "multi-networkpolicy",
    given: "",
    manifests: include_str!("../../../../scenarios/multi-networkpolicy/manifests.yaml"),
    nodes: 2,
    shape,
    chapters: &[
        Chapter { title: "The manifests: nothing is allowed in", act: first::start, facts: STARTED },
        Chapter { title: "web-in allows pods by label", act: by_label, facts: BY_LABEL },
        Chapter { title: "web-in allows a namespace", act: by_namespace, facts: BY_NAMESPACE },
        Chapter { title: "web-in allows blocks of addresses", act: by_block, facts: BY_BLOCK },
        Chapter { title: "web-in allows ports", act: by_port, facts: BY_PORT },
        Chapter { title: "friend-out restricts what gets out", act: outwards, facts: OUTWARDS },
        Chapter { title: "web-in is edited while packets flow", act: edits::edit, facts: EDITED },
        Chapter { title: "web-in tightens", act: connections::tighten, facts: TIGHTENED },
        Chapter { title: "A policy makes no sense", act: broken, facts: BROKEN },
        Chapter { title: "The policies go", act: remove, facts: REMOVED },
    ],
};

const WEB: &str = "web";
const FRIEND: &str = "friend";
const STRANGER: &str = "stranger";
/// Of the namespace that is allowed as a whole.
const GUEST: &str = "partners/guest";
/// In the block that is allowed.
const NEAR: &str = "near";
/// In the block, and in its exception.
const ODD: &str = "odd";
const OTHERS: [&str; 5] = [FRIEND, STRANGER, GUEST, NEAR, ODD];

const STARTED: &[Fact] = &[
    Fact {
        name: "not one of the packets sent since before its first moment got to web",
        check: first::nothing_came,
    },
    Fact { name: "nobody reaches web, by neither network and family", check: |w| exactly(w, |_, _| false) },
    Fact { name: "explain says so, and names the policy", check: peers::explained },
    Fact { name: "IPv6 neighbours find each other all the same", check: first::neighbours },
    Fact { name: "what web asks for is answered", check: |w| reaches_all(w, WEB, FRIEND) },
    Fact { name: "web's eth0 is nobody's business", check: eth0 },
    Fact { name: "pods that no policy selects are reached", check: |w| reaches_all(w, STRANGER, FRIEND) },
];
const BY_LABEL: &[Fact] = &[Fact {
    name: "friend and near reach web on both networks, nobody else does",
    check: |w| exactly(w, |who, _| [FRIEND, NEAR].contains(&who)),
}];
const BY_NAMESPACE: &[Fact] = &[Fact {
    name: "the namespace's pod reaches web on both networks, nobody else does",
    check: |w| exactly(w, |who, _| who == GUEST),
}];
const BY_BLOCK: &[Fact] = &[Fact {
    name: "who has an address in one of them gets through, who has one in the exception does not",
    check: |w| exactly(w, in_block),
}];
const BY_PORT: &[Fact] = &[
    Fact { name: "TCP port 8080 and UDP ports 5000 to 5010 are reached on both networks", check: open_ports },
    Fact { name: "ports beside them are not, nor do pings get through", check: closed_ports },
];
const OUTWARDS: &[Fact] = &[
    Fact { name: "friend reaches near on both networks", check: |w| reaches_all(w, FRIEND, NEAR) },
    Fact { name: "friend does not reach anybody else", check: |w| reaches_none(w, FRIEND, STRANGER) },
    Fact { name: "friend answers whoever asks", check: |w| reaches_all(w, STRANGER, FRIEND) },
];
const EDITED: &[Fact] = &[
    Fact { name: "nothing that was allowed all the time was lost", check: |_| edits::nothing_lost() },
    Fact { name: "nothing that was forbidden all the time got through", check: |_| edits::nothing_passed() },
    Fact { name: "the last edit is in force", check: |w| exactly(w, |who, _| [NEAR, ODD].contains(&who)) },
];
const TIGHTENED: &[Fact] = &[
    Fact { name: "the connection that is no longer allowed is cut", check: |_| connections::cut() },
    Fact { name: "the one that is still allowed goes on", check: |_| connections::goes_on() },
];
const BROKEN: &[Fact] = &[
    Fact { name: "an Event names the item", check: event },
    Fact { name: "the pod is isolated", check: |w| reaches_none(w, STRANGER, ODD) },
];
const REMOVED: &[Fact] = &[
    Fact { name: "everybody reaches web", check: |w| exactly(w, |_, _| true) },
    Fact { name: "everybody reaches the others", check: reaches_others },
    Fact { name: "no table of policies is left in any pod", check: peers::no_tables },
];

fn shape() -> Shape {
    let dual = |text: &str| Dual::parse(text).unwrap_or_else(|_| Shape::default().pods);
    Shape {
        underlays: vec![
            Underlay::of(([192, 168, 1, 0], 24).into_net()),
            Underlay::of(([192, 168, 10, 0], 24).into_net()),
        ],
        pods: dual("172.16.0.0/16,fd00:172:16::/48"),
        node_cidrs: Some(dual("10.233.64.0/18,fd00:10:233::/48")),
        flannel: Some(r#"{"Network": "10.233.0.0/16", "Backend": {"Type": "vxlan"}}"#.to_owned()),
        policies: true,
        ..Shape::default()
    }
}

fn path(policy: &str) -> String {
    format!("/apis/k8s.cni.cncf.io/v1beta1/namespaces/default/multi-networkpolicies/{policy}")
}

/// web-in's rules are these from now on.
fn allow(world: &World, ingress: &Value) -> Finding {
    world.merge(&path("web-in"), &json!({"spec": {"ingress": ingress}}))
}

/// One more policy for both networks, about pods of one role.
fn define(world: &World, name: &str, role: &str, rules: &Value) -> Finding {
    let mut spec = json!({"podSelector": {"matchLabels": {"role": role}}});
    for (key, value) in rules.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    let policy = json!({
        "apiVersion": "k8s.cni.cncf.io/v1beta1", "kind": "MultiNetworkPolicy",
        "metadata": {"name": name, "annotations": {"k8s.v1.cni.cncf.io/policy-for": "lan, flannel"}},
        "spec": spec,
    });
    world.apply(&policy.to_string())
}

fn role(role: &str) -> Value {
    json!({"podSelector": {"matchLabels": {"role": role}}})
}

fn by_label(world: &World) -> Finding {
    allow(world, &json!([{"from": [role(FRIEND), role(NEAR)]}]))
}

fn by_namespace(world: &World) -> Finding {
    // A selector of pods alone would mean pods of the policy's own namespace.
    allow(
        world,
        &json!([{"from": [{"namespaceSelector": {"matchLabels": {"team": "partner"}}}, role("guest")]}]),
    )
}

fn by_block(world: &World) -> Finding {
    let block = |cidr: &str, except: &[&str]| json!({"ipBlock": {"cidr": cidr, "except": except}});
    let from = [
        block("10.60.0.128/25", &["10.60.0.136/29"]),
        block("10.60.0.128/26", &["10.60.0.140/30", "10.60.0.144/28"]),
        block("fd60::/64", &["fd60::140/124", "fd60::20/123"]),
    ];
    allow(world, &json!([{"from": from}]))
}

/// 10.60.0.130 and fd60::130 are near's; 140 is odd's, in the exceptions of all; 21 to 23 are in none for IPv4, and in an exception for IPv6.
fn in_block(who: &str, to: std::net::IpAddr) -> bool {
    who == NEAR && peers::is_lan(to)
}

fn by_port(world: &World) -> Finding {
    let ports = [json!({"port": 8080}), json!({"protocol": "UDP", "port": 5000, "endPort": 5010})];
    allow(world, &json!([{"ports": ports}]))
}

fn open_ports(world: &World) -> Finding {
    for from in [STRANGER, GUEST] {
        let here = world.network(Pod(from))?;
        for to in targets(world, WEB)? {
            eventually(PATIENCE, || packet::http(&here, to, 8080))?;
            eventually(PATIENCE, || packet::udp(&here, to, 5005))?;
        }
    }
    Ok("by a pod on either node".to_owned())
}

fn closed_ports(world: &World) -> Finding {
    let here = world.network(Pod(STRANGER))?;
    for to in targets(world, WEB)? {
        packet::silence(&here, to)?;
        if let Ok(answer) = packet::http_soon(&here, to, 8081) {
            return Err(format!("{to} answers at port 8081: {answer}"));
        }
        if let Ok(answer) = packet::udp_soon(&here, to, 5011) {
            return Err(format!("{to} answers at UDP port 5011: {answer}"));
        }
    }
    Ok("TCP 8081, UDP 5011, ping".to_owned())
}

fn outwards(world: &World) -> Finding {
    define(world, "friend-out", FRIEND, &json!({"policyTypes": ["Egress"], "egress": [{"to": [role(NEAR)]}]}))
}

fn broken(world: &World) -> Finding {
    // Somebody gets through to odd before.
    reaches_all(world, STRANGER, ODD)?;
    let ports = [json!({"protocol": "UDP", "port": 6000, "endPort": 5000})];
    define(world, "odd-in", ODD, &json!({"ingress": [{"ports": ports}]}))
}

fn event(world: &World) -> Finding {
    eventually(PATIENCE, || {
        let events = world.events("odd-in", "PolicyRenderFailed")?;
        let told = events.into_iter().find(|message| message.contains("ingress[0].ports[0]"));
        told.ok_or_else(|| "no Event PolicyRenderFailed about odd-in".to_owned())
    })
}

fn remove(world: &World) -> Finding {
    for policy in ["web-in", "odd-in"] {
        world.remove(&path(policy))?;
    }
    Ok("both are deleted".to_owned())
}

fn eth0(world: &World) -> Finding {
    let to = world.look(Pod(WEB))?.address("eth0", polynic_net::Family::V4)?;
    let took = packet::ping(&world.network(Pod(STRANGER))?, None, to)?;
    Ok(format!("{to} answers in {} us", took.as_micros()))
}

/// All addresses of a pod answer another one, sooner or later: an edit may have to get through.
fn reaches_all(world: &World, from: &str, to: &str) -> Finding {
    let here = world.network(Pod(from))?;
    let all = targets(world, to)?;
    for ip in &all {
        eventually(PATIENCE, || packet::ping(&here, None, *ip).map(|_| String::new()))?;
    }
    Ok(format!("{all:?}"))
}

/// No address of a pod answers another one, sooner or later.
fn reaches_none(world: &World, from: &str, to: &str) -> Finding {
    let here = world.network(Pod(from))?;
    let all = targets(world, to)?;
    for ip in &all {
        eventually(PATIENCE, || packet::silence(&here, *ip))?;
    }
    Ok(format!("{all:?}"))
}

fn reaches_others(world: &World) -> Finding {
    reaches_all(world, FRIEND, STRANGER)?;
    reaches_all(world, STRANGER, ODD)
}
