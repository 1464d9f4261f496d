//! An attachment's entries in [`Store`]: who may have the function, and what is on file about it.

use std::path::Path;

use polynic_cni::{Error, Success};
use polynic_kernel::{Errno, Kernel, KernelError};
use polynic_net::{Change, Facts, IfName, LinkRef, Place};

use super::config::Wanted;
use super::files::{Lock, Store};
use super::function::{Function, is_address};
use super::state::State;
use crate::{Call, Context, Ledger};

/// The entries of one attachment, under the lock of its function.
pub(super) struct Entries {
    store: Store,
    device: String,
    /// For ADD: what is asked for, and the function as it was before.
    claim: Option<(Wanted, Function)>,
    sysfs: &'static str,
    ours: bool,
    _lock: Lock,
}

/// Name of an attachment's file.
pub(super) fn key(call: &Call<'_>) -> String {
    format!("{}-{}", call.container_id(), call.ifname)
}

/// Opens the entries for ADD: the function must be free, or this attachment's already.
pub(super) fn claim(
    call: &Call<'_>,
    context: &Context<'_>,
    store: &Store,
    sysfs: &'static str,
    wanted: &Wanted,
) -> Result<Entries, Error> {
    let device = wanted.device.clone();
    let lock = store.lock(&device).map_err(|why| call.error(why))?;
    let mut entries = Entries { store: store.clone(), device, claim: None, sysfs, ours: true, _lock: lock };
    match store.holder(&entries.device) {
        None => {}
        Some(netns) if entries.is_held_by_this(call, &netns) => {}
        Some(netns) if context.door.open(Some(&netns)).is_ok() => {
            let text = format!(
                "SRIOV-CNI failed to load netconf: pci address {} is already allocated",
                entries.device
            );
            return Err(Error::try_again(text));
        }
        Some(_) => entries.evict(call, context)?,
    }
    // One that cannot be found is refused when it is looked for.
    let function = Function::find(Path::new(sysfs), &wanted.device).ok();
    entries.claim = function.map(|function| (wanted.clone(), function));
    Ok(entries)
}

/// Opens the entries for DEL. None: nothing says which function it was.
pub(super) fn release(
    call: &Call<'_>,
    context: &Context<'_>,
    store: &Store,
    sysfs: &'static str,
    configured: Option<&Wanted>,
) -> Result<Option<Entries>, Error> {
    let state = store.state(&key(call)).filter(|state| is_address(&state.device));
    let device = state.as_ref().map(|state| state.device.clone());
    let Some(device) = device.or_else(|| configured.map(|wanted| wanted.device.clone())) else {
        return Ok(None);
    };
    let lock = store.lock(&device).map_err(|why| call.error(why))?;
    let ours = match store.holder(&device) {
        None => true,
        // The pod is gone, and so is its namespace: one that is there is somebody else's.
        Some(netns) if call.invocation.netns.is_empty() => context.door.open(Some(&netns)).is_err(),
        Some(netns) => netns == call.invocation.netns,
    };
    let entries = Entries { store: store.clone(), device, claim: None, sysfs, ours, _lock: lock };
    if let (true, Some(state)) = (ours, state) {
        entries.require_place(call, &state)?;
    }
    Ok(Some(entries))
}

impl Entries {
    fn is_held_by_this(&self, call: &Call<'_>, netns: &str) -> bool {
        let on_file = self.store.state(&key(call)).is_some_and(|state| state.device == self.device);
        on_file && netns == call.invocation.netns
    }

