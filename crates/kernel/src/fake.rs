//! A kernel in memory, strict about the rules of the real one that plans must obey, and able to fail on command.
//!
//! [`FakeDoor`] is the whole machine: every clone and every [`Kernel`] it opens sees the same world. Tests build a host
//! with [`FakeDoor::host`], make namespaces with [`FakeDoor::add_netns`], fail the n-th operation with
//! [`FakeDoor::fail_at`] or die at it with [`FakeDoor::crash_at`], and compare [`Snapshot`]s. An operation is one call of
//! [`Kernel::apply`] (waiting included), [`Kernel::apply_firewall`], [`Kernel::edit_table`] or [`Kernel::delete_links`]; each happens wholly or not
//! at all.
//!
//! Not modelled: traffic, time (waits end at once), renaming and moving links, the table `local`.

mod address;
mod attr;
mod fault;
mod firewall;
mod forwarding;
mod lan;
mod link;
mod neighbour;
mod observe;
mod route;
mod ruleset;
mod setup;
mod snapshot;
mod source;
mod space;
mod state;
mod sysctl;
#[cfg(test)]
mod tests;
mod traffic;
mod wireguard;
mod world;
mod zone;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polynic_net::{
    Announcement, Change, Facts, Flow, FwEdit, FwInventory, FwRuleset, FwTable, IfName, Mac, Needs, Object,
    Place, Probe,
};

use crate::{Door, Errno, Kernel, KernelError, NetnsId, OpenError};
use fault::Fault;
use world::{HOST, Refusal, World};

pub use setup::Setup;
pub use snapshot::Snapshot;

/// The machine: a host namespace, pods' namespaces by path, and the faults to come.
#[derive(Clone, Debug, Default)]
pub struct FakeDoor {
    world: Arc<Mutex<World>>,
}

impl FakeDoor {
    /// A machine whose host namespace has nothing but a loopback link that is down.
    pub fn new() -> Self {
        Self::default()
    }

    /// A second machine in the same state, which from here on goes its own way: one build for many attempts.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self { world: Arc::new(Mutex::new(self.world().clone())) }
    }

    /// Makes a namespace and registers it under `path`, in place of what the path meant before.
    pub fn add_netns(&self, path: &str) {
        self.world().add_space(path);
    }

    /// Destroys the namespace at `path`: its links go, and with them the other ends of pairs. Nothing happens if there is none.
    pub fn remove_netns(&self, path: &str) {
        self.world().remove_space(path);
    }

    /// Removes only the path; the namespace lives on, as if a process still held it.
    pub fn unlink_netns(&self, path: &str) {
        self.world().paths.remove(path);
    }

    /// Builds in the host namespace. See [`Setup`].
    pub fn host(&self, build: impl FnOnce(&mut Setup<'_>)) {
        build(&mut Setup::new(&mut self.world(), HOST));
    }

    /// Builds in the namespace at `path`.
    ///
    /// # Panics
    /// If there is none: the test is wrong.
    #[track_caller]
    pub fn pod(&self, path: &str, build: impl FnOnce(&mut Setup<'_>)) {
        let mut world = self.world();
        let Some(space) = world.paths.get(path).copied() else { panic!("no namespace at {path}") };
        build(&mut Setup::new(&mut world, space));
    }

    /// Makes the `n`-th operation from now (counted from 1) fail with `EIO`; those before and after work.
    pub fn fail_at(&self, n: u64) {
        self.fail_at_with(n, Errno(5));
    }

    /// Like [`Self::fail_at`] with another error number.
    pub fn fail_at_with(&self, n: u64, errno: Errno) {
        self.world().faults.plan(n, Fault::Refuse(errno));
    }

    /// Makes the `n`-th operation from now (counted from 1) and all later ones fail, as if the process had died before it.
    /// [`Self::heal`] starts the next process.
    pub fn crash_at(&self, n: u64) {
        self.world().faults.plan(n, Fault::Crash);
    }

    /// Forgets all faults, those that are to come and those that have.
    pub fn heal(&self) {
        self.world().faults.heal();
    }

    /// Whether duplicate address detection finds another owner of every IPv6 address that is subject to it.
    pub fn set_dad_failing(&self, failing: bool) {
        self.world().dad_fails = failing;
    }

    /// Puts a station on the network around the machine, which answers for an address.
    pub fn set_station(&self, ip: IpAddr, mac: Mac) {
        self.world().lan.stations.insert(ip, mac);
    }

    /// What the network was told, in order.
    pub fn announced(&self) -> Vec<Announcement> {
        self.world().lan.announced.clone()
    }

    /// How many operations were asked for since the beginning, failed ones included.
    pub fn operations(&self) -> u64 {
        self.world().faults.operations()
    }

    /// A table that is edited as a whole, in the namespace at `path`.
    pub fn ruleset(&self, path: &str, table: &FwTable) -> Option<FwRuleset> {
        let world = self.world();
        let space = world.space(*world.paths.get(path)?)?;
        space.rulesets.get(table).cloned()
    }

    /// Everything there is, in a form that compares and prints well.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.world())
    }

    fn world(&self) -> MutexGuard<'_, World> {
        // A test that panicked elsewhere has left a whole world: operations replace it in one assignment.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Door for FakeDoor {
    fn open(&self, netns: Option<&str>) -> Result<Box<dyn Kernel>, OpenError> {
        let pod = match netns {
            None => None,
            Some(path) => {
                let known = self.world().paths.get(path).copied();
                Some(known.ok_or_else(|| OpenError::Missing(path.to_owned()))?)
            }
        };
        Ok(Box::new(FakeKernel { door: self.clone(), pod }))
    }
}

