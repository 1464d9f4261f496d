//! What a story does to a pod's or a host's network by hand.

use std::net::IpAddr;

use polynic_kernel::{Door, Kernel, RealDoor};
use polynic_net::{Address, Change, IfName, IpNet, Route};

use super::{Place, World, link_name};
use crate::scenario::Finding;

impl World {
    /// Sets the reverse path filter of all links of a node, and of those to come.
    pub fn set_reverse_path_filter(&self, node: &str, mode: u8) -> Finding {
        let set = move || -> std::io::Result<()> {
            for entry in std::fs::read_dir("/proc/sys/net/ipv4/conf")? {
                std::fs::write(entry?.path().join("rp_filter"), mode.to_string())?;
            }
            Ok(())
        };
        let done = self.network(Place::Host(node))?.run(set).flatten();
        done.map(|()| format!("rp_filter {mode} on {node}"))
            .map_err(|why| format!("rp_filter of {node}: {why}"))
    }

    /// Gives a host of the lab another address on its first NIC.
    pub fn add_address(&self, host: &str, net: IpNet) -> Finding {
        self.change(host, first_nic_address(net)?)
    }

    /// Takes an address away again.
    pub fn remove_address(&self, host: &str, net: IpNet) -> Finding {
        self.change(host, first_nic_address(net)?.inverse().ok_or("an address has an inverse")?)
    }

    /// A route of a host of the lab by its first NIC.
    pub fn add_route(&self, host: &str, to: IpNet, gw: IpAddr) -> Finding {
        let route = Route::new(to, &link_name("eth0")?).via(gw);
        self.change(host, Change::add_route(polynic_net::Place::Pod, route))
    }

    /// Changes a host's network. The change says "pod": that is whose namespace is opened.
    pub fn change(&self, host: &str, change: Change) -> Finding {
        self.open(host)?.apply(&change).map_err(|why| why.to_string())?;
        Ok(format!("{change} of {host}"))
    }

    /// Deletes a link of a host.
    pub fn remove_link(&self, host: &str, link: &str) -> Finding {
        let link = link_name(link)?;
        let gone = self.open(host)?.delete_links(polynic_net::Place::Pod, std::slice::from_ref(&link));
        gone.map(|()| format!("{link} of {host} is deleted")).map_err(|why| why.to_string())
    }

    fn open(&self, host: &str) -> Result<Box<dyn Kernel>, String> {
        let path = self.network_path(Place::Host(host))?.to_string_lossy().into_owned();
        RealDoor::default().open(Some(&path)).map_err(|why| why.to_string())
    }

    /// A route of a pod to one address, for as long as what is returned lives.
    pub fn lend_route(&self, pod: &str, to: IpAddr, gw: IpAddr, link: &str) -> Result<Lent, String> {
        let path = self.network_path(Place::Pod(pod))?.to_string_lossy().into_owned();
        let mut kernel = RealDoor::default().open(Some(&path)).map_err(|why| why.to_string())?;
        let link: IfName = link.parse().map_err(|why| format!("{link}: {why}"))?;
        let route = Change::add_route(polynic_net::Place::Pod, Route::new(IpNet::from(to), &link).via(gw));
        kernel.apply(&route).map_err(|why| why.to_string())?;
        Ok(Lent { kernel, back: route.inverse() })
    }
}

fn first_nic_address(net: IpNet) -> Result<Change, String> {
    Ok(Change::add_address(polynic_net::Place::Pod, Address::new(&link_name("eth0")?, net)))
}
/// A change that is taken back when this goes.
pub struct Lent {
    kernel: Box<dyn Kernel>,
    back: Option<Change>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(back) = self.back.take() {
            // The namespace may be gone, and the change with it.
            let _ = self.kernel.apply(&back);
        }
    }
}
