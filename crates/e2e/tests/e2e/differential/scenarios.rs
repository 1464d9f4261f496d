//! What both sides are asked to do.

mod chained;
mod devices;
mod lacking;

use polynic_e2e::{Call, Node, Pod};
use serde_json::{Value, json};

/// One input.
pub(super) struct Scenario {
    pub(super) name: String,
    /// The plugin before it in a chain, whose result it is given.
    first: Option<Value>,
    conf: Value,
    env: Vec<(&'static str, &'static str)>,
    /// Commands of `ip` on the node and in the pod before.
    node: &'static str,
    pod: &'static str,
}

impl Scenario {
    fn new(name: &str, conf: Value) -> Self {
        Self { name: name.to_owned(), first: None, conf, env: Vec::new(), node: "", pod: "" }
    }

    fn behind(self, first: Value) -> Self {
        Self { first: Some(first), ..self }
    }

    fn env(mut self, name: &'static str, value: &'static str) -> Self {
        self.env.push((name, value));
        self
    }

    fn on_node(self, node: &'static str) -> Self {
        Self { node, ..self }
    }

    fn in_pod(self, pod: &'static str) -> Self {
        Self { pod, ..self }
    }

    pub(super) fn prepare(&self, node: &Node, pod: &Pod) {
        if !self.node.is_empty() {
            node.ip(self.node);
        }
        if !self.pod.is_empty() {
            pod.ip(self.pod);
        }
    }

    /// The call of the plugin before it.
    pub(super) fn first(&self, node: &Node, pod: &Pod) -> Option<Call> {
        self.first.as_ref().map(|conf| Call::new(pod, placed(conf, node)))
    }

    pub(super) fn call(&self, node: &Node, pod: &Pod) -> Call {
        let call = Call::new(pod, placed(&self.conf, node));
        self.env.iter().fold(call, |call, (name, value)| call.with(name, value))
    }
}

/// A configuration with the node's directory where it says `DIR`.
fn placed(conf: &Value, node: &Node) -> Value {
    serde_json::from_str(&conf.to_string().replace("DIR", node.directory())).unwrap()
}

fn with(mut conf: Value, keys: Value) -> Value {
    for (key, value) in keys.as_object().unwrap() {
        conf[key] = value.clone();
    }
    conf
}

fn host_local(subnets: &[&str]) -> Value {
    let ranges: Vec<Value> = subnets.iter().map(|s| json!([{ "subnet": s }])).collect();
    json!({"type": "host-local", "dataDir": "DIR", "ranges": ranges})
}

fn routed(subnets: &[&str]) -> Value {
    let destinations = subnets.iter().map(|s| if s.contains(':') { "::/0" } else { "0.0.0.0/0" });
    let routes: Vec<Value> = destinations.map(|dst| json!({ "dst": dst })).collect();
    with(host_local(subnets), json!({ "routes": routes }))
}

fn conf(plugin: &str, keys: Value) -> Value {
    with(json!({"cniVersion": "1.0.0", "name": "net", "type": plugin}), keys)
}

const V4: &[&str] = &["10.5.0.0/24"];
const DUAL: &[&str] = &["10.5.0.0/24", "fd00:5::/64"];

pub(super) fn all() -> Vec<Scenario> {
    let mains = [macvlan(), bridge(), ptp(), loopback(), devices::all(), ipam(), versions(), mistakes()];
    mains.into_iter().chain([chained::all()]).flatten().collect()
}

/// Those with links that not every kernel has.
pub(super) fn of_lacking_kinds() -> Vec<Scenario> {
    lacking::all()
}

fn macvlan() -> Vec<Scenario> {
    let macvlan = |name: &str, keys: Value| {
        let base = conf("macvlan", json!({"master": "eth0", "ipam": routed(&["192.168.1.0/24"])}));
        Scenario::new(&format!("macvlan {name}"), with(base, keys))
    };
    let dns = json!({"nameservers": ["10.0.0.53"], "search": ["a.example"]});
    vec![
        macvlan("default mode", json!({})),
        macvlan("private", json!({"mode": "private"})),
        macvlan("vepa", json!({"mode": "vepa"})),
        macvlan("passthru", json!({"mode": "passthru"})),
        macvlan("mtu", json!({"mtu": 1400})),
        macvlan("default master", json!({"master": ""})),
        macvlan("without ipam", json!({"ipam": {}})),
        macvlan("ipam absent", json!({"ipam": null})),
        macvlan("dual stack", json!({"ipam": routed(&["192.168.1.0/24", "fd00:1::/64"])})),
        macvlan("dns", json!({"dns": dns})),
        macvlan("key case", json!({"MASTER": "eth0", "MTU": 1300})),
        macvlan("mac key", json!({"mac": "02:00:00:00:00:01"})),
        macvlan("mac argument", json!({})).env("CNI_ARGS", "IgnoreUnknown=1;MAC=02:00:00:00:00:02"),
        macvlan("parent in pod", json!({"linkInContainer": true, "master": "up0", "ipam": {}}))
            .in_pod("link add up0 type veth peer name up1\nlink set up0 up\nlink set up1 up"),
        macvlan(
            "routes",
            json!({"ipam": with(host_local(&["192.168.1.0/24"]), json!({"routes": [
            {"dst": "10.1.0.0/16", "gw": "192.168.1.3"}, {"dst": "10.2.0.0/16"}, {"dst": "0.0.0.0/0"}]}))}),
        ),
    ]
}

