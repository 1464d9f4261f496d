//! The cable between a pod whose first interface is on the underlay and its node (spec/coordinator.md 3.2).

use std::net::Ipv4Addr;

use polynic_cni::Error;
use polynic_net::{
    Address, Change, Entropy, Family, IfName, IpNet, Link, LinkKind, Mac, NsFacts, Place, Veth,
};

use super::draft::Draft;
use super::settings::{DISABLE_IPV6, PerLink};
use super::view::{View, families};
use crate::{Call, Leftovers};

/// How much of the container's id the node's end carries in its name.
const ID_LETTERS: usize = 11;
const ACCEPT_RA: PerLink = PerLink { family: "ipv6", setting: "accept_ra" };

/// The pod's end.
pub(super) fn pod_end() -> IfName {
    match IfName::new("veth0") {
        Ok(name) => name,
        Err(_) => unreachable!("five letters are a valid name"),
    }
}

/// The node's end: `veth` and the beginning of the container's id.
pub(super) fn host_end(call: &Call<'_>) -> Result<IfName, Error> {
    let id: String = call.container_id().chars().take(ID_LETTERS).collect();
    IfName::new(format!("veth{id}")).map_err(|e| call.error(e))
}

/// Both ends as they are, or will be.
#[derive(Clone, Debug)]
pub(super) struct Cable {
    pub(super) pod: IfName,
    pub(super) pod_mac: Mac,
    pub(super) host: IfName,
    pub(super) host_mac: Mac,
}

impl Cable {
    /// What [`Cable::make`] must know of the node.
    pub(super) fn needs(call: &Call<'_>, needs: &mut polynic_net::Needs) {
        if let Ok(end) = host_end(call) {
            needs.host.link(&end);
        }
        needs.host.sysctls.extend([ACCEPT_RA, DISABLE_IPV6].into_iter().filter_map(|s| s.of("default")));
    }

    /// A cable with names and addresses of its own. What has the name of the node's end already is somebody else's.
    pub(super) fn make(
        call: &Call<'_>,
        host: &NsFacts,
        mtu: u32,
        entropy: &mut Entropy,
        draft: &mut Draft,
    ) -> Result<Self, Error> {
        let cable =
            Self { pod: pod_end(), pod_mac: entropy.mac(), host: host_end(call)?, host_mac: entropy.mac() };
        if host.link(&cable.host).is_some() {
            return Err(call.error(format!("interface {} already exists on the node", cable.host)));
        }
        let peer =
            Veth { place: Place::Host, name: cable.host.clone(), mac: Some(cable.host_mac), mtu: Some(mtu) };
        let link = Link {
            mac: Some(cable.pod_mac),
            mtu: Some(mtu),
            ..Link::new(cable.pod.clone(), LinkKind::Veth(peer))
        };
        draft.plan.own(Change::create_link(Place::Pod, link));
        draft.set_new(Place::Host, host, (ACCEPT_RA, &cable.host), "0");
        draft.plan.own(Change::up(Place::Host, &cable.host));
        draft.plan.own(Change::up(Place::Pod, &cable.pod));
        Ok(cable)
    }

    /// The cable that an earlier interface of the pod has brought; none if there is none.
    pub(super) fn find(call: &Call<'_>, view: View<'_>) -> Result<Option<Self>, Error> {
        let (near, far) = (pod_end(), host_end(call)?);
        let Some(end) = view.pod.link(&near) else { return Ok(None) };
        let other = view.other_end(end).or_else(|| view.host.link(&far)).ok_or_else(|| {
            call.error(format!("interface {near} is in the pod, but its other end {far} is not on the node"))
        })?;
        let mac = |mac: Option<Mac>| mac.ok_or_else(|| call.error(format!("{near} has no hardware address")));
        Ok(Some(Self {
            pod_mac: mac(end.mac)?,
            host: other.name.clone(),
            host_mac: mac(other.mac)?,
            pod: near,
        }))
    }

    /// Lets a new cable carry IPv6 for a pod that has addresses of it, also where the node has it switched off for new links.
    pub(super) fn enable_ipv6(&self, draft: &mut Draft, view: View<'_>, addresses: &[IpNet]) {
        if has_ipv6(&families(addresses)) {
            draft.set_new(Place::Host, view.host, (DISABLE_IPV6, &self.host), "0");
        }
    }

    /// Gives the pod's end an address of its own.
    pub(super) fn address(&self, draft: &mut Draft, ip: Ipv4Addr) {
        let net = IpNet::from(std::net::IpAddr::V4(ip));
        draft.plan.own(Change::add_address(Place::Pod, Address::new(&self.pod, net)));
    }
}

/// What DEL removes without a record: the node's end, and with it the pod's.
pub(super) fn leftovers(call: &Call<'_>) -> Leftovers {
    let links = host_end(call).into_iter().map(|name| (Place::Host, name)).collect();
    Leftovers { links, changes: Vec::new() }
}

/// The families of which there is something to do, as the kernel's directories are called.
pub(super) fn has_ipv6(families: &[Family]) -> bool {
    families.contains(&Family::V6)
}
