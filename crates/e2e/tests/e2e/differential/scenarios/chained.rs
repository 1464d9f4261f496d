//! Chained plugins.

use serde_json::{Value, json};

use super::{DUAL, Scenario, V4, conf, host_local, routed, with};

pub(super) fn all() -> Vec<Scenario> {
    [tuning(), sbr(), portmap(), bandwidth(), firewall()].into_iter().flatten().collect()
}

fn bridge(subnets: &[&str]) -> Value {
    conf("bridge", json!({"bridge": "br5", "isGateway": true, "ipam": routed(subnets)}))
}

fn ptp(subnets: &[&str]) -> Value {
    conf("ptp", json!({"ipam": routed(subnets)}))
}

fn macvlan() -> Value {
    conf("macvlan", json!({"master": "eth0", "ipam": routed(&["192.168.1.0/24"])}))
}

/// Behind the first plugin of a chain.
fn second(plugin: &str, name: &str, first: Value, keys: Value) -> Scenario {
    Scenario::new(&format!("{plugin} {name}"), conf(plugin, keys)).behind(first)
}

fn tuning() -> Vec<Scenario> {
    let tuning = |name: &str, keys: Value| second("tuning", name, ptp(V4), keys);
    let sysctl = json!({"net.ipv4.conf.IFNAME.proxy_arp": "1", "net.ipv4.conf.IFNAME.arp_notify": "0"});
    let all =
        json!({"sysctl": sysctl, "mac": "02:00:00:00:00:12", "mtu": 1300, "promisc": true, "allmulti": true});
    vec![
        tuning("nothing", json!({})),
        tuning("sysctl", json!({ "sysctl": sysctl })),
        tuning("mac", json!({"mac": "02:00:00:00:00:11"})),
        tuning("mtu", json!({"mtu": 1400})),
        tuning("promiscuous", json!({"promisc": true})),
        tuning("all multicast", json!({"allmulti": true})),
        tuning("all at once", all),
        tuning(
            "mac of the runtime",
            json!({"mac": "02:00:00:00:00:13", "runtimeConfig": {"mac": "02:00:00:00:00:14"}}),
        ),
        tuning("mac in args", json!({"args": {"cni": {"mac": "02:00:00:00:00:15"}}})),
        tuning("mac argument", json!({})).env("CNI_ARGS", "IgnoreUnknown=1;MAC=02:00:00:00:00:16"),
        tuning("mtu in args", json!({"mtu": 1400, "args": {"cni": {"mtu": 1200}}})),
        tuning("setting of the machine", json!({"sysctl": {"kernel.panic": "1"}})),
        tuning("setting that is not there", json!({"sysctl": {"net.ipv4.conf.nolink.proxy_arp": "1"}})),
        tuning("mtu that cannot be", json!({"mtu": 10})),
        Scenario::new("tuning alone", conf("tuning", json!({"mtu": 1400}))),
        second("tuning", "macvlan", macvlan(), json!({"mtu": 1400, "promisc": true})),
    ]
}

fn sbr() -> Vec<Scenario> {
    let sbr = |name: &str, first: Value, keys: Value| second("sbr", name, first, keys);
    let address = json!({"address": "192.168.1.77/24", "gateway": "192.168.1.1"});
    let no_gateway = json!({"type": "static", "addresses": [{"address": "192.168.1.77/24"}],
        "routes": [{"dst": "10.1.0.0/16", "gw": "192.168.1.3"}]});
    let two =
        json!({"type": "static", "addresses": [address, {"address": "10.9.0.7/24", "gateway": "10.9.0.1"}]});
    let on = |ipam: Value| conf("macvlan", json!({"master": "eth0", "ipam": ipam}));
    vec![
        sbr("macvlan", macvlan(), json!({})),
        sbr("no gateway", on(no_gateway), json!({})),
        sbr("two addresses", on(two), json!({})),
        sbr("table", macvlan(), json!({"table": 222})),
        sbr("ptp", ptp(V4), json!({})),
        sbr("bridge", bridge(V4), json!({})),
        sbr("without addresses", conf("macvlan", json!({"master": "eth0"})), json!({})),
        Scenario::new("sbr alone", conf("sbr", json!({}))),
    ]
}

fn mapping(protocol: &str, host: u32, container: u32) -> Value {
    json!({"hostPort": host, "containerPort": container, "protocol": protocol})
}

fn at(ip: &str) -> Value {
    with(mapping("tcp", 8080, 80), json!({ "hostIP": ip }))
}

