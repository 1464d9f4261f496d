//! Which kernel objects make up the wires. Pure: the order and content can be read and tested without a kernel.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use polynic_net::{Address, Attr, Change, IfName, Link, LinkKind, Place, Plan, Route, SysctlKey, Veth};

use super::{Layout, Node, Segment, link_name, nic_name};
use crate::error::Result;

/// Whose namespace the far end of a stage is. The near end, [`Place::Host`], is always the namespace of the switches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Site {
    /// The switches alone.
    Switches,
    /// A node.
    Node(Node),
    /// The router.
    Router,
    /// The host behind the router.
    Outside,
}

/// What is made between the switches and one site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The site: [`Place::Pod`] of the plan.
    pub site: Site,
    /// Links, addresses and routes, in order.
    pub plan: Plan,
    /// Settings of the site and their values. They come last, because IPv6 forwarding changes what links accept.
    pub settings: Vec<(SysctlKey, &'static str)>,
}

/// All stages of a lab: switches, router, the host behind it, and the nodes.
pub fn stages(layout: &Layout) -> Result<Vec<Stage>> {
    let mut stages = vec![switches(layout)?, router(layout)?, outside(layout)?];
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
    fn new(site: Site) -> Draft {
        let mut draft = Draft { stage: Stage { site, plan: Plan::default(), settings: Vec::new() } };
        let loopback_of = if draft.stage.site == Site::Switches { Place::Host } else { Place::Pod };
        draft.own(Change::up(loopback_of, &IfName::loopback()));
        draft
    }

    fn own(&mut self, change: Change) {
        self.stage.plan.own(change);
    }

    /// A cable from the port `port` of `switch` to a NIC at the site.
    fn cable(&mut self, switch: &IfName, port: &IfName, nic: &IfName) {
        let end = Veth { place: Place::Pod, name: nic.clone(), mac: None, mtu: None };
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
        self.stage.settings.extend(on.map(|key| (key, "1")));
    }
}

fn default_routes() -> [IpNet; 2] {
    [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())]
}

fn switch(segment: usize) -> Result<IfName> {
    link_name(&format!("switch{segment}"))
}

fn outside_switch() -> Result<IfName> {
    link_name("switch-out")
}

fn switches(layout: &Layout) -> Result<Stage> {
    let mut draft = Draft::new(Site::Switches);
    let mut names = vec![outside_switch()?];
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
    let mut draft = Draft::new(Site::Router);
    for (at, segment) in layout.segments().iter().enumerate() {
        let nic = nic_name(at)?;
        draft.cable(&switch(at)?, &link_name(&format!("router-{at}"))?, &nic);
        draft.addresses(&nic, segment.host(super::ROUTER));
    }
    let out = link_name("out")?;
    draft.cable(&outside_switch()?, &link_name("router-out")?, &out);
    draft.addresses(&out, layout.outside().host(super::ROUTER));
    for node in layout.nodes() {
        to_pods_of(&mut draft, layout, node)?;
    }
    draft.forwards();
    Ok(draft.stage)
}

fn outside(layout: &Layout) -> Result<Stage> {
    let mut draft = Draft::new(Site::Outside);
    let nic = nic_name(0)?;
    let network: Segment = layout.outside();
    draft.cable(&outside_switch()?, &link_name("outside")?, &nic);
    draft.addresses(&nic, network.host(super::FIRST_NODE));
    draft.routes(&nic, default_routes(), network.router());
    Ok(draft.stage)
}

fn node(layout: &Layout, node: Node) -> Result<Stage> {
    let mut draft = Draft::new(Site::Node(node));
    for at in 0..layout.segments().len() {
        let nic = nic_name(at)?;
        draft.cable(&switch(at)?, &link_name(&format!("{}-{at}", node.name()))?, &nic);
        if let Some(addresses) = layout.address(node, at) {
            draft.addresses(&nic, addresses);
        }
    }
    if let Some(first) = layout.segments().first() {
        draft.routes(&nic_name(0)?, default_routes(), first.router());
    }
    for other in layout.nodes().filter(|other| *other != node) {
        to_pods_of(&mut draft, layout, other)?;
    }
    draft.forwards();
    Ok(draft.stage)
}

/// Pods of another node are reached through that node's eth0.
fn to_pods_of(draft: &mut Draft, layout: &Layout, node: Node) -> Result<()> {
    if let Some(via) = layout.address(node, 0) {
        draft.routes(&nic_name(0)?, node.pod_networks(), via.map(|net| net.addr()));
    }
    Ok(())
}