    /// Takes the function from an attachment whose namespace is gone: nothing of that one's settings may reach the next pod.
    fn evict(&self, call: &Call<'_>, context: &Context<'_>) -> Result<(), Error> {
        let failed = |why: &dyn std::fmt::Display| {
            call.error(format!("cannot take VF {} from a pod that is gone: {why}", self.device))
        };
        let states = self.store.states().into_iter().map(|(_, state)| state);
        if let Some(state) = states.into_iter().find(|state| state.device == self.device) {
            let function = Function::find(Path::new(self.sysfs), &self.device).map_err(|why| failed(&why))?;
            let mut kernel = context.door.open(None).map_err(|e| failed(&e))?;
            let mut changes = state.resets(&function);
            changes.extend(homecoming(&state, &function));
            apply_all(kernel.as_mut(), &changes).map_err(|e| failed(&e))?;
        }
        self.store.free(&self.device).map_err(|e| failed(&e))
    }

    /// What is reset must be this function and no other: the physical one may have got another name, or its functions others numbers.
    fn require_place(&self, call: &Call<'_>, state: &State) -> Result<(), Error> {
        let sysfs = Path::new(self.sysfs);
        let pf_is_there = sysfs.join("class/net").join(&state.master).exists();
        match Function::find(sysfs, &self.device) {
            Ok(now)
                if pf_is_there && (now.pf.as_str(), now.index) != (state.master.as_str(), state.index) =>
            {
                Err(call.error(format!(
                    "VF {} is VF {} of {}, not VF {} of {} as it was when the pod got it",
                    self.device, now.index, now.pf, state.index, state.master
                )))
            }
            _ => Ok(()),
        }
    }
}

impl Ledger for Entries {
    fn is_ours(&self) -> bool {
        self.ours
    }

    fn enter(&self, call: &Call<'_>, facts: &Facts, _result: &Success) -> Result<(), Error> {
        let Some((wanted, function)) = &self.claim else { return Ok(()) };
        let state = State::new(call, wanted, function, facts);
        let written = self.store.set_state(&key(call), &state);
        let written = written.and_then(|()| self.store.set_holder(&self.device, &call.invocation.netns));
        written.map_err(|e| call.error(format!("error saving NetConf {e}")))
    }

    fn strike(&self, call: &Call<'_>) -> Result<(), Error> {
        let failed = |e| call.error(format!("error cleaning the pci allocation for VF {}: {e}", self.device));
        if self.ours {
            self.store.free(&self.device).map_err(failed)?;
        }
        // The file's name does not say which network it is of: another one may have the interface.
        match self.store.state(&key(call)) {
            Some(state) if state.device != self.device => Ok(()),
            _ => self.store.remove_state(&key(call)).map_err(failed),
        }
    }
}

/// What brings a function's link home that the kernel gave back to the node, under whatever name it has.
pub(super) fn homecoming(state: &State, function: &Function) -> Vec<Change> {
    match (function.link.clone(), state.home_name()) {
        (Some(name), Some(home)) if name != home => {
            let spare = name.clone();
            state.homecoming(&LinkRef { place: Place::Host, name }, spare)
        }
        _ => Vec::new(),
    }
}

/// A name for a link whose own is taken when it comes home.
pub(super) fn spare_name(index: u32) -> IfName {
    match IfName::new(format!("temp_{index}")) {
        Ok(name) => name,
        Err(_) => unreachable!("five letters and ten digits are a valid name"),
    }
}

/// Goes on until something is refused; what is gone is no error, nor is an old name that somebody else has by now.
fn apply_all(kernel: &mut dyn Kernel, changes: &[Change]) -> Result<(), KernelError> {
    for change in changes {
        match kernel.apply(change) {
            Err(e) if !e.is_absent() && e.errno() != Some(Errno::EEXIST) => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

/// The attachments of a network that are on file, with the namespaces of those that have their functions.
pub(super) fn attachments(store: &Store, network: &str) -> Vec<crate::Stray> {
    let ours = store.states().into_iter().filter(|(_, state)| state.name == network);
    let stray = |(key, state): (String, State)| {
        let (container_id, ifname) = key.rsplit_once('-')?;
        let netns = store.holder(&state.device).unwrap_or_default();
        Some(crate::Stray { container_id: container_id.to_owned(), ifname: ifname.to_owned(), netns })
    };
    ours.filter_map(stray).collect()
}
