//! DEL.

use std::time::{Duration, Instant};

use polynic_cni::{Error, Verb};
use polynic_kernel::{Errno, Kernel, KernelError, transaction};
use polynic_net::{Change, Names, Object, Place, Plan, Route, Stake, Step};

use super::add::describe;
use super::lock::ContainerLock;
use super::{Job, renamed};
use crate::record::{self, Earlier, Record, Slot};
use crate::{Leftovers, Role};

/// How long DEL waits for a device whose namespace is gone. What comes later is found by the next ADD that wants it.
const RETURN_PATIENCE: Duration = Duration::from_secs(2);
const RETURN_PAUSE: Duration = Duration::from_millis(20);

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
    let errors = match &earlier {
        _ if is_anothers || ledger.as_ref().is_some_and(|ledger| !ledger.is_ours()) => Vec::new(),
        Earlier::Nothing => remove_leftovers(job, kernel.as_mut()),
        earlier => remove_recorded(job, kernel.as_mut(), earlier.records())?,
    };
    if let Some(error) = errors.into_iter().next() {
        return Err(call.error(error));
    }
    if let (Some(lock), Earlier::Applied(record)) = (&lock, &earlier) {
        keep_for_others(job, kernel.as_mut(), lock, record);
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

/// What interfaces of the pod rely on together stays as long as one of them does: put back if this record made it, removed with the last.
fn keep_for_others(job: &Job<'_>, kernel: &mut dyn Kernel, lock: &ContainerLock, record: &Record) {
    let own = ways(&record.plan);
    if kernel.pod_id() != Some(record.netns) || own.is_empty() {
        return;
    }
    let mut others = record::applied(&lock.directory);
    others.retain(|other| other.position != record.position);
    let theirs: Vec<&Step> = others.iter().flat_map(|other| ways(&other.plan)).collect();
    let relied_on = |step: &Step| theirs.iter().any(|s| is_same(&s.change, &step.change));
    let kept = own.iter().filter(|s| s.stake == Stake::Owned && relied_on(s)).map(|s| s.change.clone());
    let gone = own.iter().rev().filter(|s| s.stake == Stake::Ensured && !relied_on(s));
    let changes: Vec<Change> = kept.chain(gone.filter_map(|s| s.change.clone().inverse())).collect();
    for change in changes {
        match kernel.apply(&change) {
            Err(e) if !e.is_absent() && e.errno() != Some(Errno::EEXIST) => {
                (job.context.warn)(&format!("{}: {e}", job.call.whom()));
            }
            _ => {}
        }
    }
}

/// The steps that leave a way in the pod, or leave one given up: those that a later step takes back are not among them.
fn ways(plan: &Plan) -> Vec<&Step> {
    let mut ways: Vec<&Step> = Vec::new();
    for step in plan.steps.iter().filter(|s| is_way(&s.change)) {
        let before = step.change.clone().inverse();
        ways.retain(|old| before.as_ref().is_none_or(|before| !is_same(&old.change, before)));
        ways.push(step);
    }
    ways
}

/// Whether a change makes a way in the pod, or gives one up.
fn is_way(change: &Change) -> bool {
    let is_way = matches!(change.object, Object::Route(_) | Object::Rule(_) | Object::Neighbour(_));
    change.place == Place::Pod && is_way && (change.is_creation() || change.is_deletion())
}

/// Whether two changes do the same. One may leave the metric open that the other has seen.
fn is_same(one: &Change, other: &Change) -> bool {
    let plain = |route: &Option<Route>| {
        route.clone().map(|route| Route { priority: route.effective_priority(), ..route })
    };
    match (&one.object, &other.object) {
        (Object::Route(a), Object::Route(b)) => {
            one.place == other.place
                && plain(&a.before) == plain(&b.before)
                && plain(&a.after) == plain(&b.after)
        }
        _ => one == other,
    }
}

/// Takes recorded plans back, in the order given.
pub(super) fn remove_recorded<'a>(
    job: &Job<'_>,
    kernel: &mut dyn Kernel,
    records: impl Iterator<Item = &'a Record>,
) -> Result<Vec<KernelError>, Error> {
    let mut errors = Vec::new();
    for record in records {
        errors.extend(remove_one(job, kernel, record)?);
    }
    Ok(errors)
}

/// If the path now means another namespace, the one that was attached to is gone, and only the node's side is left to clean.
fn remove_one(job: &Job<'_>, kernel: &mut dyn Kernel, record: &Record) -> Result<Vec<KernelError>, Error> {
    if kernel.pod_id().is_none_or(|pod| pod == record.netns) {
        let plan = as_called_now(job, kernel, record);
        return Ok(transaction::remove(kernel, &plan));
    }
    let mut host_only = job.context.door.open(None).map_err(|e| job.call.error(e))?;
    Ok(transaction::remove(host_only.as_mut(), &record.plan))
}

/// The plan with the names that the pod's links have now. The links of a chained plugin are those of the main one's record.
fn as_called_now(job: &Job<'_>, kernel: &mut dyn Kernel, record: &Record) -> Plan {
    let directory = record::directory(job.context.state, job.call.container_id());
    let mut records = record::applied(&directory);
    records.retain(|known| known.netns == record.netns);
    let names = if kernel.pod_id().is_some() { renamed::names(kernel, &records) } else { Ok(Names::new()) };
    // What cannot be looked up has the names it had.
    record.plan.renamed(Place::Pod, &names.unwrap_or_default())
}

/// The kernel takes a namespace down some time after its last user is gone, and only then gives hardware back.
fn await_return(job: &Job<'_>, kernel: &mut dyn Kernel) {
    let end = Instant::now() + RETURN_PATIENCE;
    let needs = job.attachment.leftover_needs(job.call);
    while kernel.observe(&needs).is_ok_and(|facts| job.attachment.awaits(job.call, &facts)) {
        if Instant::now() >= end {
            return;
        }
        std::thread::sleep(RETURN_PAUSE);
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