fn bridge() -> Vec<Scenario> {
    let bridge = |name: &str, keys: Value| {
        let base = conf("bridge", json!({"bridge": "br5", "ipam": host_local(V4)}));
        Scenario::new(&format!("bridge {name}"), with(base, keys))
    };
    let other = "link add br5 type bridge\naddress add 10.99.0.1/24 dev br5\nlink set br5 up";
    vec![
        bridge("plain", json!({})),
        bridge("default name", json!({"bridge": null})),
        bridge("gateway", json!({"isGateway": true})),
        bridge("default gateway", json!({"isDefaultGateway": true})),
        bridge("default gateway, dual stack", json!({"isDefaultGateway": true, "ipam": host_local(DUAL)})),
        bridge("default gateway with own route", json!({"isDefaultGateway": true, "ipam": routed(V4)})),
        bridge("mtu", json!({"mtu": 1400, "isGateway": true})),
        bridge("hairpin", json!({"hairpinMode": true})),
        bridge("promiscuous", json!({"promiscMode": true})),
        bridge("without ipam", json!({"ipam": {}})),
        bridge("masquerade", json!({"isDefaultGateway": true, "ipMasq": true})),
        bridge("spoof check", json!({"macspoofchk": true})),
        bridge("mac in args", json!({"args": {"cni": {"mac": "02:00:00:00:00:03"}}})),
        bridge("mac of the runtime", json!({"runtimeConfig": {"mac": "02:00:00:00:00:04"}})),
        bridge("existing bridge", json!({"isGateway": true}))
            .on_node("link add br5 type bridge\nlink set br5 mtu 1420"),
        bridge("foreign address", json!({"isGateway": true})).on_node(other),
        bridge("forced address", json!({"isGateway": true, "forceAddress": true})).on_node(other),
        bridge("name of another link", json!({"bridge": "eth0"})),
        bridge(
            "dns of ipam",
            json!({"ipam": {"type": "static", "addresses": [{"address": "10.5.0.9/24"}], "dns": {"nameservers": ["10.0.0.1"]}}}),
        ),
    ]
}

fn ptp() -> Vec<Scenario> {
    let ptp = |name: &str, keys: Value| {
        Scenario::new(&format!("ptp {name}"), with(conf("ptp", json!({"ipam": routed(V4)})), keys))
    };
    vec![
        ptp("plain", json!({})),
        ptp("dual stack", json!({"ipam": routed(DUAL)})),
        ptp("mtu", json!({"mtu": 1400})),
        ptp("masquerade", json!({"ipMasq": true})),
        ptp("dns", json!({"dns": {"nameservers": ["10.0.0.53"]}})),
        ptp("without ipam", json!({"ipam": {}})),
    ]
}

fn loopback() -> Vec<Scenario> {
    let loopback =
        |name: &str, keys: Value| Scenario::new(&format!("loopback {name}"), conf("loopback", keys));
    vec![
        loopback("plain", json!({})),
        loopback("0.2.0", json!({"cniVersion": "0.2.0"})),
        loopback("foreign address", json!({})).in_pod("address add 10.0.0.1/32 dev lo"),
        loopback(
            "previous result",
            json!({"prevResult": {"cniVersion": "1.0.0", "interfaces": [{"name": "eth0"}]}}),
        ),
    ]
}

