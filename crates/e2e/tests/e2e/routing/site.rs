//! A node in two networks with a router beyond, an overlay pod, and pods with interfaces of all kinds.

use polynic_e2e::{Call, Node, Pod};
use polynic_kernel::netns::Netns;
use serde_json::{Value, json};

use super::agent;
use crate::card::Card;

/// The node's address, a service on it, the other overlay pod, a host beyond the router: IPv4 and IPv6.
pub(super) const NODE: [&str; 2] = ["192.168.1.10", "fd00:1::10"];
pub(super) const SERVICE: [&str; 2] = ["10.233.0.1", "fd00:96::1"];
pub(super) const OVERLAY: [&str; 2] = ["10.244.0.77", "fd00:244::77"];
pub(super) const OUTSIDE: [&str; 2] = ["198.51.100.7", "2001:db8::7"];

/// A function of the node's card, see [`Site::insert_card`]: the card and its functions' link are filled in there.
pub(super) const NET1_VF: Nic = Nic { name: "net1", master: "vf2", addresses: ["10.66.0.71", "fd00:66::71"] };

pub(super) struct Site {
    pub(super) node: Node,
    /// What `vf2` is a function of.
    pub(super) card: Option<Card>,
    /// Another pod of the overlay.
    pub(super) other: Pod,
    rp_filter: u8,
    /// The default network polices its links, as Calico's agent does (spec/calico-like-default-network.md 3).
    polices: bool,
}

/// A further interface of a pod.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nic {
    pub(super) name: &'static str,
    pub(super) master: &'static str,
    pub(super) addresses: [&'static str; 2],
}

pub(super) const ETH0_A: Nic =
    Nic { name: "eth0", master: "eth0", addresses: ["192.168.1.60", "fd00:1::60"] };
pub(super) const NET1_A: Nic =
    Nic { name: "net1", master: "eth0", addresses: ["192.168.1.61", "fd00:1::61"] };
pub(super) const NET2_A: Nic =
    Nic { name: "net2", master: "eth0", addresses: ["192.168.1.62", "fd00:1::62"] };
pub(super) const NET1_B: Nic = Nic { name: "net1", master: "eth1", addresses: ["10.66.0.61", "fd00:66::61"] };
pub(super) const NET2_B: Nic = Nic { name: "net2", master: "eth1", addresses: ["10.66.0.62", "fd00:66::62"] };

impl Nic {
    fn gateways(&self) -> [&'static str; 2] {
        match self.master {
            "eth0" => ["192.168.1.1", "fd00:1::1"],
            _ => ["10.66.0.1", "fd00:66::1"],
        }
    }

    /// A macvlan with both families and default routes.
    pub(super) fn conf(&self) -> Value {
        let [v4, v6] = self.addresses;
        let [gw4, gw6] = self.gateways();
        let length = if self.master == "eth0" { 24 } else { 16 };
        json!({"cniVersion": "1.0.0", "name": format!("lan-{}", self.name), "type": "macvlan", "master": self.master,
            "ipam": {"type": "static", "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}], "addresses": [
                {"address": format!("{v4}/{length}"), "gateway": gw4}, {"address": format!("{v6}/64"), "gateway": gw6}]}})
    }
}

impl Site {
    pub(super) fn new(rp_filter: u8) -> Option<Self> {
        Self::with(rp_filter, false)
    }

    /// A node whose default network drops what fails a strict check of its source, and removes routes by its links that it did not make.
    pub(super) fn policed() -> Option<Self> {
        Self::with(0, true)
    }

