//! Making links, each directly in its namespace and under its final name.

use std::net::IpAddr;
use std::os::fd::RawFd;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoBridge, InfoData, InfoIpTunnel, InfoIpVlan, InfoKind, InfoMacVlan, InfoMacVtap, InfoVeth, InfoVlan,
    InfoVrf, InfoVxlan, IpVlanMode, LinkAttribute, LinkInfo, LinkMessage, MacVlanMode,
};
use polynic_net::{
    BondOption, Diff, Entropy, IfName, IpvlanMode, Link, LinkKind, LinkRef, Macvlan, MacvlanMode, Move,
    Place, Veth, Vxlan,
};

use super::{Failure, RealKernel, Wanted, tap, wanted};
use crate::Errno;
use crate::netlink::Fault;

impl RealKernel {
    /// Makes or removes a link.
    pub(super) fn change_link(&mut self, place: Place, diff: &Diff<Link>) -> Result<(), Failure> {
        match wanted(diff) {
            Some(Wanted::Create(link)) => self.create_link(place, link),
            Some(Wanted::Delete(link)) => Ok(self.space(place)?.delete_link(&link.name)?),
            Some(Wanted::Replace(..)) => Err(Failure::Unsupported),
            None => Ok(()),
        }
    }

    fn create_link(&mut self, place: Place, link: &Link) -> Result<(), Failure> {
        self.space(place)?.forget(&link.name);
        self.request_link(place, link).map_err(|failure| with_module(failure, &link.kind))
    }

    fn request_link(&mut self, place: Place, link: &Link) -> Result<(), Failure> {
        match &link.kind {
            LinkKind::Tap(options) => Ok(self.space(place)?.create_tap(link, options)?),
            LinkKind::Veth(peer) => self.create_veth(place, link, peer),
            LinkKind::Bond(bond) => {
                let primary = bond.options.iter().find_map(|option| match option {
                    BondOption::Primary(name) => Some(name),
                    _ => None,
                });
                let space = self.space(place)?;
                // Its index: what is not there is an error of its name.
                let primary = primary.map(|name| space.index(name)).transpose()?;
                Ok(space.create(new_link(link, primary, None))?)
            }
            kind => match kind.parent() {
                Some(parent) => self.create_on(place, link, parent),
                None => Ok(self.space(place)?.create(new_link(link, None, None))?),
            },
        }
    }

    /// The request goes out where the first end is to be, so that only the second end needs a namespace.
    fn create_veth(&mut self, place: Place, link: &Link, peer: &Veth) -> Result<(), Failure> {
        self.space(peer.place)?.forget(&peer.name);
        let peer_netns = if peer.place == place { None } else { Some(self.space(peer.place)?.raw_fd()) };
        let mut request = new_link(link, None, None);
        let end = end(&peer.name, peer.mac.map(|m| m.0), peer.mtu, peer_netns);
        request.attributes.push(info(InfoKind::Veth, Some(InfoData::Veth(InfoVeth::Peer(end)))));
        Ok(self.space(place)?.create(request)?)
    }

    /// A link on a parent: the request goes out where the parent is, because its index means nothing elsewhere.
    fn create_on(&mut self, place: Place, link: &Link, parent: &LinkRef) -> Result<(), Failure> {
        let target = if parent.place == place { None } else { Some(self.space(place)?.raw_fd()) };
        let home = self.space(parent.place)?;
        let made = home.on_link(&parent.name, |socket, index| {
            let request = RouteNetlinkMessage::NewLink(new_link(link, Some(index), target));
            socket.change(request, NLM_F_CREATE | NLM_F_EXCL)
        });
        match made {
            Err(fault) if target.is_some() && fault.is(Errno::EEXIST) => {
                self.create_under_other_name(place, link, parent, fault)
            }
            made => Ok(made?),
        }
    }

    /// Takes a link to the other namespace. The request goes out where the link is; the kernel takes the name where the link
    /// arrives (net/core/rtnetlink.c, do_setlink).
    pub(super) fn move_link(&mut self, place: Place, m: &Move) -> Result<(), Failure> {
        let target = self.space(place)?;
        let spare = m.spare.as_ref().filter(|_| place == Place::Host);
        let free = [Some(&m.name), spare].into_iter().flatten().find(|name| target.link(name).is_err());
        let Some(name) = free else {
            return Err(Fault::refused(Errno::EEXIST, "the name is taken").into());
        };
        target.forget(name);
        let netns = target.raw_fd();
        let home = self.space(m.from.place)?;
        home.on_link(&m.from.name, |socket, index| {
            let mut request = LinkMessage::default();
            request.header.index = index;
            request.attributes = vec![LinkAttribute::NetNsFd(netns), LinkAttribute::IfName(name.to_string())];
            socket.change(RouteNetlinkMessage::NewLink(request), 0)
        })?;
        home.forget(&m.from.name);
        Ok(())
    }

