//! Making the wires, through the one door to the kernel.

use std::collections::BTreeMap;
use std::path::PathBuf;

use polynic_kernel::{Door, Kernel, RealDoor, transaction};
use polynic_net::{Change, IfName, Needs, Place, Sysctl};

use super::plan::{Setting, Site, Stage};
use crate::error::{Error, Result};
use crate::process::network_of;
use crate::registry::{Hosts, ROUTER};

/// Makes all stages. The calling thread's network namespace becomes the switches; `hosts` holds everybody else's.
pub fn build(stages: &[Stage], hosts: &Hosts) -> Result<()> {
    let networks: BTreeMap<&str, PathBuf> =
        hosts.iter().map(|(name, process)| (name.as_str(), network_of(process.pid))).collect();
    for stage in stages {
        let site = site_name(&stage.site);
        let network = match &site {
            None => None,
            Some(name) => {
                Some(networks.get(name.as_str()).ok_or_else(|| Error::Input(format!("no host {name}")))?)
            }
        };
        let path = network.map(|path| path.to_string_lossy().into_owned());
        let failed = |why: String| Error::Kernel {
            what: format!("wire up {}", site.as_deref().unwrap_or("the switches")),
            why,
        };
        let mut kernel = RealDoor::default().open(path.as_deref()).map_err(|why| failed(why.to_string()))?;
        set(kernel.as_mut(), &stage.before).map_err(failed)?;
        transaction::apply(kernel.as_mut(), &stage.plan).map_err(|why| failed(why.to_string()))?;
        set(kernel.as_mut(), &stage.after).map_err(failed)?;
    }
    Ok(())
}

/// Pulls cables out of the switches, at once: the kernel would take its time to do so by itself.
pub fn unplug(ports: &[IfName]) -> Result<()> {
    let failed = |why: String| Error::Kernel { what: "pull out the cables of a node".to_owned(), why };
    let mut kernel = RealDoor::default().open(None).map_err(|why| failed(why.to_string()))?;
    kernel.delete_links(Place::Host, ports).map_err(|why| failed(why.to_string()))
}

/// The name of a site's host; the switches have none.
pub fn site_name(site: &Site) -> Option<String> {
    match site {
        Site::Switches => None,
        Site::Node(node) => Some(node.name()),
        Site::Router => Some(ROUTER.to_owned()),
        Site::Host(name) => Some(name.clone()),
    }
}

/// A setting's value before is the machine's business (new namespaces inherit IPv4 settings from the first one), so it is looked up.
fn set(kernel: &mut dyn Kernel, settings: &[Setting]) -> Result<(), String> {
    if settings.is_empty() {
        return Ok(());
    }
    let mut needs = Needs::default();
    for (key, _) in settings {
        needs.pod.sysctl(key.clone());
    }
    let facts = kernel.observe(&needs).map_err(|why| why.to_string())?;
    for (key, value) in settings {
        // A machine with IPv6 switched off has no such settings, and no IPv6 to forward.
        let Some(before) = facts.at(Place::Pod).and_then(|pod| pod.sysctl(key)) else { continue };
        if before == *value {
            continue;
        }
        let before = Sysctl { key: key.clone(), value: before.to_owned() };
        kernel.apply(&Change::sysctl(Place::Pod, before, *value)).map_err(|why| why.to_string())?;
    }
    Ok(())
}
