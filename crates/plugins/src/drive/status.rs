//! STATUS: whether ADD could be served now.

use polynic_cni::{Error, Verb};

use super::Job;

pub(super) fn status(job: &Job<'_>) -> Result<(), Error> {
    let mut kernel = job.context.door.open(None).map_err(|e| Error::not_available(e.to_string()))?;
    let needs = job.attachment.needs(job.call, None);
    let facts = kernel.observe(&needs).map_err(|e| Error::not_available(e.to_string()))?;
    job.attachment.status(job.call, &facts)?;
    job.ipam(Verb::Status).map(drop)
}
