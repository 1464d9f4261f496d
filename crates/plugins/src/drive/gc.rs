//! GC: removes what belongs to no valid attachment, and asks the IPAM plugin to do the same.

use polynic_cni::{Error, Invocation, Verb};

use super::Job;
use crate::record::{self, Earlier, Slot};
use crate::{Attacher, Call};

/// Goes on after errors and reports the first. Without a list of valid attachments nothing is known to be stale.
pub(super) fn gc(attacher: &dyn Attacher, job: &Job<'_>) -> Result<(), Error> {
    let Some(valid) = job.call.conf.valid_attachments()? else { return Ok(()) };
    let is_valid = |id: &str, ifname: &str| valid.iter().any(|a| a.container_id == id && a.ifname == ifname);
    let known = record::attachments(job.context.state, job.call.network(), job.call.plugin);
    let stale = known.into_iter().filter(|(id, ifname)| !is_valid(id, ifname));
    let removed: Vec<Result<(), Error>> =
        stale.map(|(id, ifname)| remove(attacher, job, id, ifname)).collect();
    let forwarded = job.ipam(Verb::Gc).map(drop);
    removed.into_iter().chain([forwarded]).collect()
}

/// A DEL of the stale attachment, in the namespace that its record names.
fn remove(attacher: &dyn Attacher, job: &Job<'_>, container_id: String, ifname: String) -> Result<(), Error> {
    let directory = record::directory(job.context.state, &container_id);
    let slot = Slot::new(&directory, job.call.network(), &ifname, job.call.plugin);
    let netns = match slot.load() {
        Earlier::Applied(record) | Earlier::Intended(record) => record.netns_path,
        Earlier::Reserving | Earlier::Nothing => String::new(),
    };
    let invocation = Invocation { container_id, ifname, netns, ..job.call.invocation.clone() };
    let call = Call::new(job.call.plugin, &invocation, job.call.conf)?;
    let attachment = attacher.read(&call)?;
    super::del::del(&Job { context: job.context, call: &call, attachment: attachment.as_ref() })
}
