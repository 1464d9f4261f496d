//! The kernel of this machine behind the [`Door`].

mod address;
mod attr;
mod bond;
mod create;
mod delete;
mod destination;
mod facts;
mod flows;
mod forwarding;
mod idle;
mod legacy;
mod neighbour;
mod netconf;
mod observe;
mod port_vlan;
mod probe;
mod route;
mod rule;
mod space;
mod sysctl;
mod tap;
mod tcp;
mod traffic;
mod vf;
mod wait;
mod wireguard;
mod zone;

use std::path::PathBuf;
use std::sync::Arc;

use polynic_net::{
    Change, Diff, Facts, Flow, FwEdit, FwInventory, FwTable, IfName, Needs, Object, Place, Probe,
};

use crate::netlink::Fault;
use crate::netns::{self, Host, Netns, Pod};
use crate::{Door, Kernel, KernelError, NetnsId, OpenError, nft};
pub(crate) use facts::{address as read_address, link as read_link};
use idle::Idle;
use space::Space;
pub(crate) use space::without_statistics;

/// Opens namespaces of the machine. Its clones share the sockets that are worth keeping between attachments, so a daemon
/// should make one and keep it.
#[derive(Clone, Default)]
pub struct RealDoor {
    idle: Arc<Idle>,
    /// Where the bus is if not where it is usually.
    bus: Option<PathBuf>,
}

impl RealDoor {
    /// The same with the system's D-Bus elsewhere: an address in the form of `DBUS_SYSTEM_BUS_ADDRESS`. One that is no path of a
    /// socket changes nothing.
    #[must_use]
    pub fn with_bus(self, address: &str) -> Self {
        let path = address
            .split(';')
            .find_map(|a| a.strip_prefix("unix:")?.split(',').find_map(|p| p.strip_prefix("path=")));
        Self { bus: path.map(PathBuf::from).or(self.bus), ..self }
    }
}

impl Door for RealDoor {
    fn open(&self, netns: Option<&str>) -> Result<Box<dyn Kernel>, OpenError> {
        let host = Netns::<Host>::current().map_err(|e| OpenError::refused(netns::OWN, &e))?;
        let pod = netns.map(|path| Ok((Netns::<Pod>::open(path)?, path))).transpose()?;
        let mut kernel = RealKernel::new(host, pod)?;
        kernel.host.borrow_from(&self.idle);
        kernel.bus.clone_from(&self.bus);
        Ok(Box::new(kernel))
    }
}

/// The node's namespace and perhaps a pod's, with a netlink socket in each.
pub struct RealKernel {
    host: Space,
    pod: Option<Space>,
    bus: Option<PathBuf>,
}

impl RealKernel {
    /// Opens the sockets in namespaces that are open already; a pod's comes with its path, for errors.
    ///
    /// # Errors
    /// A namespace cannot be entered or has no netlink.
    pub fn new(host: Netns<Host>, pod: Option<(Netns<Pod>, &str)>) -> Result<Self, OpenError> {
        let host = Space::open(host.anywhere()).map_err(|e| OpenError::refused(netns::OWN, &e))?;
        let pod = pod
            .map(|(netns, path)| Space::open(netns.anywhere()).map_err(|e| OpenError::refused(path, &e)))
            .transpose()?;
        Ok(Self { host, pod, bus: None })
    }

    fn bus(&self) -> PathBuf {
        self.bus.clone().unwrap_or_else(zone::system_bus)
    }

    fn space(&mut self, place: Place) -> Result<&mut Space, Missing> {
        match place {
            Place::Host => Ok(&mut self.host),
            Place::Pod => self.pod.as_mut().ok_or(Missing),
        }
    }

    fn perform(&mut self, change: &Change) -> Result<(), Failure> {
        match &change.object {
            Object::Link(diff) => self.change_link(change.place, diff),
            Object::Move(m) => self.move_link(change.place, m),
            Object::Firewall(_) => {
                let socket = self.space(change.place)?.firewall()?;
                nft::apply(socket, std::slice::from_ref(change)).map_err(|refusal| refusal.fault.into())
            }
            Object::ZoneSource(diff) => {
                zone::change(&self.bus(), diff).map_err(|e| Failure::Bus(e.to_string()))
            }
            Object::Probe(probe) => {
                let asked = self.space(change.place)?.probe(change.place, std::slice::from_ref(probe));
                asked.map_err(Failure::Done)
            }
            object => self.space(change.place)?.perform(object),
        }
    }
}

/// There is no pod namespace.
struct Missing;

/// Why a change was not carried out, before its name is put to it.
enum Failure {
    NoPod,
    Fault(Fault),
    Stale(String),
    Waited(String),
    /// The system's bus, or who was called by it.
    Bus(String),
    Unsupported,
    /// Named already.
    Done(KernelError),
}

