//! CHECK: what ADD promised against what is there.

use polynic_cni::{Error, Success, Verb};
use polynic_net::check::{needs, promises_of, violations};
use polynic_net::{Change, Family, Object, Place, TABLE_MAIN};

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
    let mut promised = promises_of(records.iter().map(|r| &r.plan), is_own);
    promised.retain(|change| !has_yielded(change, &prev));
    let facts = kernel.observe(&needs(&promised)).map_err(|e| call.error(e))?;
    match violations(&promised, &facts).as_slice() {
        [] => Ok(()),
        [first, ..] => Err(call.error(first)),
    }
}

/// A default route that the runtime's result knows nothing of: another network supplies the pod's by now, and who took the route away edited
/// the result as well (spec/multus.md 8.1 step 6).
fn has_yielded(change: &Change, prev: &Success) -> bool {
    let Object::Route(route) = &change.object else { return false };
    let Some(route) = route.after.as_ref().filter(|route| route.is_default()) else { return false };
    let family = route.family();
    let mut known = prev.routes.iter().filter(|known| known.dst.prefix_len() == 0);
    change.place == Place::Pod
        && route.table == TABLE_MAIN
        && !known.any(|known| Family::of(known.dst.addr()) == family)
}
