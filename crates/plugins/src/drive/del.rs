//! DEL.

use std::time::{Duration, Instant};

use polynic_cni::{Error, Verb};
use polynic_kernel::{Errno, Kernel, KernelError, transaction};
use polynic_net::{Names, Place, Stake};

use super::add::describe;
use super::lock::ContainerLock;
use super::{Job, renamed, ways};
use crate::record::{self, Earlier, Record, Slot};
use crate::{Leftovers, Role};

/// How long DEL waits for a device whose namespace is gone. What comes later is found by the next ADD that wants it.
const RETURN_PATIENCE: Duration = Duration::from_secs(2);
/// Each look lists the node's links, so the pauses grow.
const RETURN_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(160);

/// Removes the attachment with whatever is left of it. The address is given back last, so that nobody gets it while a link
/// still answers for it; but by an IPAM plugin that works on the interface as long as that is there.
pub(super) fn del(job: &Job<'_>) -> Result<(), Error> {
    let mut kernel = job.open_leniently()?;
    let call = job.call;
    let lock = ContainerLock::take_existing(job.context.state, call.container_id());
    let lock = lock.map_err(|e| job.unlockable(&e))?;
    let slot = lock.as_ref().map(|l| job.slot_to_remove(&l.directory));
    let ledger = job.ledger(Verb::Del)?;
    let on_link = crate::ipam::works_on_link(job.attachment.ipam_type(call));
    let released = on_link.then(|| job.ipam(Verb::Del));
    let earlier = slot.as_ref().map_or(Earlier::Nothing, Slot::load);
    let is_anothers =
        earlier == Earlier::Nothing && lock.as_ref().is_some_and(|l| is_anothers(job, kernel.as_ref(), l));
    let had_record = earlier != Earlier::Nothing;
    let others = match (&lock, &earlier) {
        (Some(lock), Earlier::Applied(record)) if kernel.pod_id() == Some(record.netns) => {
            ways::others(record, record::applied(&lock.directory))
        }
        _ => Vec::new(),
    };
    let earlier = match earlier {
        Earlier::Applied(record) => Earlier::Applied(Box::new(without_relied_on(&record, &others))),
        earlier => earlier,
    };
    let errors = match &earlier {
        _ if is_anothers || ledger.as_ref().is_some_and(|ledger| !ledger.is_ours()) => Vec::new(),
        Earlier::Nothing => remove_leftovers(job, kernel.as_mut()),
        earlier => remove_recorded(job, kernel.as_mut(), earlier.records())?,
    };
    if let Some(error) = errors.into_iter().next() {
        return Err(call.error(error));
    }
    if let Earlier::Applied(record) = &earlier
        && kernel.pod_id() == Some(record.netns)
    {
        remove_unneeded(job, kernel.as_mut(), record, &others);
    }
    if ledger.as_ref().is_none_or(|ledger| ledger.is_ours()) {
        if had_record && kernel.pod_id().is_none() {
            await_return(job, kernel.as_mut());
        }
        sweep(job, kernel.as_mut());
    }
    released.unwrap_or_else(|| job.ipam(Verb::Del))?;
    let ledger = ledger.filter(|_| !is_anothers);
    ledger.map_or(Ok(()), |ledger| ledger.strike(call)).map_err(|e| call.explain(e))?;
    slot.map_or(Ok(()), |s| s.forget()).map_err(|e| call.error(describe(&e)))
}

/// The record without what other interfaces of the pod rely on: that stays when this one goes.
fn without_relied_on(record: &Record, others: &[Record]) -> Record {
    let relied_on = ways::of_records(others);
    let mut record = record.clone();
    for step in record.plan.steps.iter_mut().filter(|step| step.stake == Stake::Owned) {
        if ways::is_way(&step.change) && relied_on.iter().any(|way| ways::is_same(way, &step.change)) {
            step.stake = Stake::Ensured;
        }
    }
    record
}

/// Removes what this interface relied on and no other does: whoever made it is gone.
fn remove_unneeded(job: &Job<'_>, kernel: &mut dyn Kernel, record: &Record, others: &[Record]) {
    let relied_on = ways::of_records(others);
    let own = ways::of(&record.plan);
    let gone = own.iter().rev().filter(|step| step.stake == Stake::Ensured);
    let gone = gone.filter(|step| !relied_on.iter().any(|way| ways::is_same(way, &step.change)));
    for change in gone.filter_map(|step| step.change.clone().inverse()) {
        match kernel.apply(&change) {
            Err(e) if !e.is_absent() && e.errno() != Some(Errno::EEXIST) => {
                (job.context.warn)(&format!("{}: {e}", job.call.whom()));
            }
            _ => {}
        }
    }
}