    fn with(rp_filter: u8, polices: bool) -> Option<Self> {
        let node = Node::new()?;
        agent::start();
        let wire = node.wire().path.trim_start_matches("/run/netns/").to_owned();
        node.ip(&format!(
            "link add eth1 type veth peer name wireb netns {wire}
             address add 10.66.0.2/16 dev eth1
             address add fd00:66::2/64 dev eth1 nodad
             link set eth1 up
             address add {}/32 dev lo
             address add {}/128 dev lo",
            SERVICE[0], SERVICE[1]
        ));
        node.wire().ip("address add 10.66.0.1/16 dev wireb
             address add fd00:66::1/64 dev wireb nodad
             link set wireb up
             route add 10.244.0.0/16 via 192.168.1.10
             route add fd00:244::/48 via fd00:1::10");
        // New links have their link-local address at once: neighbour discovery asks from it.
        set(node.netns(), &["net/ipv6/conf/default/accept_dad", "net/ipv6/conf/all/accept_dad"], "0");
        let forwarding = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"];
        set(node.netns(), &forwarding, "1");
        set(&node.wire().netns, &forwarding, "1");
        let mut filters = Vec::new();
        for link in ["all", "default", "eth0", "eth1"] {
            filters.push(format!("net/ipv4/conf/{link}/rp_filter"));
        }
        let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
        set(node.netns(), &filters, &rp_filter.to_string());
        let other = Pod::new();
        let site = Self { node, card: None, other, rp_filter, polices };
        site.prepare(&site.other);
        site.overlay(&site.other, OVERLAY);
        Some(site)
    }

    /// Adds a card, whose function's link `vf2` is in the network of `eth1`. False: this kernel has no such cards.
    pub(super) fn insert_card(&mut self) -> bool {
        let wire = self.node.wire().path.trim_start_matches("/run/netns/").to_owned();
        self.node.ip(&format!("link add vf2 type veth peer name wirev netns {wire}"));
        self.node.wire().ip("address flush dev wireb
             link add lan type bridge
             link set wireb master lan
             link set wirev master lan
             address add 10.66.0.1/16 dev lan
             address add fd00:66::1/64 dev lan nodad
             link set wirev up
             link set lan up");
        self.card = Card::insert(&self.node, "vf2");
        self.card.is_some()
    }

    /// The configuration of an interface: a macvlan, or the card's function.
    pub(super) fn conf(&self, nic: Nic) -> Value {
        let mut conf = nic.conf();
        if let Some(card) = self.card.as_ref().filter(|_| nic.master == "vf2") {
            (conf["type"], conf["deviceID"]) = (json!("sriov"), json!(card.vf));
        }
        conf
    }

    /// A pod's namespace with the node's reverse path filtering, in which addresses are of use at once.
    pub(super) fn pod(&self) -> Pod {
        let pod = Pod::new();
        self.prepare(&pod);
        pod
    }

    fn prepare(&self, pod: &Pod) {
        let value = self.rp_filter.to_string();
        set(&pod.netns, &["net/ipv4/conf/all/rp_filter", "net/ipv4/conf/default/rp_filter"], &value);
        set(&pod.netns, &["net/ipv6/conf/default/accept_dad", "net/ipv6/conf/all/accept_dad"], "0");
        pod.ip("link set lo up");
    }

    /// Attaches the overlay's interface `eth0`.
    pub(super) fn overlay(&self, pod: &Pod, addresses: [&str; 2]) {
        let [v4, v6] = addresses;
        let conf = json!({"cniVersion": "1.0.0", "name": "overlay", "type": "calico-like", "mtu": 1450,
            "strictReversePath": self.polices, "ipam": {"type": "static", "addresses": [{"address": format!("{v4}/32")}, {"address": format!("{v6}/128")}]}});
        call(pod, "eth0", conf).add();
    }

    /// The default network's agent looks at the main table: routes by its links that are not its own go.
    pub(super) fn police(&self, own: &[&str]) {
        if !self.polices {
            return;
        }
        for family in ["4", "6"] {
            for route in self.node.state().starting(&format!("route {family} ")) {
                let words: Vec<&str> = route.split_whitespace().collect();
                let after =
                    |word: &str| words.iter().position(|w| *w == word).and_then(|at| words.get(at + 1));
                let (to, by) = (words[2], after("dev").filter(|link| link.starts_with("cali")));
                let is_own = own.contains(&to) || to.starts_with("fe80") || to.starts_with("ff");
                if let (Some(link), None, false) = (by, after("table"), is_own) {
                    self.node.ip(&format!("-{family} route del {to} dev {link}"));
                }
            }
        }
    }

    /// Attaches a macvlan and calls the plugin after it; answers that call, with what the macvlan answered as prevResult.
    pub(super) fn attach(&self, pod: &Pod, nic: Nic, plugin: &Value) -> (Call, Value) {
        let prev = call(pod, nic.name, self.conf(nic)).add();
        let mut conf = plugin.clone();
        conf["cniVersion"] = json!("1.0.0");
        conf["name"] = json!(format!("lan-{}", nic.name));
        conf["prevResult"] = prev;
        let call = call(pod, nic.name, conf);
        let result = call.add();
        (call, result)
    }
}

pub(super) fn call(pod: &Pod, ifname: &str, conf: Value) -> Call {
    let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={}", pod.id);
    Call::new(pod, conf).with("CNI_IFNAME", ifname).with("CNI_ARGS", &args)
}

pub(super) fn set<P: 'static>(netns: &Netns<P>, keys: &[&str], value: &str) {
    let keys: Vec<String> = keys.iter().map(|k| format!("/proc/sys/{k}")).collect();
    let value = value.to_owned();
    netns.run(move || keys.iter().for_each(|key| std::fs::write(key, &value).unwrap())).unwrap();
}
