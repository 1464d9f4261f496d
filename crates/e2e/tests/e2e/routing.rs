//! router, veth and coordinator (spec/coordinator.md): who reaches whom on one node and from beyond it, and by which
//! interface replies leave.

mod agent;
mod odds;
mod site;

use polynic_e2e::{Call, Pod, run_in_vm, ways};
use serde_json::{Value, json};

use site::{ETH0_A, NET1_A, NET1_B, NET1_VF, NET2_A, NET2_B, NODE, Nic, OUTSIDE, OVERLAY, SERVICE, Site};

/// The overlay's addresses of the pod under test.
const OWN_OVERLAY: [&str; 2] = ["10.244.0.5", "fd00:244::5"];

/// A pod and what is expected of it.
struct Case {
    plugin: Value,
    overlay: bool,
    nics: Vec<Nic>,
    /// The interface of the default route.
    default: &'static str,
    /// An interface by which replies go that would have a better way: `router` gives the table of an interface in the middle no way to
    /// the overlay, and sends all that is for its network there (spec/coordinator.md 2.2, steps 5 and 6).
    detour: Option<&'static str>,
}

fn router() -> Value {
    json!({"type": "router", "overlay_hijack_subnet": ["10.244.0.0/16", "fd00:244::/48"],
        "service_hijack_subnet": ["10.233.0.0/18", "fd00:96::/112"]})
}

fn veth() -> Value {
    Value::Object(
        router().as_object().unwrap().clone().into_iter().chain([("type".into(), json!("veth"))]).collect(),
    )
}

fn coordinator(default_nic: &str) -> Value {
    json!({"type": "coordinator", "podDefaultRouteNic": default_nic})
}

fn case(plugin: Value, nics: &[Nic], default: &'static str) -> Case {
    let overlay = nics.iter().all(|n| n.name != "eth0");
    Case { plugin, overlay, nics: nics.to_vec(), default, detour: None }
}

/// Everybody reaches everybody, with reverse path filtering off, strict and loose.
fn holds(make: impl Fn() -> Case) {
    for rp_filter in [0, 1, 2] {
        let Some(site) = Site::new(rp_filter) else { return };
        Trial::new(&site, make()).run(&format!("rp_filter {rp_filter}"));
    }
}

struct Trial<'a> {
    site: &'a Site,
    case: Case,
    pod: Pod,
    calls: Vec<(Call, Value)>,
    failures: Vec<String>,
}

impl<'a> Trial<'a> {
    fn new(site: &'a Site, case: Case) -> Self {
        Self { site, case, pod: site.pod(), calls: Vec::new(), failures: Vec::new() }
    }

    /// The link that leads to the node.
    fn to_node(&self) -> &'static str {
        if self.case.overlay { "eth0" } else { "veth0" }
    }

    fn run(mut self, label: &str) {
        let node = self.site.node.state();
        if self.case.overlay {
            self.site.overlay(&self.pod, OWN_OVERLAY);
        }
        for nic in self.case.nics.clone() {
            let made = self.site.attach(&self.pod, nic, &self.case.plugin);
            self.calls.push(made);
        }
        self.site.police(&[OWN_OVERLAY, OVERLAY].concat());
        for (call, result) in &self.calls {
            assert_eq!(call.check(result).silent(), "", "{label}: CHECK of {}", call.conf);
        }
        // What the main plugin promised is looked for where the chained one has moved it.
        for (nic, (_, result)) in self.case.nics.iter().zip(&self.calls) {
            let checked = site::call(&self.pod, nic.name, self.site.conf(*nic)).check(result).silent();
            assert_eq!(checked, "", "{label}: CHECK of {}", nic.name);
        }
        for family in [0, 1] {
            self.pod_asks(family);
            self.pod_answers(family);
        }
        assert!(self.failures.is_empty(), "{label}:\n{}\n{:?}", self.failures.join("\n"), self.pod.state());
        for (call, _) in self.calls.iter().rev() {
            call.del();
            call.del();
        }
        for nic in self.case.nics.iter().rev() {
            site::call(&self.pod, nic.name, self.site.conf(*nic)).del();
        }
        let words = [
            "cali",
            "rule ",
            "forwarding",
            "rp_filter",
            "table inet polynic_calico_like",
            OWN_OVERLAY[0],
            OWN_OVERLAY[1],
        ];
        self.site.node.state().without(&words).assert_same(&node.without(&words), label);
    }

    fn expect(&mut self, what: String, outcome: Result<String, String>, link: &str) {
        match outcome {
            Ok(found) if found == link => {}
            Ok(found) => self.failures.push(format!("{what} by {found:?}, not {link:?}")),
            Err(why) => self.failures.push(format!("{what}: {why}")),
        }
    }

    fn pod_asks(&mut self, family: usize) {
        let (node, wire, other) =
            (self.site.node.netns(), &self.site.node.wire().netns, &self.site.other.netns);
        let there = |outcome: Result<polynic_e2e::Ways, String>| outcome.map(|w| w.there);
        let pod = &self.pod.netns;
        let found = [
            ("node", there(ways(pod, None, node, NODE[family])), self.to_node()),
            ("service", there(ways(pod, None, node, SERVICE[family])), self.to_node()),
            ("overlay pod", there(ways(pod, None, other, OVERLAY[family])), self.to_node()),
            ("outside", there(ways(pod, None, wire, OUTSIDE[family])), self.case.default),
        ];
        for (what, outcome, link) in found {
            self.expect(format!("pod to {what}, IPv{}", [4, 6][family]), outcome, link);
        }
    }

    fn pod_answers(&mut self, family: usize) {
        let mut targets: Vec<(&str, &str)> =
            self.case.nics.iter().map(|n| (n.name, n.addresses[family])).collect();
        if self.case.overlay {
            targets.push(("eth0", OWN_OVERLAY[family]));
        }
        for (nic, address) in targets {
            let (node, wire) = (self.site.node.netns(), &self.site.node.wire().netns);
            let (pod, other) = (&self.pod.netns, &self.site.other.netns);
            let back = |outcome: Result<polynic_e2e::Ways, String>| outcome.map(|w| w.back);
            let detour = self.case.detour;
            let inside = detour.filter(|by| *by == nic).unwrap_or(self.to_node());
            let lan = detour.filter(|_| nic == "eth0").unwrap_or(nic);
            let found = [
                ("LAN", back(ways(wire, None, pod, address)), lan),
                ("outside", back(ways(wire, Some(OUTSIDE[family]), pod, address)), nic),
                ("node", back(ways(node, None, pod, address)), self.to_node()),
                ("overlay pod", back(ways(other, None, pod, address)), inside),
            ];
            for (what, outcome, link) in found {
                self.expect(format!("{what} to {nic} {address}: reply"), outcome, link);
            }
        }
    }
}