/// One attachment's view of a [`FakeDoor`].
#[derive(Clone, Debug)]
pub struct FakeKernel {
    door: FakeDoor,
    pod: Option<u32>,
}

impl FakeKernel {
    /// Runs one operation: counted, failed if a fault is due, and without effect unless it succeeds.
    fn operate(
        &self,
        what: &dyn Fn() -> String,
        run: impl FnOnce(&mut World) -> Result<(), Refusal>,
    ) -> Result<(), KernelError> {
        let mut world = self.door.world();
        world.faults.strike(what)?;
        let mut next = world.clone();
        run(&mut next).map_err(|refusal| refusal.explain(what()))?;
        next.settle();
        *world = next;
        Ok(())
    }
}

impl Kernel for FakeKernel {
    fn observe(&mut self, needs: &Needs) -> Result<Facts, KernelError> {
        let world = self.door.world();
        let pod = self.pod.and_then(|pod| world.observe(pod, &needs.pod));
        Ok(Facts { host: world.observe(HOST, &needs.host).unwrap_or_default(), pod })
    }

    fn apply(&mut self, change: &Change) -> Result<(), KernelError> {
        self.operate(&|| change.to_string(), |world| world.change(self.pod, change))
    }

    fn apply_firewall(&mut self, changes: &[Change]) -> Result<(), KernelError> {
        let what = || {
            let texts: Vec<String> = changes.iter().map(ToString::to_string).collect();
            texts.join(", ")
        };
        let Some(first) = changes.first() else { return Ok(()) };
        self.operate(&what, |world| {
            let space = world.space_at(self.pod, first.place)?;
            let mut diffs = Vec::new();
            for change in changes {
                match &change.object {
                    Object::Firewall(diff) if change.place == first.place => diffs.push(diff),
                    _ => return Err(Errno::EINVAL.into()),
                }
            }
            world.space_mut(space)?.firewall.batch(&diffs)
        })
    }

    fn edit_table(&mut self, place: Place, table: &FwTable, edits: &[FwEdit]) -> Result<(), KernelError> {
        if edits.is_empty() {
            return Ok(());
        }
        let what = || format!("edit table {} in {place}", table.name);
        self.operate(&what, |world| {
            let space = world.space_at(self.pod, place)?;
            world.space_mut(space)?.rulesets.edit(table, edits)
        })
    }

    fn inventory(&mut self, place: Place, table: &FwTable) -> Result<Option<FwInventory>, KernelError> {
        let world = self.door.world();
        let what = || format!("read table {} in {place}", table.name);
        let space = world.space_at(self.pod, place).map_err(|refusal| refusal.explain(what()))?;
        Ok(world.space(space).and_then(|space| space.rulesets.inventory(table)))
    }

    fn remove_chains(
        &mut self,
        place: Place,
        table: &FwTable,
        is_meant: &mut dyn FnMut(&str) -> bool,
    ) -> Result<usize, KernelError> {
        let there = self.inventory(place, table)?.unwrap_or_default();
        let chains = there.chains.into_iter().filter(|(_, base)| base.is_none()).map(|(name, _)| name);
        let names: BTreeSet<String> = chains.filter(|name| is_meant(name)).collect();
        if names.is_empty() {
            return Ok(0);
        }
        let what = || format!("remove chains of table {} in {place}", table.name);
        self.operate(&what, |world| {
            let space = world.space_at(self.pod, place)?;
            world.space_mut(space)?.rulesets.remove_chains(table, &names);
            Ok(())
        })?;
        Ok(names.len())
    }

    /// Nobody sends packets here, so nothing is tracked.
    fn forget_connections(
        &mut self,
        _place: Place,
        _is_meant: &mut dyn FnMut(&Flow) -> bool,
    ) -> Result<usize, KernelError> {
        Ok(0)
    }

    fn probe(&mut self, place: Place, probes: &[Probe]) -> Result<(), KernelError> {
        let what = || {
            let texts: Vec<String> = probes.iter().map(ToString::to_string).collect();
            format!("{} in {place}", texts.join(", "))
        };
        self.operate(&what, |world| {
            let space = world.space_at(self.pod, place)?;
            world.lan.probe(world.space(space).ok_or(Refusal::NoPod)?, probes)
        })
    }

    fn delete_links(&mut self, place: Place, names: &[IfName]) -> Result<(), KernelError> {
        let what = || {
            let texts: Vec<&str> = names.iter().map(IfName::as_str).collect();
            format!("remove links {} in {place}", texts.join(", "))
        };
        self.operate(&what, |world| {
            let space = world.space_at(self.pod, place)?;
            for name in names {
                match world.delete_link(space, name) {
                    Err(Refusal::Errno(Errno::ENODEV, _)) | Ok(()) => {}
                    Err(refusal) => return Err(refusal),
                }
            }
            Ok(())
        })
    }

    fn pod_id(&self) -> Option<NetnsId> {
        self.pod.filter(|pod| self.door.world().spaces.contains_key(pod)).map(netns_id)
    }

    fn host_id(&self) -> NetnsId {
        netns_id(HOST)
    }
}

fn netns_id(space: u32) -> NetnsId {
    // The numbers look like those of nsfs; only their difference matters.
    NetnsId { device: 4, inode: 0xf000_0000 + u64::from(space) }
}