    /// Kernels before 6.15 refuse a name that the *parent's* namespace has, although the link is made elsewhere. Where
    /// that is the reason, the link is made under a name nobody has and renamed.
    fn create_under_other_name(
        &mut self,
        place: Place,
        link: &Link,
        parent: &LinkRef,
        fault: Fault,
    ) -> Result<(), Failure> {
        let target = self.space(place)?;
        if !target.link(&link.name).is_err_and(|f| f.is(Errno::ENODEV)) {
            return Err(fault.into());
        }
        let netns = target.raw_fd();
        let home = self.space(parent.place)?;
        let index = home.index(&parent.name)?;
        let mut seed = [0; 8];
        rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty())
            .map_err(|e| Fault::io(&e.into()))?;
        let interim = Link { name: Entropy::new(u64::from_ne_bytes(seed)).veth_name(), ..link.clone() };
        home.create(new_link(&interim, Some(index), Some(netns)))?;
        let target = self.space(place)?;
        let renamed = target.rename(&interim.name, &link.name);
        if renamed.is_err() {
            // The first failure is the one to report.
            let _ = target.delete_link(&interim.name);
        }
        Ok(renamed?)
    }
}

/// What the kernel says of a kind of links that it does not have (net/core/rtnetlink.c).
const UNKNOWN_KIND: &str = "Unknown device type";

/// Says what a kernel lacks that does not know a kind of links: it asks for the module by itself, so the module is not there either.
fn with_module(failure: Failure, kind: &LinkKind) -> Failure {
    match failure {
        Failure::Fault(Fault::Refused { errno, detail: Some(detail) }) if detail == UNKNOWN_KIND => {
            let lacks = format!("{detail}: this kernel lacks the module {}", module(kind));
            Failure::Fault(Fault::refused(errno, lacks))
        }
        other => other,
    }
}

/// The module that makes links of a kind.
fn module(kind: &LinkKind) -> &'static str {
    match kind {
        LinkKind::Vlan(_) => "8021q",
        LinkKind::Bond(_) => "bonding",
        kind => kind.as_str(),
    }
}

impl super::space::Space {
    fn create(&mut self, request: LinkMessage) -> Result<(), Fault> {
        self.route.change(RouteNetlinkMessage::NewLink(request), NLM_F_CREATE | NLM_F_EXCL)
    }