fn ipam() -> Vec<Scenario> {
    let local = |name: &str, keys: Value| {
        let ipam = with(host_local(V4), keys);
        Scenario::new(&format!("host-local {name}"), conf("host-local", json!({ "ipam": ipam })))
    };
    let fixed = |name: &str, ipam: Value| {
        let ipam = with(ipam, json!({"type": "static"}));
        Scenario::new(&format!("static {name}"), conf("static", json!({ "ipam": ipam })))
    };
    let two = json!([{"address": "10.1.0.2/24", "gateway": "10.1.0.1"}, {"address": "fd00::2/64"}]);
    vec![
        local("two sets", json!({"ranges": [[{"subnet": "10.5.0.0/24"}], [{"subnet": "fd00:5::/120"}]]})),
        local(
            "two ranges",
            json!({"ranges": [[{"subnet": "10.5.0.0/24", "rangeStart": "10.5.0.9", "rangeEnd": "10.5.0.9", "gateway": "10.5.0.254"}, {"subnet": "10.6.0.0/24"}]]}),
        ),
        local(
            "old keys",
            json!({"ranges": null, "subnet": "10.7.0.0/24", "rangeStart": "10.7.0.20", "gateway": "10.7.0.9"}),
        ),
        local("requested", json!({})).env("CNI_ARGS", "IP=10.5.0.77"),
        local("requested gateway", json!({})).env("CNI_ARGS", "IP=10.5.0.1"),
        local("requested elsewhere", json!({})).env("CNI_ARGS", "IP=10.9.0.1"),
        local("host bits", json!({"ranges": [[{"subnet": "10.5.0.1/24"}]]})),
        local("too small", json!({"ranges": [[{"subnet": "10.5.0.0/31"}]]})),
        local("overlap", json!({"ranges": [[{"subnet": "10.5.0.0/24"}], [{"subnet": "10.5.0.0/25"}]]})),
        local("mixed families", json!({"ranges": [[{"subnet": "10.5.0.0/24"}, {"subnet": "fd00::/64"}]]})),
        local("start outside", json!({"ranges": [[{"subnet": "10.5.0.0/24", "rangeStart": "10.6.0.1"}]]})),
        local("no ranges", json!({"ranges": []})),
        fixed("two", json!({"addresses": two, "routes": [{"dst": "0.0.0.0/0"}], "dns": {"domain": "x"}})),
        fixed("none", json!({})),
        fixed("no prefix", json!({"addresses": [{"address": "10.1.0.2"}]})),
        fixed("arguments", json!({"addresses": two})).env("CNI_ARGS", "IP=10.1.0.9/24;GATEWAY=10.1.0.254"),
        fixed("bad gateway", json!({"addresses": two})).env("CNI_ARGS", "GATEWAY=x"),
    ]
}

/// The letter of results in each version that the reference knows.
fn versions() -> Vec<Scenario> {
    let ipam = json!({"type": "static", "addresses": [{"address": "10.5.0.9/24", "gateway": "10.5.0.1"}],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.8.0.0/16", "gw": "10.5.0.3"}], "dns": {"nameservers": ["10.0.0.1"]}});
    let versions = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0"];
    let of = |version: &&str| {
        ["ptp", "static", "bridge"].map(|plugin| {
            let mut conf = conf(plugin, json!({"cniVersion": version, "ipam": ipam}));
            // The bridge of those days dropped it, which a scenario of its own shows.
            if plugin == "bridge" {
                conf["ipam"]["dns"] = Value::Null;
            }
            Scenario::new(&format!("{plugin} in {version}"), conf)
        })
    };
    versions.iter().flat_map(of).collect()
}

fn mistakes() -> Vec<Scenario> {
    let macvlan = |name: &str, keys: Value| {
        let base = conf("macvlan", json!({"master": "eth0", "ipam": host_local(&["192.168.1.0/24"])}));
        Scenario::new(&format!("mistake {name}"), with(base, keys))
    };
    vec![
        macvlan("no such master", json!({"master": "nope"})),
        macvlan("mode", json!({"mode": "fast"})),
        macvlan("mtu", json!({"mtu": 9000})),
        macvlan("type of a key", json!({"mtu": "big"})),
        macvlan("mac", json!({"mac": "nonsense"})),
        macvlan("network name", json!({"name": "a b"})),
        macvlan("version", json!({"cniVersion": "7.0.0"})),
        macvlan("no such ipam", json!({"ipam": {"type": "no-such-plugin"}})),
        macvlan("interface name", json!({})).env("CNI_IFNAME", "much-too-long-name"),
        macvlan("arguments", json!({})).env("CNI_ARGS", "A=B"),
        macvlan("pair", json!({})).env("CNI_ARGS", "A"),
        macvlan("namespace", json!({})).env("CNI_NETNS", "/no/such/netns"),
        macvlan("container id", json!({})).env("CNI_CONTAINERID", "a/b"),
        macvlan("name taken", json!({})).in_pod("link add net1 type veth peer name other"),
        Scenario::new(
            "mistake bridge modes",
            conf("bridge", json!({"hairpinMode": true, "promiscMode": true})),
        ),
        Scenario::new("mistake bridge vlan", conf("bridge", json!({"vlan": 5000}))),
    ]
}
