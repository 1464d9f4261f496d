//! CHECK: what ADD promised against what is there.

use polynic_cni::{Error, Verb};
use polynic_net::check::{needs, promises, violations};

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
    let directory = record::directory(job.context.state, call.container_id());
    let chain = record::chain(&directory, call.network(), call.ifname.as_str());
    let same_pod = chain.iter().filter(|r| Some(r.netns) == kernel.pod_id());
    let promised = promises(same_pod.map(|r| &r.plan));
    let facts = kernel.observe(&needs(&promised)).map_err(|e| call.error(e))?;
    match violations(&promised, &facts).as_slice() {
        [] => Ok(()),
        [first, ..] => Err(call.error(first)),
    }
}