    fn create_tap(&mut self, link: &Link, options: &polynic_net::Tap) -> Result<(), Fault> {
        let (name, options) = (link.name.clone(), options.clone());
        let made = self.netns.run(move || tap::create(&name, &options)).map_err(|e| Fault::io(&e))?;
        made.map_err(|e| Fault::io(&e))?;
        let mut request = LinkMessage::default();
        request.attributes.push(LinkAttribute::IfName(link.name.to_string()));
        request.attributes.extend(link.mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
        request.attributes.extend(link.mtu.map(LinkAttribute::Mtu));
        if request.attributes.len() == 1 {
            return Ok(());
        }
        let dressed = self.route.change(RouteNetlinkMessage::NewLink(request), 0);
        if dressed.is_err() {
            // The first failure is the one to report.
            let _ = self.delete_link(&link.name);
        }
        dressed
    }

    fn rename(&mut self, old: &IfName, new: &IfName) -> Result<(), Fault> {
        self.on_link(old, |socket, index| {
            let mut request = LinkMessage::default();
            request.header.index = index;
            request.attributes = vec![LinkAttribute::IfName(new.to_string())];
            socket.change(RouteNetlinkMessage::NewLink(request), 0)
        })
    }
}

/// The whole request but a veth's peer.
fn new_link(link: &Link, parent: Option<u32>, netns: Option<RawFd>) -> LinkMessage {
    let mut message = end(&link.name, link.mac.map(|m| m.0), link.mtu, netns);
    // A VXLAN's parent is among its own data, and a bond's primary port.
    if !matches!(link.kind, LinkKind::Vxlan(_) | LinkKind::Bond(_)) {
        message.attributes.extend(parent.map(LinkAttribute::Link));
    }
    let described = match &link.kind {
        LinkKind::Bridge { vlan_filtering } => {
            let data = vlan_filtering.then(|| InfoData::Bridge(vec![InfoBridge::VlanFiltering(true)]));
            info(InfoKind::Bridge, data)
        }
        LinkKind::Macvlan(m) => info(InfoKind::MacVlan, Some(InfoData::MacVlan(macvlan(m)))),
        LinkKind::Macvtap(m) => info(InfoKind::MacVtap, Some(InfoData::MacVtap(macvtap(m)))),
        LinkKind::Ipvlan(i) => {
            info(InfoKind::IpVlan, Some(InfoData::IpVlan(vec![InfoIpVlan::Mode(ipvlan_mode(i.mode))])))
        }
        LinkKind::Vlan(v) => info(InfoKind::Vlan, Some(InfoData::Vlan(vec![InfoVlan::Id(v.id)]))),
        LinkKind::Dummy => info(InfoKind::Dummy, None),
        LinkKind::Vrf { table } => info(InfoKind::Vrf, Some(InfoData::Vrf(vec![InfoVrf::TableId(*table)]))),
        LinkKind::Vxlan(v) => info(InfoKind::Vxlan, Some(InfoData::Vxlan(vxlan(v, parent)))),
        LinkKind::Ipip { local } => {
            let local = local.map(|ip| InfoIpTunnel::Local(ip.into()));
            info(InfoKind::IpIp, Some(InfoData::IpTunnel(local.into_iter().collect())))
        }
        LinkKind::Wireguard => info(InfoKind::Wireguard, None),
        LinkKind::Ifb => {
            message.attributes.push(LinkAttribute::TxQueueLen(0));
            info(InfoKind::Ifb, None)
        }
        LinkKind::Bond(bond) => info(InfoKind::Bond, Some(InfoData::Bond(super::bond::data(bond, parent)))),
        // A veth's data is its peer; a tap is not made by message at all.
        LinkKind::Veth(_) | LinkKind::Tap(_) => return message,
    };
    message.attributes.push(described);
    message
}

fn end(name: &IfName, mac: Option<[u8; 6]>, mtu: Option<u32>, netns: Option<RawFd>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_string()));
    message.attributes.extend(mac.map(|mac| LinkAttribute::Address(mac.to_vec())));
    message.attributes.extend(mtu.map(LinkAttribute::Mtu));
    message.attributes.extend(netns.map(LinkAttribute::NetNsFd));
    message
}

fn info(kind: InfoKind, data: Option<InfoData>) -> LinkAttribute {
    let mut info = vec![LinkInfo::Kind(kind)];
    info.extend(data.map(LinkInfo::Data));
    LinkAttribute::LinkInfo(info)
}

fn mode(mode: MacvlanMode) -> MacVlanMode {
    match mode {
        MacvlanMode::Private => MacVlanMode::Private,
        MacvlanMode::Vepa => MacVlanMode::Vepa,
        MacvlanMode::Bridge => MacVlanMode::Bridge,
        MacvlanMode::Passthru => MacVlanMode::Passthrough,
    }
}

fn ipvlan_mode(mode: IpvlanMode) -> IpVlanMode {
    match mode {
        IpvlanMode::L2 => IpVlanMode::L2,
        IpvlanMode::L3 => IpVlanMode::L3,
        IpvlanMode::L3s => IpVlanMode::L3S,
    }
}

fn macvlan(m: &Macvlan) -> Vec<InfoMacVlan> {
    let mut data = vec![InfoMacVlan::Mode(mode(m.mode))];
    data.extend(m.bc_queue_len.map(InfoMacVlan::BcQueueLen));
    data
}

fn macvtap(m: &Macvlan) -> Vec<InfoMacVtap> {
    let mut data = vec![InfoMacVtap::Mode(mode(m.mode))];
    data.extend(m.bc_queue_len.map(InfoMacVtap::BcQueueLen));
    data
}