impl From<Missing> for Failure {
    fn from(_: Missing) -> Self {
        Self::NoPod
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Failure {
    fn about(self, what: impl ToString) -> KernelError {
        match self {
            Self::NoPod => KernelError::NoPod { what: what.to_string() },
            Self::Fault(fault) => fault.about(what),
            Self::Stale(found) => KernelError::Stale { what: what.to_string(), found },
            Self::Waited(why) => KernelError::Waited(why),
            Self::Bus(why) => KernelError::Talk { what: what.to_string(), why },
            Self::Done(error) => error,
            Self::Unsupported => KernelError::Unsupported { what: what.to_string() },
        }
    }
}

impl Kernel for RealKernel {
    fn observe(&mut self, needs: &Needs) -> Result<Facts, KernelError> {
        let mut host = self.host.observe(&needs.host).map_err(|f| f.about("observe host"))?;
        if let Some(asked) = &needs.host.zone_sources {
            host.zone_sources = zone::observe(&self.bus(), asked);
        }
        let pod = self.pod.as_mut().map(|pod| pod.observe(&needs.pod).map_err(|f| f.about("observe pod")));
        Ok(Facts { host, pod: pod.transpose()? })
    }

    fn apply(&mut self, change: &Change) -> Result<(), KernelError> {
        self.perform(change).map_err(|failure| failure.about(change))
    }

    fn apply_firewall(&mut self, changes: &[Change]) -> Result<(), KernelError> {
        let Some(first) = changes.first() else { return Ok(()) };
        let what = || format!("change the firewall in {}", first.place);
        if changes.iter().any(|c| c.place != first.place || !matches!(c.object, Object::Firewall(_))) {
            let why = "a batch is about the firewall of one namespace".to_owned();
            return Err(KernelError::Talk { what: what(), why });
        }
        let space = self.space(first.place).map_err(|m| Failure::from(m).about(what()))?;
        let socket = space.firewall().map_err(|f| f.about(what()))?;
        nft::apply(socket, changes).map_err(|refusal| match refusal.change.and_then(|at| changes.get(at)) {
            Some(change) => refusal.fault.about(change),
            None => refusal.fault.about(what()),
        })
    }

    fn edit_table(&mut self, place: Place, table: &FwTable, edits: &[FwEdit]) -> Result<(), KernelError> {
        if edits.is_empty() {
            return Ok(());
        }
        let what = |edit: Option<&FwEdit>| {
            let step = edit.map(|edit| format!(": {edit}")).unwrap_or_default();
            format!("edit table {} in {place}{step}", table.name)
        };
        let space = self.space(place).map_err(|m| Failure::from(m).about(what(None)))?;
        let socket = space.firewall().map_err(|f| f.about(what(None)))?;
        let edited = nft::edit(socket, table, edits);
        edited.map_err(|refusal| refusal.fault.about(what(refusal.change.and_then(|at| edits.get(at)))))
    }

    fn inventory(&mut self, place: Place, table: &FwTable) -> Result<Option<FwInventory>, KernelError> {
        let what = || format!("read table {} in {place}", table.name);
        let space = self.space(place).map_err(|m| Failure::from(m).about(what()))?;
        let socket = space.firewall().map_err(|f| f.about(what()))?;
        nft::inventory(socket, table).map_err(|f| f.about(what()))
    }

    fn remove_chains(
        &mut self,
        place: Place,
        table: &FwTable,
        is_meant: &mut dyn FnMut(&str) -> bool,
    ) -> Result<usize, KernelError> {
        let what = || format!("remove chains of table {} in {place}", table.name);
        let space = self.space(place).map_err(|m| Failure::from(m).about(what()))?;
        let socket = space.firewall().map_err(|f| f.about(what()))?;
        nft::remove_chains(socket, table, is_meant).map_err(|refusal| refusal.fault.about(what()))
    }

    fn forget_connections(
        &mut self,
        place: Place,
        is_meant: &mut dyn FnMut(&Flow) -> bool,
    ) -> Result<usize, KernelError> {
        let what = || format!("list tracked connections in {place}");
        let space = self.space(place).map_err(|m| Failure::from(m).about(what()))?;
        space.forget_connections(is_meant).map_err(|f| f.about(what()))
    }

    fn probe(&mut self, place: Place, probes: &[Probe]) -> Result<(), KernelError> {
        let space = self.space(place).map_err(|m| Failure::from(m).about(format!("probe in {place}")))?;
        space.probe(place, probes)
    }

    fn delete_links(&mut self, place: Place, names: &[IfName]) -> Result<(), KernelError> {
        let Ok(space) = self.space(place) else { return Ok(()) };
        space.delete_links(names).map_err(|fault| {
            let names: Vec<_> = names.iter().map(IfName::as_str).collect();
            fault.about(format!("remove links {} in {place}", names.join(", ")))
        })
    }

    fn pod_id(&self) -> Option<NetnsId> {
        self.pod.as_ref().map(Space::id)
    }

    fn host_id(&self) -> NetnsId {
        self.host.id()
    }
}

/// Brings the loopback link of the calling thread's namespace up.
pub(crate) fn loopback_up() -> Result<(), KernelError> {
    let what = "bring up lo";
    let failed = |e: std::io::Error| Fault::io(&e).about(what);
    let mut space = Space::open(Netns::<Host>::current().map_err(failed)?.anywhere()).map_err(failed)?;
    let up = Change::up(Place::Host, &IfName::loopback());
    space.perform(&up.object).map_err(|f| f.about(what))
}

/// What a diff asks for, with at least one side.
enum Wanted<'a, T> {
    Create(&'a T),
    Delete(&'a T),
    Replace(&'a T, &'a T),
}

/// Reads a diff; one without any side asks for nothing.
fn wanted<T>(diff: &Diff<T>) -> Option<Wanted<'_, T>> {
    match (&diff.before, &diff.after) {
        (None, Some(after)) => Some(Wanted::Create(after)),
        (Some(before), None) => Some(Wanted::Delete(before)),
        (Some(before), Some(after)) => Some(Wanted::Replace(before, after)),
        (None, None) => None,
    }
}
