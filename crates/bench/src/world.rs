//! The network that everything is measured in: a node with two wires and a pod, in namespaces of this process.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use polynic_kernel::netns::{Netns, Pod, create_pinned};
use polynic_kernel::{Door, Kernel, RealDoor};
use polynic_net::{Address, Change, IfName, Link, LinkKind, Place, Route, Veth};

use crate::programs::Programs;

/// The node's wires; each has the far end `sw0`, `sw1` plugged into nothing.
pub(crate) const WIRES: [&str; 2] = ["eth0", "eth1"];

/// Where everything is measured.
pub(crate) struct World {
    /// What is measured.
    pub(crate) programs: Programs,
    /// Directory of our plugins, as installed.
    pub(crate) ours: PathBuf,
    /// Path of the pod's namespace.
    pub(crate) netns: String,
    /// The pod's namespace.
    pub(crate) pod: Netns<Pod>,
}

impl World {
    /// Sets it up. The process must be in private namespaces already.
    pub(crate) fn new(programs: Programs) -> anyhow::Result<Self> {
        // Not /run/cni: the replaced tuning keeps its own files below that.
        let ours = PathBuf::from("/run/polynic-programs");
        let installed = Command::new(&programs.polynic).arg("install").arg(&ours).status()?;
        ensure!(installed.success(), "polynic install failed");
        let netns = "/run/netns/pod".to_owned();
        let pod = create_pinned(Path::new(&netns))?;
        let mut node = Box::<RealDoor>::default().open(None)?;
        for (number, name) in WIRES.into_iter().enumerate() {
            wire(node.as_mut(), number, name).with_context(|| format!("link {name}"))?;
        }
        let default = Route::new("0.0.0.0/0".parse()?, &WIRES[0].parse()?).via("192.168.10.1".parse()?);
        node.apply(&Change::add_route(Place::Host, default))?;
        Ok(Self { programs, ours, netns, pod })
    }
}

fn wire(node: &mut dyn Kernel, number: usize, name: &str) -> anyhow::Result<()> {
    let name: IfName = name.parse()?;
    let far: IfName = format!("sw{number}").parse()?;
    let veth = Veth { place: Place::Host, name: far.clone(), mac: None, mtu: None };
    node.apply(&Change::create_link(Place::Host, Link::new(name.clone(), LinkKind::Veth(veth))))?;
    let address = format!("192.168.1{number}.10/24").parse()?;
    node.apply(&Change::add_address(Place::Host, Address::new(&name, address)))?;
    node.apply(&Change::up(Place::Host, &far))?;
    Ok(node.apply(&Change::up(Place::Host, &name))?)
}