fn vxlan(v: &Vxlan, parent: Option<u32>) -> Vec<InfoVxlan> {
    let mut data = vec![InfoVxlan::Id(v.vni)];
    if v.port != 0 {
        data.push(InfoVxlan::Port(v.port));
    }
    data.push(InfoVxlan::Learning(v.learning));
    data.extend(v.gbp.then_some(InfoVxlan::Gbp));
    data.extend(parent.map(InfoVxlan::Link));
    data.extend(v.local.map(|ip| match ip {
        IpAddr::V4(ip) => InfoVxlan::Local(ip),
        IpAddr::V6(ip) => InfoVxlan::Local6(ip),
    }));
    data.extend(v.remote.map(|ip| match ip {
        IpAddr::V4(ip) => InfoVxlan::Group(ip),
        IpAddr::V6(ip) => InfoVxlan::Group6(ip),
    }));
    data
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::encode;

    #[test]
    fn a_kind_that_the_kernel_lacks_is_named_with_its_module() {
        let refused = |detail: &str| Failure::Fault(Fault::refused(Errno::EOPNOTSUPP, detail));
        let said =
            |detail: &str| with_module(refused(detail), &LinkKind::Dummy).about("add link net1").to_string();
        assert!(said(UNKNOWN_KIND).ends_with("(Unknown device type: this kernel lacks the module dummy)"));
        assert!(said("no").ends_with("(no)"));
    }

    /// Golden bytes, attribute by attribute: byte orders differ within one message.
    #[test]
    fn a_vxlan_is_asked_for_in_these_bytes() {
        let vxlan = Vxlan {
            vni: 4711,
            parent: None,
            local: Some("10.0.0.1".parse().unwrap()),
            remote: Some("fd00::1".parse().unwrap()),
            port: 8472,
            learning: false,
            gbp: false,
        };
        let link = Link { mtu: Some(1450), ..Link::new(IfName::new("vx1").unwrap(), LinkKind::Vxlan(vxlan)) };
        let message = RouteNetlinkMessage::NewLink(new_link(&link, Some(7), Some(5)));
        let bytes = encode(message, NLM_F_CREATE | NLM_F_EXCL, 1);
        let expected: [&[u8]; 14] = [
            &[136, 0, 0, 0, 16, 0, 0, 6, 1, 0, 0, 0, 0, 0, 0, 0], // header: RTM_NEWLINK
            &[0; 16],                                             // ifinfomsg
            &[8, 0, 3, 0, b'v', b'x', b'1', 0],                   // IFLA_IFNAME
            &[8, 0, 4, 0, 0xaa, 5, 0, 0],                         // IFLA_MTU
            &[8, 0, 28, 0, 5, 0, 0, 0],                           // IFLA_NET_NS_FD
            &[80, 0, 18, 0],                                      // IFLA_LINKINFO
            &[10, 0, 1, 0, b'v', b'x', b'l', b'a', b'n', 0, 0, 0], // kind
            &[64, 0, 2, 0],                                       // data
            &[8, 0, 1, 0, 0x67, 0x12, 0, 0],                      // id, little end first
            &[6, 0, 15, 0, 0x21, 0x18, 0, 0],                     // port, network order
            &[5, 0, 7, 0, 0, 0, 0, 0],                            // learning
            &[8, 0, 3, 0, 7, 0, 0, 0],                            // link
            &[8, 0, 4, 0, 10, 0, 0, 1],                           // local
            &[20, 0, 16, 0, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], // group
        ];
        assert_eq!(bytes, expected.concat());
    }

    /// The way of older kernels, which this one does not take by itself.
    #[test]
    fn a_link_made_under_another_name_ends_under_its_own() {
        let Some(scratch) = crate::testing::scratch_netns() else { return };
        let mut kernel = RealKernel::new(scratch.host.clone(), Some((scratch.pod.clone(), "pod"))).unwrap();
        let name = IfName::new("eth0").unwrap();
        let parent = LinkRef { place: Place::Host, name: name.clone() };
        let Ok(()) = kernel.create_link(Place::Host, &Link::new(name.clone(), LinkKind::Ifb)) else {
            panic!("no ifb")
        };
        let kind = Macvlan { parent: parent.clone(), mode: MacvlanMode::Bridge, bc_queue_len: None };
        let link = Link::new(name.clone(), LinkKind::Macvlan(kind));
        let taken = Fault::refused(Errno::EEXIST, "taken");
        assert!(kernel.create_under_other_name(Place::Pod, &link, &parent, taken.clone()).is_ok());
        let pod = kernel.space(Place::Pod).ok().unwrap();
        assert_eq!(pod.links().unwrap().len(), 2);
        assert_eq!(pod.link(&name).unwrap().kind, "macvlan");
        // Now the name is taken where it counts, and that is the error.
        assert!(kernel.create_under_other_name(Place::Pod, &link, &parent, taken).is_err());
        assert_eq!(kernel.space(Place::Pod).ok().unwrap().links().unwrap().len(), 2);
    }
}
