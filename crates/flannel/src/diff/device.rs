//! A tunnel: kept, adjusted, or made anew (spec/flannel.md 7).

use polynic_net::{
    Address, Attr, Change, Diff, Family, IfName, IpNet, Link, LinkFact, LinkKind, NsFacts, Object, Place,
    Sysctl, SysctlKey, Vxlan, VxlanFact,
};

use super::HOST;
use crate::desired::{Desired, Device};

/// A link that has a tunnel's name and is none (spec/flannel.md 12.9).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "link {name} is of kind {kind:?}, not {wanted}: it is somebody else's and stays as it is; rename it or choose another VNI or backend"
)]
pub struct ForeignDevice {
    /// Its name.
    pub name: IfName,
    /// Its kind.
    pub kind: String,
    /// The kind that it should be.
    pub wanted: &'static str,
}

/// What has to be done about a tunnel.
pub(super) struct Verdict {
    pub(super) changes: Vec<Change>,
    /// The link that is there stays, with all that is on it.
    pub(super) kept: bool,
}

pub(super) fn compare(device: &Device, facts: &NsFacts) -> Result<Verdict, ForeignDevice> {
    let Some(there) = facts.link(&device.link.name) else {
        return Ok(Verdict { changes: make(device), kept: false });
    };
    let wanted = device.link.kind.as_str();
    if there.kind != wanted {
        return Err(ForeignDevice { name: there.name.clone(), kind: there.kind.clone(), wanted });
    }
    if can_stay(device, there) {
        return Ok(Verdict { changes: adjust(device, there, facts), kept: true });
    }
    // The MAC that peers know stays the same, unless another one is wanted.
    let link = Link { mac: device.link.mac.or(there.mac), ..device.link.clone() };
    let mut changes = vec![remove(device)];
    changes.extend(make(&Device { link, ..device.clone() }));
    Ok(Verdict { changes, kept: false })
}

/// Takes away a tunnel that another configuration of this instance had: its routes lead to where nobody listens any more.
pub(super) fn former(name: &str, desired: &Desired, facts: &NsFacts) -> Vec<Change> {
    let is_wanted = desired.devices.iter().any(|device| device.link.name.as_str() == name);
    let there = facts.links.iter().find(|link| link.name.as_str() == name).filter(|_| !is_wanted);
    let kind = there.and_then(|link| match (&link.vxlan, &link.ipip) {
        (Some(vxlan), _) => Some(LinkKind::Vxlan(Vxlan {
            vni: vxlan.vni,
            parent: None,
            local: vxlan.local,
            remote: None,
            port: vxlan.port,
            learning: vxlan.learning,
            gbp: vxlan.gbp,
        })),
        (_, Some(ipip)) => Some(LinkKind::Ipip { local: ipip.local }),
        // With this backend its tunnels are compared by themselves.
        _ if desired.wireguard.is_some() => None,
        _ => (link.kind == LinkKind::Wireguard.as_str()).then_some(LinkKind::Wireguard),
    });
    let link = there.zip(kind).map(|(link, kind)| Link::new(link.name.clone(), kind));
    link.into_iter().map(|link| Change { place: HOST, object: Object::Link(Diff::delete(link)) }).collect()
}

/// Whether a tunnel can stay: what cannot be changed on it is as wanted.
fn can_stay(device: &Device, there: &LinkFact) -> bool {
    match (&device.link.kind, &there.vxlan, &there.ipip) {
        (LinkKind::Vxlan(want), Some(have), _) => is_compatible(want, device.parent, have),
        (LinkKind::Ipip { local }, _, Some(have)) => have.local == *local && have.remote.is_none(),
        _ => false,
    }
}

fn is_compatible(want: &Vxlan, parent: u32, have: &VxlanFact) -> bool {
    have.vni == want.vni
        && have.parent == Some(parent)
        && have.local == want.local
        && have.remote.is_none_or(|group| group.is_unspecified())
        && !have.l2_miss
        && (want.port == 0 || have.port == 0 || have.port == want.port)
        && have.gbp == want.gbp
        && have.learning == want.learning
}

fn remove(device: &Device) -> Change {
    Change { place: HOST, object: Object::Link(Diff::delete(device.link.clone())) }
}

fn make(device: &Device) -> Vec<Change> {
    vec![
        Change::create_link(HOST, device.link.clone()),
        Change::add_address(HOST, address(device)),
        Change::up(HOST, &device.link.name),
    ]
}

/// For this host alone, so there is nobody to ask whether it is free.
fn address(device: &Device) -> Address {
    Address { nodad: true, ..Address::new(&device.link.name, device.address) }
}

fn adjust(device: &Device, there: &LinkFact, facts: &NsFacts) -> Vec<Change> {
    let name = &there.name;
    let mut changes = Vec::new();
    if let Some(mtu) = device.link.mtu.filter(|mtu| *mtu != there.mtu) {
        changes.push(Change::attr(HOST, name, Attr::Mtu(there.mtu), Attr::Mtu(mtu)));
    }
    let own = facts.addresses_of(name).filter(|a| Family::of(a.net.addr()) == device.family);
    let (right, wrong): (Vec<_>, Vec<_>) = own.map(|a| a.net).partition(|net| *net == device.address);
    if right.is_empty() {
        changes.push(Change::add_address(HOST, address(device)));
    }
    let stale = wrong.into_iter().filter(|net| is_ours(net, device));
    changes.extend(
        stale.map(|net| Change {
            place: HOST,
            object: Object::Address(Diff::delete(Address::new(name, net))),
        }),
    );
    if !there.up {
        changes.push(Change::up(HOST, name));
    }
    changes.extend(refuse_advertisements(name, facts));
    changes
}

/// Addresses of the network, and with IPv6 any but link-local ones, are the subnet's of former times.
fn is_ours(net: &IpNet, device: &Device) -> bool {
    match net {
        IpNet::V4(_) => device.network.contains(net),
        IpNet::V6(net) => !net.addr().is_unicast_link_local(),
    }
}

/// No router advertises itself in a tunnel.
fn refuse_advertisements(name: &IfName, facts: &NsFacts) -> Option<Change> {
    let key = SysctlKey::conf("ipv6", name, "accept_ra");
    let value = facts.sysctl(&key).filter(|value| *value != "0")?.to_owned();
    Some(Change::sysctl(Place::Host, Sysctl { key, value }, "0"))
}
