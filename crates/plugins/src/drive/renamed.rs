//! Links that somebody in the pod has renamed: what was done to them is taken back by their indexes, which stay.

use std::collections::BTreeMap;

use polynic_kernel::{Kernel, KernelError};
use polynic_net::{IfName, Names, Needs, Place, Plan};

use crate::record::Record;

/// The indexes of the links that an applied plan has left in the pod.
pub(super) fn indexes(kernel: &mut dyn Kernel, plan: &Plan) -> Result<BTreeMap<IfName, u32>, KernelError> {
    let names = plan.links_in(Place::Pod);
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut needs = Needs::default();
    names.iter().for_each(|name| needs.pod.link(name));
    let facts = kernel.observe(&needs)?;
    let index = |name: IfName| Some((name.clone(), facts.link(Place::Pod, &name)?.index));
    Ok(names.into_iter().filter_map(index).collect())
}

/// What links of the pod are called now, by the names that the records have for them: those of which it differs.
pub(super) fn names(kernel: &mut dyn Kernel, records: &[Record]) -> Result<Names, KernelError> {
    let known: Vec<(&IfName, u32)> =
        records.iter().flat_map(|record| &record.indexes).map(|(name, index)| (name, *index)).collect();
    if known.is_empty() {
        return Ok(Names::new());
    }
    let mut needs = Needs::default();
    needs.pod.links_at = known.iter().map(|(_, index)| *index).collect();
    let facts = kernel.observe(&needs)?;
    let now = |index| Some(&facts.at(Place::Pod)?.link_by_index(index)?.name);
    let renamed = known.into_iter().filter_map(|(name, index)| Some((name.clone(), now(index)?.clone())));
    Ok(renamed.filter(|(name, now)| name != now).collect())
}
