//! SpiderIPPool (spec/spiderpool.md 3.1).

use polynic_net::{Family, IntervalSet, IpNet, IpRange};

use super::addresses::{
    check_gateway, check_immutable, check_ranges, check_routes, check_subnet, check_version, coalesce,
    effective_set, family_of_version, overlap, overlapping, version_of,
};
use super::{Denial, FieldError, Rules, Siblings};
use crate::meta::{LabelSelector, OwnerReference};
use crate::spider::{API_VERSION, FINALIZER, PoolSpec, SpiderIPPool, SpiderKind, SpiderSubnet, label};

/// Fills in what can be derived, and lets the SpiderSubnet of the same prefix adopt the pool.
pub fn mutate(pool: &mut SpiderIPPool, subnets: &[SpiderSubnet], rules: Rules) {
    if pool.metadata.is_terminating() {
        return;
    }
    if !pool.metadata.has_finalizer(FINALIZER) {
        pool.metadata.finalizers.push(FINALIZER.to_owned());
    }
    let spec = &mut pool.spec;
    spec.ip_version = spec.ip_version.or_else(|| version_of(&spec.subnet));
    pool.metadata.labels.insert(label::IPPOOL_CIDR.to_owned(), label::of_cidr(&spec.subnet));
    if rules.subnets
        && let Some(subnet) = subnet_of(pool, subnets)
    {
        adopt(pool, subnet);
    }
    coalesce(pool.spec.ip_version, &mut pool.spec.ips);
    coalesce(pool.spec.ip_version, &mut pool.spec.exclude_ips);
}

/// The SpiderSubnet that a pool belongs to by its prefix.
pub fn subnet_of<'s>(pool: &SpiderIPPool, subnets: &'s [SpiderSubnet]) -> Option<&'s SpiderSubnet> {
    let wanted = label::of_cidr(&pool.spec.subnet);
    let is_same = |subnet: &&SpiderSubnet| {
        let cidr = subnet.metadata.label(label::SUBNET_CIDR).map(str::to_owned);
        cidr.unwrap_or_else(|| label::of_cidr(&subnet.spec.subnet)) == wanted
    };
    subnets.iter().filter(|subnet| !subnet.metadata.is_terminating()).find(is_same)
}

/// Makes a pool a SpiderSubnet's own. A pool that somebody else controls stays as it is.
pub fn adopt(pool: &mut SpiderIPPool, subnet: &SpiderSubnet) {
    if pool.metadata.controller().is_some() {
        return;
    }
    pool.metadata.owner_references.retain(|owner| owner.uid != subnet.metadata.uid);
    pool.metadata.owner_references.push(owner_reference(subnet));
    pool.metadata.labels.insert(label::OWNER_SUBNET.to_owned(), subnet.metadata.name.clone());
    let spec = &mut pool.spec;
    spec.gateway = spec.gateway.take().or_else(|| subnet.spec.gateway.clone());
    spec.routes = spec.routes.take().or_else(|| subnet.spec.routes.clone());
}

