//! GC: removes what belongs to no valid attachment, and asks the IPAM plugin to do the same.

use polynic_cni::{Error, Invocation, Verb};

use super::{Job, Reader};
use crate::record::{self, Earlier};
use crate::{Call, Stray};

/// Goes on after errors and reports the first. Without a list of valid attachments nothing is known to be stale.
pub(super) fn gc(reader: &Reader<'_>, job: &Job<'_>) -> Result<(), Error> {
    let Some(valid) = job.call.conf.valid_attachments()? else { return Ok(()) };
    let is_valid = |id: &str, ifname: &str| valid.iter().any(|a| a.container_id == id && a.ifname == ifname);
    let known = record::attachments(job.context.state, job.call.network(), job.call.plugin);
    let stale = known.into_iter().filter(|(id, ifname)| !is_valid(id, ifname));
    let mut removed: Vec<Result<(), Error>> =
        stale.map(|(id, ifname)| remove(reader, job, id, ifname)).collect();
    let strays = job.attachment.strays(job.call).into_iter();
    let strays = strays.filter(|s| !is_valid(&s.container_id, &s.ifname));
    removed.extend(strays.map(|stray| remove_stray(reader, job, stray)));
    let forwarded = job.ipam(Verb::Gc).map(drop);
    removed.into_iter().chain([forwarded]).collect()
}

/// The DEL of an attachment that has no record.
fn remove_stray(reader: &Reader<'_>, job: &Job<'_>, stray: Stray) -> Result<(), Error> {
    let Stray { container_id, ifname, netns } = stray;
    let invocation = Invocation { container_id, ifname, netns, ..job.call.invocation.clone() };
    let call = Call::new(job.call.plugin, &invocation, job.call.conf)?;
    let attachment = reader(&call)?;
    super::del::del(&Job { context: job.context, call: &call, attachment: attachment.as_ref() })
}

/// DELs of the stale attachment, in the namespace that its record names, until there is no record of it: of a chained plugin
/// there may be several.
fn remove(reader: &Reader<'_>, job: &Job<'_>, container_id: String, ifname: String) -> Result<(), Error> {
    let directory = record::directory(job.context.state, &container_id);
    let mut invocation = Invocation { container_id, ifname, ..job.call.invocation.clone() };
    loop {
        let call = Call::new(job.call.plugin, &invocation, job.call.conf)?;
        let attachment = reader(&call)?;
        let one = Job { context: job.context, call: &call, attachment: attachment.as_ref() };
        let earlier = one.slot_to_remove(&directory).load();
        if earlier == Earlier::Nothing {
            return Ok(());
        }
        invocation.netns = earlier.records().next().map(|r| r.netns_path.clone()).unwrap_or_default();
        let call = Call::new(job.call.plugin, &invocation, job.call.conf)?;
        super::del::del(&Job { context: job.context, call: &call, attachment: attachment.as_ref() })?;
    }
}
