//! Which kernel objects make up the wires. Pure: the order and content can be read and tested without a kernel.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use polynic_net::{Address, Attr, Change, IfName, Link, LinkKind, Mac, Place, Plan, Route, SysctlKey, Veth};

use super::{Layout, Node, On, link_name, nic_name};
use crate::error::{Error, Result};
use crate::shape::Host;

/// Whose namespace the far end of a stage is. The near end, [`Place::Host`], is always the namespace of the switches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Site {
    /// The switches alone.
    Switches,
    /// A node.
    Node(Node),
    /// The router.
    Router,
    /// Another host, by name.
    Host(String),
}

/// A setting and its value.
pub type Setting = (SysctlKey, &'static str);

/// What is made between the switches and one site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The site: [`Place::Pod`] of the plan.
    pub site: Site,
    /// Settings of the site and their values before anything is made.
    pub before: Vec<Setting>,
    /// Links, addresses and routes, in order.
    pub plan: Plan,
    /// Settings afterwards: IPv6 forwarding, for one, changes what links accept.
    pub after: Vec<Setting>,
}

/// All stages of a lab: switches, router, hosts, and the nodes.
pub fn stages(layout: &Layout) -> Result<Vec<Stage>> {
    let mut stages = vec![switches(layout)?, router(layout)?];
    for host in &layout.shape().hosts {
        stages.extend(self::host(layout, host)?);
    }
    for node in layout.nodes() {
        stages.push(self::node(layout, node)?);
    }
    Ok(stages)
}

/// A stage under construction.
struct Draft {
    stage: Stage,
}

impl Draft {
    fn new(site: Site) -> Result<Draft> {
        let loopback_of = if site == Site::Switches { Place::Host } else { Place::Pod };
        let mut draft =
            Draft { stage: Stage { site, before: Vec::new(), plan: Plan::default(), after: Vec::new() } };
        draft.own(Change::up(loopback_of, &IfName::loopback()));
        if loopback_of == Place::Pod {
            // A link asks for neighbours only once its link-local address is known to be unique: a second in which nothing is forwarded.
            // Links take the setting over when they are made; pods' links later find the usual value.
            draft.stage.before.push((duplicate_probes()?, "0"));
            draft.stage.after.push((duplicate_probes()?, "1"));
        }
        Ok(draft)
    }

    fn own(&mut self, change: Change) {
        self.stage.plan.own(change);
    }

    /// A cable from the port `port` of `switch` to a NIC at the site.
    fn cable(&mut self, switch: &IfName, port: &IfName, nic: &IfName) {
        self.cable_with_mac(switch, port, nic, None);
    }

    /// A cable to a NIC that has a hardware address of its own, as real ones do.
    fn cable_with_mac(&mut self, switch: &IfName, port: &IfName, nic: &IfName, mac: Option<Mac>) {
        let end = Veth { place: Place::Pod, name: nic.clone(), mac, mtu: None };
        self.own(Change::create_link(Place::Host, Link::new(port.clone(), LinkKind::Veth(end))));
        self.own(Change::attr(Place::Host, port, Attr::Master(None), Attr::Master(Some(switch.clone()))));
        self.own(Change::up(Place::Host, port));
        self.own(Change::up(Place::Pod, nic));
    }

    fn addresses(&mut self, nic: &IfName, nets: [IpNet; 2]) {
        for net in nets {
            // Nobody else is on these wires yet, and waiting for detection would double the time to start.
            self.own(Change::add_address(Place::Pod, Address { link: nic.clone(), net, nodad: true }));
        }
    }

    fn routes(&mut self, nic: &IfName, to: [IpNet; 2], via: [IpAddr; 2]) {
        for (dst, gw) in to.into_iter().zip(via) {
            self.own(Change::add_route(Place::Pod, Route::new(dst, nic).via(gw)));
        }
    }

    fn forwards(&mut self) {
        let on = [SysctlKey::ip_forward(), SysctlKey::ipv6_forwarding()];
        self.stage.after.extend(on.map(|key| (key, "1")));
    }
}

/// How many probes duplicate address detection sends on links that are made from now on.
fn duplicate_probes() -> Result<SysctlKey> {
    SysctlKey::new("net/ipv6/conf/default/dad_transmits").map_err(|why| Error::Input(why.to_string()))
}

fn default_routes() -> [IpNet; 2] {
    [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())]
}

fn switch(segment: usize) -> Result<IfName> {
    link_name(&format!("switch{segment}"))
}

fn outer_switch(network: usize) -> Result<IfName> {
    link_name(&format!("switch-out{network}"))
}

