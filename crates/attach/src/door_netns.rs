//! What attaching needs of a pod's network namespace, through the door to the kernel.

use std::net::IpAddr;

use polynic_cni::Error;
use polynic_kernel::{Door, Errno, Kernel};
use polynic_net::{Change, Family, IfName, IpNet, Needs, Place, Route, TABLE_MAIN, ip_from_u128};

use crate::cluster::PodNetns;

/// The pod's namespace behind a door to the kernel.
pub struct DoorNetns<'a> {
    /// Opens namespaces.
    pub door: &'a dyn Door,
}

impl DoorNetns<'_> {
    fn open(&self, netns: &str) -> Result<Box<dyn Kernel>, Error> {
        self.door.open(Some(netns)).map_err(|e| Error::internal(e.to_string()))
    }
}

fn interface_name(name: &str) -> Result<IfName, Error> {
    IfName::new(name).map_err(|e| Error::internal(format!("interface {name:?}: {e}")))
}

impl PodNetns for DoorNetns<'_> {
    fn has_interface(&self, netns: &str, interface: &str) -> Result<bool, Error> {
        let name = interface_name(interface)?;
        let mut needs = Needs::default();
        needs.pod.link(&name);
        let facts = self.open(netns)?.observe(&needs).map_err(|e| Error::internal(e.to_string()))?;
        Ok(facts.link(Place::Pod, &name).is_some())
    }

    fn default_routes(&self, netns: &str, interface: &str) -> Result<Vec<Route>, Error> {
        defaults_through(self.open(netns)?.as_mut(), &interface_name(interface)?)
    }

    fn restore_route(&self, netns: &str, route: &Route) -> Result<(), Error> {
        add(self.open(netns)?.as_mut(), route.clone())
    }

    fn delete_default_routes(&self, netns: &str, interface: &str) -> Result<(), Error> {
        let name = interface_name(interface)?;
        let mut kernel = self.open(netns)?;
        for route in defaults_through(kernel.as_mut(), &name)? {
            match kernel.apply(&Change::delete_route(Place::Pod, route)) {
                Err(e) if !e.is_absent() => return Err(Error::internal(e.to_string())),
                _ => {}
            }
        }
        Ok(())
    }

    fn add_default_route(&self, netns: &str, interface: &str, next_hop: IpAddr) -> Result<(), Error> {
        let name = interface_name(interface)?;
        let everywhere = IpNet::new_assert(ip_from_u128(Family::of(next_hop), 0), 0);
        add(self.open(netns)?.as_mut(), Route::new(everywhere, &name).via(next_hop))
    }
}

fn defaults_through(kernel: &mut dyn Kernel, name: &IfName) -> Result<Vec<Route>, Error> {
    let mut needs = Needs::default();
    needs.pod.routes = true;
    let facts = kernel.observe(&needs).map_err(|e| Error::internal(e.to_string()))?;
    let through = |r: &Route| r.is_default() && r.table == TABLE_MAIN && r.link.as_ref() == Some(name);
    Ok(facts.pod.map(|pod| pod.routes).unwrap_or_default().into_iter().filter(through).collect())
}

fn add(kernel: &mut dyn Kernel, route: Route) -> Result<(), Error> {
    match kernel.apply(&Change::add_route(Place::Pod, route)) {
        Err(e) if e.errno() != Some(Errno::EEXIST) => Err(Error::internal(e.to_string())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polynic_kernel::FakeDoor;

    const NETNS: &str = "/run/netns/pod";

    fn pod() -> FakeDoor {
        let door = FakeDoor::new();
        door.add_netns(NETNS);
        door.pod(NETNS, |pod| {
            pod.physical("eth0").address("eth0", "10.0.0.5/24").route("default", Some("10.0.0.1"), "eth0");
            pod.physical("net1").address("net1", "10.1.0.5/24").route("default", Some("10.1.0.1"), "net1");
        });
        door
    }

    fn defaults(door: &FakeDoor) -> Vec<String> {
        let mut needs = Needs::default();
        needs.pod.routes = true;
        let facts = door.open(Some(NETNS)).unwrap().observe(&needs).unwrap();
        facts.pod.unwrap().routes.iter().filter(|r| r.is_default()).map(ToString::to_string).collect()
    }

    #[test]
    fn interfaces_are_found_by_name() {
        let door = pod();
        let netns = DoorNetns { door: &door };
        assert_eq!(netns.has_interface(NETNS, "net1"), Ok(true));
        assert_eq!(netns.has_interface(NETNS, "net2"), Ok(false));
        assert!(netns.has_interface("/gone", "net1").is_err());
        assert!(netns.has_interface(NETNS, "a/b").is_err());
    }

    #[test]
    fn only_this_interfaces_defaults_go_and_a_new_one_may_be_there_already() {
        let door = pod();
        let netns = DoorNetns { door: &door };
        netns.delete_default_routes(NETNS, "eth0").unwrap();
        netns.delete_default_routes(NETNS, "eth0").unwrap();
        assert_eq!(defaults(&door), ["default via 10.1.0.1 dev net1"]);
        let hop = "10.0.0.9".parse().unwrap();
        netns.add_default_route(NETNS, "eth0", hop).unwrap();
        netns.add_default_route(NETNS, "eth0", hop).unwrap();
        assert_eq!(defaults(&door).len(), 2);
    }

    #[test]
    fn an_unreachable_next_hop_is_an_error() {
        let door = pod();
        let netns = DoorNetns { door: &door };
        let error = netns.add_default_route(NETNS, "net1", "172.16.0.1".parse().unwrap()).unwrap_err();
        assert!(error.msg.contains("unreachable"), "{error}");
    }
}
