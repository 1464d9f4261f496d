//! CHECK: what ADD promised against what is there.

use polynic_cni::{Error, Verb};
use polynic_net::check::{needs, promises_of, violations};

use super::Job;
use crate::{prev, record};

pub(super) fn check(job: &Job<'_>) -> Result<(), Error> {
    let call = job.call;
    job.ipam(Verb::Check)?;
    let Some(prev) = call.conf.prev_result()? else {
        return Err(call.error("required prevResult missing"));
    };
    let mut kernel = job.open()?;
    let mut wanted = job.attachment.needs(call, Some(&prev));
    wanted.merge(prev::needs(call));
    let facts = kernel.observe(&wanted).map_err(|e| call.error(e))?;
    job.attachment.check(call, &prev, &facts)?;
    // Attachments that came later to this pod may have moved a route or changed a setting of this one.
    let mut records = record::applied(&record::directory(job.context.state, call.container_id()));
    records.retain(|r| Some(r.netns) == kernel.pod_id());
    let is_own = |at: usize| {
        records.get(at).is_some_and(|r| r.network == call.network() && r.ifname == call.ifname.as_str())
    };
    let promised = promises_of(records.iter().map(|r| &r.plan), is_own);
    let facts = kernel.observe(&needs(&promised)).map_err(|e| call.error(e))?;
    match violations(&promised, &facts).as_slice() {
        [] => Ok(()),
        [first, ..] => Err(call.error(first)),
    }
}