/// Takes recorded plans back, in the order given.
pub(super) fn remove_recorded<'a>(
    job: &Job<'_>,
    kernel: &mut dyn Kernel,
    records: impl Iterator<Item = &'a Record>,
) -> Result<Vec<KernelError>, Error> {
    let names = names_now(job, kernel);
    let mut errors = Vec::new();
    for record in records {
        errors.extend(remove_one(job, kernel, record, &names)?);
    }
    Ok(errors)
}

/// If the path now means another namespace, the one that was attached to is gone, and only the node's side is left to clean.
fn remove_one(
    job: &Job<'_>,
    kernel: &mut dyn Kernel,
    record: &Record,
    names: &Names,
) -> Result<Vec<KernelError>, Error> {
    if kernel.pod_id().is_none_or(|pod| pod == record.netns) {
        return Ok(transaction::remove(kernel, &record.plan.renamed(Place::Pod, names)));
    }
    let mut host_only = job.context.door.open(None).map_err(|e| job.call.error(e))?;
    Ok(transaction::remove(host_only.as_mut(), &record.plan))
}

/// The names that links of the pod have now. The links of a chained plugin are those of the main one's record. What cannot be looked up has
/// the name it had.
fn names_now(job: &Job<'_>, kernel: &mut dyn Kernel) -> Names {
    let Some(pod) = kernel.pod_id() else { return Names::new() };
    let mut records = record::applied(&record::directory(job.context.state, job.call.container_id()));
    records.retain(|known| known.netns == pod);
    renamed::names(kernel, &records).unwrap_or_default()
}

/// The kernel takes a namespace down some time after its last user is gone, and only then gives hardware back.
fn await_return(job: &Job<'_>, kernel: &mut dyn Kernel) {
    let (end, mut pause) = (Instant::now() + RETURN_PATIENCE, RETURN_PAUSE);
    let needs = job.attachment.leftover_needs(job.call);
    while kernel.observe(&needs).is_ok_and(|facts| job.attachment.awaits(job.call, &facts)) {
        if Instant::now() >= end {
            return;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Removes what others may have shared, as far as it goes: what stays is in nobody's way.
fn sweep(job: &Job<'_>, kernel: &mut dyn Kernel) {
    let Ok(facts) = kernel.observe(&job.attachment.leftover_needs(job.call)) else { return };
    for change in job.attachment.sweep(job.call, &facts) {
        if let Err(e) = kernel.apply(&change) {
            (job.context.warn)(&format!("{}: {e}", job.call.whom()));
        }
    }
}

/// Whether what looks like a leftover belongs to an attachment that has a record. For a chained plugin: the container has one by the same
/// plugin for another interface, so it was ours that attached all of them. For a main plugin: another network has the interface of this
/// name, so our ADD was refused for it.
fn is_anothers(job: &Job<'_>, kernel: &dyn Kernel, lock: &ContainerLock) -> bool {
    let is_it = |record: &Record| match job.attachment.role() {
        Role::Chained => record.plugin == job.call.plugin,
        Role::Main => has_interface(record, job, kernel),
    };
    record::applied(&lock.directory).iter().any(is_it)
}

/// Whether a main plugin's record is of the interface that the call is about. What a chained plugin was given is never empty.
fn has_interface(record: &Record, job: &Job<'_>, kernel: &dyn Kernel) -> bool {
    let is_main = record.given.is_empty();
    is_main && record.ifname == job.call.ifname.as_str() && Some(record.netns) == kernel.pod_id()
}

fn remove_leftovers(job: &Job<'_>, kernel: &mut dyn Kernel) -> Vec<KernelError> {
    let leftovers = match kernel.observe(&job.attachment.leftover_needs(job.call)) {
        Ok(facts) => job.attachment.leftovers(job.call, &facts),
        // Better the interface than nothing; it is not a chained plugin's to remove.
        Err(_) if job.attachment.role() == Role::Main => Leftovers::interface(job.call),
        Err(_) => Leftovers::default(),
    };
    remove(kernel, leftovers)
}

fn remove(kernel: &mut dyn Kernel, leftovers: Leftovers) -> Vec<KernelError> {
    let links = leftovers.links.into_iter().map(|(place, name)| (place, [name]));
    let deleted: Vec<_> = links.map(|(place, name)| kernel.delete_links(place, &name)).collect();
    let changed: Vec<_> = leftovers.changes.iter().map(|change| kernel.apply(change)).collect();
    let failed = deleted.into_iter().chain(changed).filter_map(Result::err);
    // Somebody else's state now, or nothing: what is wanted is that ours is gone.
    failed.filter(|e| !e.is_absent() && !matches!(e, KernelError::Stale { .. })).collect()
}
