//! SpiderSubnet (spec/spiderpool.md 3.2).

use polynic_net::{Family, IntervalSet, IpNet};

use super::addresses::{
    check_gateway, check_immutable, check_ranges, check_routes, check_subnet, check_version, coalesce,
    effective_set, family_of_version, overlap, overlapping, version_of,
};
use super::pool::{refuse_in_use, while_terminating};
use super::{Denial, FieldError, Rules, Siblings};
use crate::spider::{FINALIZER, SpiderIPPool, SpiderSubnet, label};

/// Fills in what can be derived.
pub fn mutate(subnet: &mut SpiderSubnet) {
    if subnet.metadata.is_terminating() {
        return;
    }
    if !subnet.metadata.has_finalizer(FINALIZER) {
        subnet.metadata.finalizers.push(FINALIZER.to_owned());
    }
    let spec = &mut subnet.spec;
    spec.ip_version = spec.ip_version.or_else(|| version_of(&spec.subnet));
    subnet.metadata.labels.insert(label::SUBNET_CIDR.to_owned(), label::of_cidr(&spec.subnet));
    coalesce(spec.ip_version, &mut spec.ips);
    coalesce(spec.ip_version, &mut spec.exclude_ips);
}

/// The rules for a new subnet.
///
/// # Errors
/// The rules that it breaks.
pub fn validate_create(subnet: &SpiderSubnet, siblings: Siblings<'_>, rules: Rules) -> Result<(), Denial> {
    let family = check_version(subnet.spec.ip_version, rules)?;
    let net = check_subnet(family, &subnet.spec.subnet)?;
    check_other_subnets(subnet, family, &net, siblings.subnets)?;
    let mut errors = check_spec(subnet, family, &net);
    if errors.is_empty() {
        errors.extend(siblings.pools.iter().find_map(|pool| check_pool(subnet, family, &net, pool)));
    }
    Denial::unless_empty(errors)
}

/// The rules for a changed subnet.
///
/// # Errors
/// The rules that the change breaks.
pub fn validate_update(old: &SpiderSubnet, new: &SpiderSubnet, rules: Rules) -> Result<(), Denial> {
    if new.metadata.is_terminating() {
        return while_terminating(new.metadata.has_finalizer(FINALIZER));
    }
    let changed = [
        check_immutable("spec.ipVersion", old.spec.ip_version.as_ref(), new.spec.ip_version.as_ref()),
        check_immutable("spec.subnet", Some(&old.spec.subnet), Some(&new.spec.subnet)),
    ];
    Denial::unless_empty(changed.into_iter().flatten().collect())?;
    let family = check_version(new.spec.ip_version, rules)?;
    let net = check_subnet(family, &new.spec.subnet)?;
    let mut errors = check_spec(new, family, &net);
    if errors.is_empty() {
        errors.extend(check_given(new, family));
    }
    Denial::unless_empty(errors)
}

/// Whether a subnet may be deleted.
///
/// # Errors
/// Pools have addresses of it, and such subnets are protected.
pub fn validate_delete(subnet: &SpiderSubnet, rules: Rules) -> Result<(), Denial> {
    refuse_in_use(subnet.status.as_ref().and_then(|status| status.allocated_ip_count).unwrap_or(0), rules)
}

fn check_other_subnets(
    subnet: &SpiderSubnet,
    family: Family,
    net: &IpNet,
    subnets: &[SpiderSubnet],
) -> Result<(), Denial> {
    for other in subnets {
        if other.metadata.name == subnet.metadata.name {
            return Err(Denial::AlreadyExists);
        }
        let theirs = other.spec.subnet.parse::<IpNet>().ok().filter(|net| Family::of(net.addr()) == family);
        if let Some(theirs) = theirs.filter(|theirs| overlap(theirs, net)) {
            let why = format!("overlaps with {theirs} of SpiderSubnet {}", other.metadata.name);
            return Err(FieldError::invalid("spec.subnet", &subnet.spec.subnet, why).into());
        }
    }
    Ok(())
}

fn check_spec(subnet: &SpiderSubnet, family: Family, net: &IpNet) -> Vec<FieldError> {
    let spec = &subnet.spec;
    let mut errors = Vec::new();
    let mut given = None;
    let ips = check_ranges(family, Some(net), "spec.ips", &spec.ips);
    let excluded = check_ranges(family, Some(net), "spec.excludeIPs", &spec.exclude_ips);
    match (ips, excluded) {
        (Ok(ips), Ok(excluded)) => {
            errors.extend(overlapping(&ips).map(|(a, b)| {
                let why = format!("overlaps with {}", spec.ips[a.min(b)]);
                FieldError::invalid(format!("spec.ips[{}]", a.max(b)), &spec.ips[a.max(b)], why)
            }));
            let excluded = IntervalSet::of_ranges(family, &excluded);
            given = Some(IntervalSet::of_ranges(family, &ips).difference(&excluded));
        }
        (ips, excluded) => errors.extend(ips.err().into_iter().chain(excluded.err()).flatten()),
    }
    errors.extend(check_gateway(net, spec.gateway.as_deref(), given.as_ref()));
    errors.extend(check_routes(net, spec.routes.as_deref().unwrap_or_default()));
    errors
}

/// A pool that is there already fits the new subnet.
fn check_pool(subnet: &SpiderSubnet, family: Family, net: &IpNet, pool: &SpiderIPPool) -> Option<FieldError> {
    let version = pool.spec.ip_version.or_else(|| version_of(&pool.spec.subnet));
    if version.and_then(family_of_version) != Some(family) {
        return None;
    }
    let theirs: IpNet = pool.spec.subnet.parse().ok()?;
    let name = &pool.metadata.name;
    if theirs != *net {
        let why = format!("overlaps with subnet {theirs} of SpiderIPPool {name}");
        return overlap(&theirs, net).then(|| FieldError::invalid("spec.subnet", &subnet.spec.subnet, why));
    }
    let own = effective_set(family, &subnet.spec.ips, &subnet.spec.exclude_ips);
    let excess = effective_set(family, &pool.spec.ips, &pool.spec.exclude_ips).difference(&own);
    let why = || format!("addresses {excess} of SpiderIPPool {name} are not among them");
    (!excess.is_empty()).then(|| FieldError::invalid("spec.ips", &subnet.spec.ips, why()))
}

/// What pools have got stays in the subnet.
fn check_given(subnet: &SpiderSubnet, family: Family) -> Option<FieldError> {
    let pools = match subnet.status.as_ref()?.controlled_pools() {
        Ok(pools) => pools,
        Err(why) => return Some(FieldError::invalid("status.controlledIPPools", "", why.to_string())),
    };
    let own = effective_set(family, &subnet.spec.ips, &subnet.spec.exclude_ips);
    pools.iter().find_map(|(name, pool)| {
        let lost = effective_set(family, &pool.ips, &[]).difference(&own);
        let why = || format!("addresses {lost} are given to SpiderIPPool {name}");
        (!lost.is_empty()).then(|| FieldError::forbidden("spec.ips", why()))
    })
}

#[cfg(test)]
mod tests;