fn switches(layout: &Layout) -> Result<Stage> {
    let mut draft = Draft::new(Site::Switches)?;
    let mut names = Vec::new();
    for network in 0..layout.beyond().len() {
        names.push(outer_switch(network)?);
    }
    for segment in 0..layout.segments().len() {
        names.push(switch(segment)?);
    }
    for name in names {
        let bridge = LinkKind::Bridge { vlan_filtering: false };
        draft.own(Change::create_link(Place::Host, Link::new(name.clone(), bridge)));
        draft.own(Change::up(Place::Host, &name));
    }
    Ok(draft.stage)
}

fn router(layout: &Layout) -> Result<Stage> {
    let mut draft = Draft::new(Site::Router)?;
    for (at, segment) in layout.segments().iter().enumerate() {
        let nic = nic_name(at)?;
        draft.cable(&switch(at)?, &link_name(&format!("router-{at}"))?, &nic);
        draft.addresses(&nic, segment.host(super::ROUTER));
    }
    for (at, network) in layout.beyond().iter().enumerate() {
        let out = link_name(&format!("out{at}"))?;
        draft.cable(&outer_switch(at)?, &link_name(&format!("router-out{at}"))?, &out);
        draft.addresses(&out, network.host(super::ROUTER));
    }
    for node in layout.nodes() {
        to_pods_of(&mut draft, layout, &nic_name(0)?, node);
    }
    draft.forwards();
    Ok(draft.stage)
}

fn host(layout: &Layout, host: &Host) -> Result<Option<Stage>> {
    let Some((on, addresses)) = layout.host(host) else { return Ok(None) };
    let mut draft = Draft::new(Site::Host(host.name.clone()))?;
    let nic = nic_name(0)?;
    let (switch, network) = match on {
        On::Underlay(at) => (switch(at)?, layout.segments().get(at)),
        On::Beyond(at) => (outer_switch(at)?, layout.beyond().get(at)),
    };
    // Names of hosts are longer than those of links may be.
    let place = layout.shape().hosts.iter().position(|other| other == host).unwrap_or_default();
    draft.cable(&switch, &link_name(&format!("host-{place}"))?, &nic);
    draft.addresses(&nic, addresses);
    if let Some(network) = network {
        draft.routes(&nic, default_routes(), network.router());
    }
    Ok(Some(draft.stage))
}

/// A node's NICs, addresses and routes.
pub fn node(layout: &Layout, node: Node) -> Result<Stage> {
    let mut draft = Draft::new(Site::Node(node))?;
    for at in 0..layout.segments().len() {
        let nic = layout.nic(at)?;
        draft.cable_with_mac(&switch(at)?, &port(node, at)?, &nic, Some(mac(node, at)));
        if let Some(addresses) = layout.address(node, at) {
            draft.addresses(&nic, addresses);
        }
    }
    if let Some(first) = layout.segments().first() {
        draft.routes(&layout.nic(0)?, default_routes(), first.router());
    }
    let nic = layout.nic(0)?;
    for other in layout.nodes().filter(|other| *other != node) {
        to_pods_of(&mut draft, layout, &nic, other);
    }
    draft.forwards();
    Ok(draft.stage)
}

/// What a node that comes later needs: itself, and the ways to its pods on the router and on all others.
pub fn another_node(layout: &Layout, node: Node) -> Result<Vec<Stage>> {
    let mut stages = vec![self::node(layout, node)?];
    let others =
        layout.nodes().filter(|other| *other != node).map(|other| (Site::Node(other), layout.nic(0)));
    for (site, nic) in others.chain([(Site::Router, nic_name(0))]) {
        let mut draft =
            Draft { stage: Stage { site, before: Vec::new(), plan: Plan::default(), after: Vec::new() } };
        to_pods_of(&mut draft, layout, &nic?, node);
        stages.push(draft.stage);
    }
    Ok(stages)
}

/// The ports of the switches that a node's cables are in.
pub fn ports(layout: &Layout, node: Node) -> Result<Vec<IfName>> {
    (0..layout.segments().len()).map(|at| port(node, at)).collect()
}

/// The same every time that a node boots: its neighbours remember it.
fn mac(node: Node, nic: usize) -> Mac {
    let [high, low] = node.number.to_be_bytes();
    // Locally administered; there are fewer than 256 NICs.
    Mac([0x02, 0x4c, 0x41, u8::try_from(nic).unwrap_or(u8::MAX), high, low])
}

fn port(node: Node, nic: usize) -> Result<IfName> {
    link_name(&format!("{}-{nic}", node.name()))
}

/// Pods of another node are reached through that node's first NIC.
fn to_pods_of(draft: &mut Draft, layout: &Layout, nic: &IfName, node: Node) {
    if let Some(via) = layout.address(node, 0) {
        draft.routes(nic, layout.pod_networks(node), via.map(|net| net.addr()));
    }
}
