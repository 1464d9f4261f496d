//! Errors that pass: what the daemon has to do waits, and no lease is forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use polynic_kernel::{Door, Errno, Kernel, KernelError, NetnsId, OpenError, RealDoor};
use polynic_net::{Change, Facts, Flow, FwEdit, FwInventory, FwTable, IfName, Needs, Object, Place, Probe};

use crate::world::{World, eventually};

const IPAM: &str = r#"{"type": "dhcp"}"#;

/// A door to the real kernel that can be shut for a while, for want of descriptors say.
#[derive(Clone, Default)]
struct Faulty {
    real: RealDoor,
    is_shut: Arc<AtomicBool>,
    refused: Arc<AtomicUsize>,
}

impl Door for Faulty {
    fn open(&self, netns: Option<&str>) -> Result<Box<dyn Kernel>, OpenError> {
        if self.is_shut.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            let path = netns.unwrap_or_default().to_owned();
            return Err(OpenError::Refused { path, why: Errno::EMFILE.to_string() });
        }
        self.real.open(netns)
    }
}

impl Faulty {
    fn shut(&self) {
        self.refused.store(0, Ordering::SeqCst);
        self.is_shut.store(true, Ordering::SeqCst);
    }

    /// Opens again after so many were turned away.
    fn open_after(&self, refused: usize) {
        eventually("the daemon tries again", || self.refused.load(Ordering::SeqCst) >= refused);
        self.is_shut.store(false, Ordering::SeqCst);
    }
}

fn since(world: &World) -> u64 {
    world.kept().map_or(0, |kept| kept["since_ms"].as_u64().unwrap())
}

#[test]
fn a_daemon_that_cannot_look_at_its_start_keeps_the_leases_of_before() {
    let Some(mut world) = World::new(&["busybox"]) else { return };
    let faulty = Faulty::default();
    world.start();
    let _server = world.udhcpd(60, 20, 30);
    let result = world.attach();
    world.stop();
    let start = since(&world);
    faulty.shut();
    world.start_through(Box::new(faulty.clone()));
    world.dial().check(&world.arguments("net1", IPAM)).unwrap();
    faulty.open_after(2);
    eventually("the lease is confirmed", || since(&world) > start);
    assert_eq!(world.addresses(), [result.ips[0].address.to_string()]);
    assert_eq!(world.dial().allocate(&world.arguments("net1", IPAM)).unwrap(), result);
}

/// Leases of four seconds: renewing falls into the time of trouble, and so does the end.
#[test]
fn a_lease_that_could_not_be_renewed_in_time_is_looked_after_again() {
    let Some(mut world) = World::new(&["busybox"]) else { return };
    let faulty = Faulty::default();
    world.start_through(Box::new(faulty.clone()));
    let _server = world.udhcpd(4, 20, 30);
    let first = world.attach().ips[0].address.to_string();
    faulty.shut();
    faulty.open_after(3);
    let start = since(&world);
    assert!(start > 0, "the lease is still known");
    eventually("there is a lease again", || {
        since(&world) > start && world.addresses() == std::slice::from_ref(&first)
    });
    eventually("with its route", || world.gateways() == ["10.77.0.1"]);
    // What is really gone is forgotten, in trouble or not.
    faulty.shut();
    eventually("the daemon notices", || faulty.refused.load(Ordering::SeqCst) > 0);
    world.pod_ip("link delete net1");
    faulty.open_after(1);
    eventually("the lease is forgotten", || world.kept().is_none());
}

/// A kernel of which one change fails once, as memory that is short for a moment makes it.
struct Short(Box<dyn Kernel>, Arc<AtomicBool>);

struct ShortDoor(RealDoor, Arc<AtomicBool>);

impl Door for ShortDoor {
    fn open(&self, netns: Option<&str>) -> Result<Box<dyn Kernel>, OpenError> {
        Ok(Box::new(Short(self.0.open(netns)?, self.1.clone())))
    }
}

impl Short {
    fn refuse(what: &Change) -> KernelError {
        KernelError::Refused { what: what.to_string(), errno: Errno::ENOMEM, detail: None }
    }
}

impl Kernel for Short {
    fn observe(&mut self, needs: &Needs) -> Result<Facts, KernelError> {
        self.0.observe(needs)
    }

    fn apply(&mut self, change: &Change) -> Result<(), KernelError> {
        let adds = matches!(&change.object, Object::Address(diff) if diff.after.is_some());
        if adds && self.1.swap(false, Ordering::SeqCst) {
            return Err(Self::refuse(change));
        }
        self.0.apply(change)
    }

    fn apply_firewall(&mut self, changes: &[Change]) -> Result<(), KernelError> {
        self.0.apply_firewall(changes)
    }

    fn edit_table(&mut self, place: Place, table: &FwTable, edits: &[FwEdit]) -> Result<(), KernelError> {
        self.0.edit_table(place, table, edits)
    }

    fn inventory(&mut self, place: Place, table: &FwTable) -> Result<Option<FwInventory>, KernelError> {
        self.0.inventory(place, table)
    }

    fn remove_chains(
        &mut self,
        place: Place,
        table: &FwTable,
        is_meant: &mut dyn FnMut(&str) -> bool,
    ) -> Result<usize, KernelError> {
        self.0.remove_chains(place, table, is_meant)
    }

    fn forget_connections(
        &mut self,
        place: Place,
        is_meant: &mut dyn FnMut(&Flow) -> bool,
    ) -> Result<usize, KernelError> {
        self.0.forget_connections(place, is_meant)
    }

    fn probe(&mut self, place: Place, probes: &[Probe]) -> Result<(), KernelError> {
        self.0.probe(place, probes)
    }

    fn delete_links(&mut self, place: Place, names: &[IfName]) -> Result<(), KernelError> {
        self.0.delete_links(place, names)
    }

    fn pod_id(&self) -> Option<NetnsId> {
        self.0.pod_id()
    }

    fn host_id(&self) -> NetnsId {
        self.0.host_id()
    }
}

/// The lease moves to another address just when memory is short: the address comes a little later, and so do the routes that rest on it.
#[test]
fn a_change_that_found_no_memory_is_made_later() {
    let Some(mut world) = World::new(&["busybox"]) else { return };
    let is_short = Arc::new(AtomicBool::new(false));
    world.start_through(Box::new(ShortDoor(RealDoor::default(), is_short.clone())));
    let server = world.udhcpd(4, 20, 30);
    world.attach();
    is_short.store(true, Ordering::SeqCst);
    drop(server);
    let _server = world.udhcpd(600, 120, 130);
    eventually("the address moves", || {
        world.addresses().iter().any(|a| a.starts_with("10.77.0.12") || a.starts_with("10.77.0.13"))
    });
    eventually("its route comes along", || world.gateways() == ["10.77.0.1"]);
    assert!(!is_short.load(Ordering::SeqCst), "the address was refused once");
    assert_eq!(world.addresses().len(), 1);
}

/// The daemon's door alone is shut: its socket still answers, and an ADD is told why it fails.
#[test]
fn an_add_that_cannot_be_served_just_now_says_why_and_the_next_is_served() {
    let Some(mut world) = World::new(&["busybox"]) else { return };
    let faulty = Faulty::default();
    world.start_through(Box::new(faulty.clone()));
    let _server = world.udhcpd(60, 20, 30);
    faulty.shut();
    let error = world.dial().allocate(&world.arguments("net1", IPAM)).unwrap_err().to_string();
    assert!(error.contains("Too many open files"), "{error}");
    faulty.open_after(1);
    world.attach();
}
