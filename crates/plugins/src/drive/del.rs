//! DEL.

use polynic_cni::{Error, Verb};
use polynic_kernel::{Kernel, KernelError, transaction};

use super::Job;
use super::add::describe;
use super::lock::ContainerLock;
use crate::record::{Earlier, Record, Slot};
use crate::{Leftovers, Role};

/// Removes the attachment with whatever is left of it. The address is given back last, so that nobody gets it while a link
/// still answers for it.
pub(super) fn del(job: &Job<'_>) -> Result<(), Error> {
    let mut kernel = job.open_leniently()?;
    let call = job.call;
    let lock = ContainerLock::take_existing(job.context.state, call.container_id());
    let lock = lock.map_err(|e| call.error(format!("cannot lock the container's records: {e}")))?;
    let slot = lock.as_ref().map(|l| job.slot_to_remove(&l.directory));
    let errors = match slot.as_ref().map(Slot::load) {
        Some(Earlier::Applied(record) | Earlier::Intended(record)) => {
            remove_recorded(job, kernel.as_mut(), &record)?
        }
        Some(Earlier::Reserving) => Vec::new(),
        Some(Earlier::Nothing) | None => remove_leftovers(job, kernel.as_mut()),
    };
    if let Some(error) = errors.into_iter().next() {
        return Err(call.error(error));
    }
    job.ipam(Verb::Del)?;
    slot.map_or(Ok(()), |s| s.forget()).map_err(|e| call.error(describe(&e)))
}

/// Takes a recorded plan back. If the path now means another namespace, the one that was attached to is gone, and only the
/// node's side is left to clean.
pub(super) fn remove_recorded(
    job: &Job<'_>,
    kernel: &mut dyn Kernel,
    record: &Record,
) -> Result<Vec<KernelError>, Error> {
    if kernel.pod_id().is_none_or(|pod| pod == record.netns) {
        return Ok(transaction::remove(kernel, &record.plan));
    }
    let mut host_only = job.context.door.open(None).map_err(|e| job.call.error(e))?;
    Ok(transaction::remove(host_only.as_mut(), &record.plan))
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