/// The routes that the node has for a pod's other addresses are in tables of their own, which nobody else looks after, and the strict check of
/// sources goes by them.
#[test]
fn a_default_network_that_polices_its_links_disturbs_nobody() {
    for make in [
        || case(router(), &[NET1_A], "net1"),
        || Case { detour: Some("net1"), ..case(router(), &[NET1_A, NET2_B], "net2") },
        || case(coordinator(""), &[NET1_A, NET2_B], "eth0"),
        || case(coordinator("net1"), &[NET1_A], "net1"),
    ] {
        let Some(site) = Site::policed() else { return };
        Trial::new(&site, make()).run("policed");
    }
}

#[test]
fn router_with_one_interface() {
    holds(|| case(router(), &[NET1_A], "net1"));
}

#[test]
fn router_with_two_interfaces() {
    holds(|| Case { detour: Some("net1"), ..case(router(), &[NET1_A, NET2_B], "net2") });
}

#[test]
fn veth_with_one_interface() {
    holds(|| case(veth(), &[ETH0_A], "eth0"));
}

#[test]
fn veth_with_two_interfaces() {
    holds(|| case(veth(), &[ETH0_A, NET1_B], "eth0"));
}

#[test]
fn coordinator_on_the_overlay_with_the_default_route_there() {
    holds(|| case(coordinator(""), &[NET1_A, NET2_B], "eth0"));
}

#[test]
fn coordinator_on_the_overlay_with_the_default_route_elsewhere() {
    holds(|| case(coordinator("net1"), &[NET1_A], "net1"));
    holds(|| case(coordinator("net2"), &[NET1_A, NET2_B], "net2"));
}

#[test]
fn coordinator_on_the_overlay_with_two_interfaces_in_one_network() {
    holds(|| case(coordinator(""), &[NET1_A, NET2_A], "eth0"));
}

#[test]
fn coordinator_on_the_underlay_with_one_interface() {
    holds(|| case(coordinator(""), &[ETH0_A], "eth0"));
}

#[test]
fn coordinator_on_the_underlay_with_two_interfaces() {
    holds(|| case(coordinator(""), &[ETH0_A, NET1_B], "eth0"));
    holds(|| case(coordinator("net1"), &[ETH0_A, NET1_B], "net1"));
}

#[test]
fn coordinator_on_the_underlay_with_two_interfaces_in_one_network() {
    holds(|| case(coordinator(""), &[ETH0_A, NET1_A], "eth0"));
}

/// The chained plugins know nothing of functions: what holds for a macvlan holds for one.
#[test]
fn a_virtual_function_is_an_interface_like_any_other() {
    let cases = [
        case(router(), &[NET1_VF], "net1"),
        case(coordinator("net1"), &[NET1_VF], "net1"),
        case(coordinator(""), &[NET1_VF, NET2_B], "eth0"),
        case(veth(), &[ETH0_A, NET1_VF], "eth0"),
    ];
    for case in cases {
        let Some(mut site) = Site::new(0) else { return };
        if !site.insert_card() {
            return;
        }
        let label = case.plugin.to_string();
        Trial::new(&site, case).run(&label);
    }
}

#[test]
fn what_this_kernel_lacks_is_tested_in_one_that_has_it() {
    run_in_vm(&["routing::a_virtual_function"]);
}