/// How a pool refers to the SpiderSubnet that controls it.
pub fn owner_reference(subnet: &SpiderSubnet) -> OwnerReference {
    OwnerReference {
        api_version: API_VERSION.to_owned(),
        kind: crate::spider::subnet::Subnet::KIND.to_owned(),
        name: subnet.metadata.name.clone(),
        uid: subnet.metadata.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The rules for a new pool.
///
/// # Errors
/// The rules that it breaks: the first of family, subnet and name, or all of the others.
pub fn validate_create(pool: &SpiderIPPool, siblings: Siblings<'_>, rules: Rules) -> Result<(), Denial> {
    let family = check_version(pool.spec.ip_version, rules)?;
    let net = check_subnet(family, &pool.spec.subnet)?;
    check_other_subnets(pool, family, &net, siblings.pools)?;
    let mut errors = check_spec(pool, family, &net, siblings.pools);
    if errors.is_empty() {
        errors.extend(check_owner(pool, family, siblings.subnets, rules));
    }
    Denial::unless_empty(errors)
}

/// The rules for a changed pool.
///
/// # Errors
/// The rules that the change breaks.
pub fn validate_update(
    old: &SpiderIPPool,
    new: &SpiderIPPool,
    siblings: Siblings<'_>,
    rules: Rules,
) -> Result<(), Denial> {
    if new.metadata.is_terminating() {
        return while_terminating(new.metadata.has_finalizer(FINALIZER));
    }
    let old_subnet = Some(&old.spec.subnet);
    let changed = [
        check_immutable("spec.ipVersion", old.spec.ip_version.as_ref(), new.spec.ip_version.as_ref()),
        check_immutable("spec.subnet", old_subnet, Some(&new.spec.subnet)),
    ];
    Denial::unless_empty(changed.into_iter().flatten().collect())?;
    let family = check_version(new.spec.ip_version, rules)?;
    let net = check_subnet(family, &new.spec.subnet)?;
    let mut errors = check_spec(new, family, &net, siblings.pools);
    errors.extend(check_in_use(new, family));
    if errors.is_empty() {
        errors.extend(check_owner(new, family, siblings.subnets, rules));
    }
    Denial::unless_empty(errors)
}

/// Whether a pool may be deleted.
///
/// # Errors
/// Addresses of it are in use, and such pools are protected.
pub fn validate_delete(pool: &SpiderIPPool, rules: Rules) -> Result<(), Denial> {
    let count = pool.status.as_ref().and_then(|status| status.allocated_ip_count).unwrap_or(0);
    super::pool::refuse_in_use(count, rules)
}

pub(super) fn refuse_in_use(count: i64, rules: Rules) -> Result<(), Denial> {
    if rules.protect_in_use && count > 0 {
        return Err(Denial::Forbidden(format!("{count} of its addresses are in use")));
    }
    Ok(())
}

/// An object that is being deleted changes only by losing our finalizer.
pub(super) fn while_terminating(has_finalizer: bool) -> Result<(), Denial> {
    if has_finalizer {
        return Err(Denial::Forbidden("it is being deleted and cannot be changed".to_owned()));
    }
    Ok(())
}

fn check_other_subnets(
    pool: &SpiderIPPool,
    family: Family,
    net: &IpNet,
    pools: &[SpiderIPPool],
) -> Result<(), Denial> {
    for other in pools.iter().filter(|other| is_of(&other.spec, family)) {
        if other.metadata.name == pool.metadata.name {
            return Err(Denial::AlreadyExists);
        }
        if let Ok(theirs) = other.spec.subnet.parse::<IpNet>()
            && theirs != *net
            && overlap(&theirs, net)
        {
            let why = format!("overlaps with subnet {theirs} of SpiderIPPool {}", other.metadata.name);
            return Err(FieldError::invalid("spec.subnet", &pool.spec.subnet, why).into());
        }
    }
    Ok(())
}

fn is_of(spec: &PoolSpec, family: Family) -> bool {
    spec.ip_version.or_else(|| version_of(&spec.subnet)).and_then(family_of_version) == Some(family)
}

/// Addresses, gateway, routes and affinity.
fn check_spec(pool: &SpiderIPPool, family: Family, net: &IpNet, pools: &[SpiderIPPool]) -> Vec<FieldError> {
    let spec = &pool.spec;
    let ips = check_ranges(family, Some(net), "spec.ips", &spec.ips);
    let excluded = check_ranges(family, Some(net), "spec.excludeIPs", &spec.exclude_ips);
    let mut errors = Vec::new();
    let mut handed_out = None;
    match (ips, excluded) {
        (Ok(ips), Ok(excluded)) => {
            let set =
                IntervalSet::of_ranges(family, &ips).difference(&IntervalSet::of_ranges(family, &excluded));
            errors.extend(check_own_overlap(spec, &ips));
            errors.extend(check_other_pools(pool, family, &set, pools));
            handed_out = Some(set);
        }
        (ips, excluded) => {
            errors.extend(ips.err().into_iter().chain(excluded.err()).flatten());
        }
    }
    errors.extend(check_gateway(net, spec.gateway.as_deref(), handed_out.as_ref()));
    errors.extend(check_routes(net, spec.routes.as_deref().unwrap_or_default()));
    errors.extend(check_affinity(pool));
    errors.extend(check_other_affinities(spec));
    errors
}

/// A selector that nobody understands would make a pool that serves nobody.
fn check_other_affinities(spec: &PoolSpec) -> Vec<FieldError> {
    let selectors = [
        ("spec.namespaceAffinity", spec.namespace_affinity.as_ref()),
        ("spec.nodeAffinity", spec.node_affinity.as_ref()),
    ];
    let wrong = |(field, selector): (&str, Option<&LabelSelector>)| {
        let selector = selector?;
        selector.problem().map(|why| FieldError::invalid(field, selector, why))
    };
    selectors.into_iter().filter_map(wrong).collect()
}

fn check_own_overlap(spec: &PoolSpec, ranges: &[IpRange]) -> Option<FieldError> {
    let (a, b) = overlapping(ranges)?;
    let (a, b) = (a.min(b), a.max(b));
    let why = format!("overlaps with {}", spec.ips[a]);
    Some(FieldError::invalid(format!("spec.ips[{b}]"), &spec.ips[b], why))
}

fn check_other_pools(
    pool: &SpiderIPPool,
    family: Family,
    set: &IntervalSet,
    pools: &[SpiderIPPool],
) -> Option<FieldError> {
    let others = pools.iter().filter(|other| other.metadata.name != pool.metadata.name);
    others.filter(|other| other.spec.subnet == pool.spec.subnet).find_map(|other| {
        let theirs = effective_set(family, &other.spec.ips, &other.spec.exclude_ips);
        let both = set.intersection(&theirs);
        let why = || format!("addresses {both} belong to SpiderIPPool {} already", other.metadata.name);
        (!both.is_empty()).then(|| FieldError::forbidden("spec.ips", why()))
    })
}

fn check_affinity(pool: &SpiderIPPool) -> Option<FieldError> {
    const FIELD: &str = "spec.podAffinity";
    let selector = pool.spec.pod_affinity.as_ref()?;
    if label::is_automatic(&pool.metadata.labels) {
        let is_own = |key: &String| label::app::ALL.contains(&key.as_str());
        let fits = selector.match_expressions.is_empty()
            && selector.match_labels.len() == label::app::ALL.len()
            && selector.match_labels.keys().all(is_own);
        let why = "of an automatic pool names its application and nothing else";
        return (!fits).then(|| FieldError::invalid(FIELD, selector, why));
    }
    if selector.is_empty() {
        return Some(FieldError::invalid(FIELD, selector, "selects by nothing"));
    }
    selector.problem().map(|why| FieldError::invalid(FIELD, selector, why))
}

/// Addresses that pods have stay in the pool.
fn check_in_use(pool: &SpiderIPPool, family: Family) -> Option<FieldError> {
    let status = pool.status.as_ref()?;
    let in_use = match status.allocated_addresses() {
        Ok(addresses) => IntervalSet::of_addresses(family, addresses),
        Err(why) => return Some(FieldError::invalid("status.allocatedIPs", "", why.to_string())),
    };
    let lost = in_use.difference(&effective_set(family, &pool.spec.ips, &pool.spec.exclude_ips));
    (!lost.is_empty()).then(|| FieldError::forbidden("spec.ips", format!("addresses {lost} are in use")))
}

/// What a SpiderSubnet has given to the pool.
fn check_owner(
    pool: &SpiderIPPool,
    family: Family,
    subnets: &[SpiderSubnet],
    rules: Rules,
) -> Option<FieldError> {
    let owner = pool.metadata.controller().filter(|_| rules.subnets)?;
    if owner.kind != crate::spider::subnet::Subnet::KIND {
        return None;
    }
    let refuse = |why: String| Some(FieldError::forbidden("spec.ips", why));
    let Some(subnet) = subnets.iter().find(|subnet| subnet.metadata.uid == owner.uid) else {
        return refuse(format!("SpiderSubnet {}, which controls the pool, does not exist", owner.name));
    };
    let own = effective_set(family, &pool.spec.ips, &pool.spec.exclude_ips);
    let excess = own.difference(&effective_set(family, &subnet.spec.ips, &subnet.spec.exclude_ips));
    if !excess.is_empty() {
        return refuse(format!("addresses {excess} are not in SpiderSubnet {}", owner.name));
    }
    if !label::is_automatic(&pool.metadata.labels) {
        return None;
    }
    let given = subnet.status.as_ref().map(|status| status.controlled_pools()).transpose();
    let given = match given {
        Ok(pools) => pools.and_then(|mut pools| pools.remove(&pool.metadata.name)).unwrap_or_default(),
        Err(why) => return refuse(format!("status.controlledIPPools of SpiderSubnet {}: {why}", owner.name)),
    };
    let given = effective_set(family, &given.ips, &[]);
    if given == own {
        None
    } else {
        refuse(format!("SpiderSubnet {} has given the pool {given}, not {own}", owner.name))
    }
}

#[cfg(test)]
mod tests;