fn portmap() -> Vec<Scenario> {
    let portmap = |name: &str, subnets: &[&str], keys: Value, mappings: Value| {
        let keys = with(keys, json!({"runtimeConfig": {"portMappings": mappings}}));
        second("portmap", name, bridge(subnets), keys)
    };
    let one = || json!([mapping("tcp", 8080, 80)]);
    let many: Vec<Value> = (1..40).map(|port| mapping("tcp", 8000 + port, port)).collect();
    vec![
        portmap("tcp", V4, json!({}), one()),
        portmap("udp", V4, json!({}), json!([mapping("udp", 5353, 53)])),
        portmap("sctp", V4, json!({}), json!([mapping("sctp", 5353, 53)])),
        portmap("upper case", V4, json!({}), json!([mapping("TCP", 8080, 80)])),
        portmap("two protocols", V4, json!({}), json!([mapping("udp", 53, 53), mapping("tcp", 53, 53)])),
        portmap("many", V4, json!({}), json!(many)),
        portmap("dual stack", DUAL, json!({}), one()),
        portmap("address", V4, json!({}), json!([at("192.168.1.10")])),
        portmap("any address", V4, json!({}), json!([at("0.0.0.0")])),
        portmap("address of the other family", V4, json!({}), json!([at("fd00:1::10")])),
        portmap("addresses of both", DUAL, json!({}), json!([at("192.168.1.10"), at("fd00:1::10")])),
        portmap("every source", V4, json!({"masqAll": true}), one()),
        portmap("no sources", V4, json!({"snat": false}), one()),
        portmap("mark", V4, json!({"markMasqBit": 5}), one()),
        portmap("conditions", V4, json!({"conditionsV4": ["!", "-d", "192.0.2.0/24"]}), one()),
        portmap("none", V4, json!({}), json!([])),
        second("portmap", "no runtime", bridge(V4), json!({})),
        second("portmap", "ptp", ptp(V4), json!({"runtimeConfig": {"portMappings": one()}})),
        portmap("mark out of range", V4, json!({"markMasqBit": 32}), one()),
        portmap("two marks", V4, json!({"markMasqBit": 5, "externalSetMarkChain": "X"}), one()),
        portmap("host port 0", V4, json!({}), json!([mapping("tcp", 0, 80)])),
        portmap("no container port", V4, json!({}), json!([{"hostPort": 80, "protocol": "tcp"}])),
        portmap("type of a key", V4, json!({"snat": "yes"}), one()),
        Scenario::new("portmap alone", conf("portmap", json!({"runtimeConfig": {"portMappings": one()}}))),
    ]
}

fn bandwidth() -> Vec<Scenario> {
    let bandwidth = |name: &str, keys: Value| second("bandwidth", name, ptp(V4), keys);
    let ingress = json!({"ingressRate": 1_234_567, "ingressBurst": 76_543});
    let both = with(ingress.clone(), json!({"egressRate": 2_000_000, "egressBurst": 160_000}));
    let asked = json!({"runtimeConfig": {"bandwidth": both}});
    vec![
        bandwidth("ingress", ingress.clone()),
        bandwidth("egress", json!({"egressRate": 9_876_543, "egressBurst": 87_654})),
        bandwidth("both", both.clone()),
        bandwidth("fast", json!({"ingressRate": 100_000_000_000_u64, "ingressBurst": 2_000_000_000_u64})),
        bandwidth("slow", json!({"egressRate": 8_000, "egressBurst": 30_000_000})),
        bandwidth("of the runtime", asked.clone()),
        bandwidth("over the runtime", with(ingress.clone(), asked)),
        bandwidth("none", json!({})),
        bandwidth("zero", json!({"ingressRate": 0, "ingressBurst": 0})),
        bandwidth("rate without burst", json!({"ingressRate": 1000})),
        bandwidth("burst without rate", json!({"egressBurst": 1000})),
        bandwidth("burst too large", json!({"ingressRate": 1000, "ingressBurst": 34_359_738_368_u64})),
        bandwidth("type of a key", json!({"ingressRate": "fast"})),
        second("bandwidth", "bridge", bridge(V4), both.clone()),
        second("bandwidth", "small links", with(ptp(V4), json!({"mtu": 1300})), both.clone()),
        second("bandwidth", "macvlan", macvlan(), both),
        Scenario::new("bandwidth alone", conf("bandwidth", ingress)),
    ]
}

fn firewall() -> Vec<Scenario> {
    let firewall = |name: &str, keys: Value| second("firewall", name, bridge(V4), keys);
    let two = host_local(&["10.5.0.0/24", "10.6.0.0/24"]);
    vec![
        firewall("plain", json!({})),
        firewall("iptables", json!({"backend": "iptables"})),
        firewall("unknown backend", json!({"backend": "pf"})),
        firewall("admin chain", json!({"iptablesAdminChainName": "MINE"})),
        firewall("open", json!({"ingressPolicy": "open"})),
        firewall("same bridge", json!({"ingressPolicy": "same-bridge"})),
        firewall("unknown policy", json!({"ingressPolicy": "closed"})),
        firewall("type of a key", json!({"backend": 5})),
        second("firewall", "dual stack", bridge(DUAL), json!({})),
        second("firewall", "ptp", ptp(DUAL), json!({})),
        second("firewall", "macvlan", macvlan(), json!({"backend": "iptables"})),
        second("firewall", "without addresses", conf("bridge", json!({"bridge": "br5"})), json!({})),
        second("firewall", "two addresses", conf("bridge", json!({"bridge": "br5", "ipam": two})), json!({})),
        Scenario::new("firewall alone", conf("firewall", json!({}))),
    ]
}
