//! What the next steps are. Pure.

mod wish;

use std::collections::BTreeMap;

use polynic_api::admission::{
    Rules, effective_set, family_of_version, pool as pool_rules, subnet as subnet_rules,
};
use polynic_api::spider::subnet::{ControlledPool, ControlledPools};
use polynic_api::spider::{SpiderIPPool, SpiderReservedIP, SpiderSubnet, SubnetStatus, label};
use polynic_ipam::auto_pool::{SizeChange, resize};
use polynic_net::{Family, IntervalSet, IpNet};

use super::application::Application;
use wish::Wish;

/// Everything that is looked at.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// All SpiderSubnets.
    pub subnets: Vec<SpiderSubnet>,
    /// All pools.
    pub pools: Vec<SpiderIPPool>,
    /// All reserved addresses.
    pub reserved: Vec<SpiderReservedIP>,
    /// All applications that ask for pools.
    pub applications: Vec<Application>,
    /// Whether no application can be missing: only then one that is missing is gone.
    pub complete: bool,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Fill in what the webhook would have.
    CompleteSubnet(Box<SpiderSubnet>),
    /// Delete in the foreground, so that the subnet's pools go first.
    DeletePoolsFirst(String),
    /// Let go of a subnet that is being deleted and has no pools.
    ReleaseSubnet(String),
    /// Note what pools have got; before any pool gets it.
    SetStatus {
        /// The subnet.
        subnet: String,
        /// The version that this was decided on.
        resource_version: Option<String>,
        /// The whole status.
        status: SubnetStatus,
    },
    /// Make an automatic pool.
    CreatePool(Box<SpiderIPPool>),
    /// Change an automatic pool; it carries the version that this was decided on.
    UpdatePool(Box<SpiderIPPool>),
    /// Delete the pool of an application that is gone, if a live read says so.
    DeletePool {
        /// The pool.
        pool: String,
        /// The application that must be gone.
        application: Box<Gone>,
    },
}

/// An application that seems to be gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// Its namespace.
    pub namespace: String,
    /// `apps/v1`.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

/// Steps, and what cannot be done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Steps that do not get in each other's way.
    pub steps: Vec<Step>,
    /// What is short or wrong, to be tried again later.
    pub problems: Vec<String>,
    /// Pools whose application asks for another subnet than they are from, with the text for users.
    pub changed_subnets: Vec<(String, String)>,
}

/// Plans. `default_number` is how many addresses more than replicas a pool has; `None` means that applications get no pools.
pub fn plan(world: &World, default_number: Option<u32>, rules: Rules) -> Plan {
    let mut plan = Plan::default();
    let wishes = match default_number {
        Some(number) => wish::wishes(world, number, rules, &mut plan),
        None => Vec::new(),
    };
    for subnet in &world.subnets {
        plan_subnet(subnet, world, &wishes, &mut plan);
    }
    let vain = wishes.iter().filter_map(|wish| Some((wish, why_in_vain(wish, world)?)));
    let vain = vain.map(|(wish, why)| {
        format!("{} asks for {} of SpiderSubnet {}, which {why}", wish.who(), wish.family, wish.subnet)
    });
    plan.problems.extend(vain);
    if world.complete && default_number.is_some() {
        plan.steps.extend(world.pools.iter().filter_map(|pool| deletion(pool, world)));
    }
    plan
}

/// What is wrong with the subnet that an application asks for.
fn why_in_vain(wish: &Wish<'_>, world: &World) -> Option<&'static str> {
    match world.subnets.iter().find(|subnet| subnet.metadata.name == wish.subnet) {
        None => Some("does not exist"),
        Some(subnet) if subnet.metadata.is_terminating() => Some("is being deleted"),
        Some(subnet) if family(subnet).is_some_and(|family| family != wish.family) => {
            Some("is of the other family")
        }
        Some(_) => None,
    }
}

fn plan_subnet(subnet: &SpiderSubnet, world: &World, wishes: &[Wish<'_>], plan: &mut Plan) {
    let name = &subnet.metadata.name;
    let own: Vec<&SpiderIPPool> = world.pools.iter().filter(|pool| is_owned(pool, subnet)).collect();
    if subnet.metadata.is_terminating() {
        if own.is_empty() && subnet.metadata.has_finalizer(polynic_api::spider::FINALIZER) {
            plan.steps.push(Step::ReleaseSubnet(name.clone()));
        } else if !own.is_empty() && !subnet.metadata.has_finalizer("foregroundDeletion") {
            plan.steps.push(Step::DeletePoolsFirst(name.clone()));
        }
        return;
    }
    let mut completed = subnet.clone();
    subnet_rules::mutate(&mut completed);
    if completed != *subnet {
        return plan.steps.push(Step::CompleteSubnet(Box::new(completed)));
    }
    let Some(family) = family(subnet) else {
        return plan.problems.push(format!("SpiderSubnet {name} has no IP version"));
    };
    let old = match subnet.status.as_ref().map(SubnetStatus::controlled_pools).transpose() {
        Ok(old) => old.unwrap_or_default(),
        Err(why) => {
            return plan.problems.push(format!("SpiderSubnet {name}: status.controlledIPPools: {why}"));
        }
    };
    let wishes: Vec<&Wish<'_>> =
        wishes.iter().filter(|wish| wish.subnet == *name && wish.family == family).collect();
    let controlled = divide(&Division { subnet, family, own: &own, old: &old, world }, &wishes, plan);
    let status = status(subnet, family, &controlled);
    if subnet.status.as_ref() != Some(&status) {
        let resource_version = subnet.metadata.resource_version.clone();
        return plan.steps.push(Step::SetStatus { subnet: name.clone(), resource_version, status });
    }
    for wish in wishes {
        if let Some(entry) = controlled.get(&wish.pool_name()) {
            plan.steps.extend(wish.step(subnet, entry));
        }
    }
}

struct Division<'a> {
    subnet: &'a SpiderSubnet,
    family: Family,
    own: &'a [&'a SpiderIPPool],
    old: &'a ControlledPools,
    world: &'a World,
}

/// Who has which addresses of a subnet: manual pools what they say, automatic pools what they had, and then what applications ask for.
fn divide(division: &Division<'_>, wishes: &[&Wish<'_>], plan: &mut Plan) -> ControlledPools {
    let Division { subnet, family, own, old, world } = *division;
    let all = effective_set(family, &subnet.spec.ips, &subnet.spec.exclude_ips);
    let mut controlled: BTreeMap<String, (IntervalSet, Option<String>)> = BTreeMap::new();
    for pool in own {
        let name = pool.metadata.name.clone();
        let set = effective_set(family, &pool.spec.ips, &pool.spec.exclude_ips).intersection(&all);
        let entry = match (label::is_automatic(&pool.metadata.labels), old.get(&name)) {
            (true, Some(entry)) => (kept(entry, pool, (family, &all)), entry.application.clone()),
            (true, None) => (set, wish::application_of(pool)),
            (false, _) => (set, None),
        };
        controlled.insert(name, entry);
    }
    let mut free = all.difference(&taken(subnet, family, world));
    // Noted, and the pool is still to be made: unless somebody else was faster to take what was noted.
    for wish in wishes.iter().filter(|wish| wish.pool.is_none()) {
        if let Some(entry) = old.get(&wish.pool_name()) {
            let noted = effective_set(family, &entry.ips, &[]).intersection(&free);
            controlled.insert(wish.pool_name(), (noted, entry.application.clone()));
        }
    }
    for (set, _) in controlled.values() {
        free = free.difference(set);
    }
    for wish in wishes {
        let name = wish.pool_name();
        let current =
            controlled.get(&name).map_or_else(|| IntervalSet::empty(family), |(set, _)| set.clone());
        match resize(&current, &wish.allocated(), &free, wish.size) {
            SizeChange::Fits if controlled.contains_key(&name) => {}
            SizeChange::Fits => drop(controlled.insert(name, (current, Some(wish.application())))),
            SizeChange::To(set) => {
                free = free.difference(&set);
                controlled.insert(name, (set, Some(wish.application())));
            }
            SizeChange::Short(missing) => {
                plan.problems.push(format!(
                    "{} needs {missing} addresses more than SpiderSubnet {} can give or take",
                    wish.who(),
                    subnet.metadata.name
                ));
            }
        }
    }
    let entry = |(set, application): (IntervalSet, Option<String>)| ControlledPool {
        ips: set.to_texts(),
        application,
    };
    controlled.into_iter().map(|(name, value)| (name, entry(value))).collect()
}

/// What was noted for an automatic pool, as far as it can have that, and what its pods have taken although it was to be given up: between the note
/// and the pool's change an agent may be faster.
fn kept(entry: &ControlledPool, pool: &SpiderIPPool, (family, all): (Family, &IntervalSet)) -> IntervalSet {
    let has = effective_set(family, &pool.spec.ips, &pool.spec.exclude_ips);
    let noted = effective_set(family, &entry.ips, &[]).intersection(&all.union(&has));
    noted.union(&wish::allocated(pool, family).intersection(&has))
}

/// What no automatic pool may get: reserved addresses, and what pools of the same prefix have, whoever owns them.
fn taken(subnet: &SpiderSubnet, family: Family, world: &World) -> IntervalSet {
    let cidr: Option<IpNet> = subnet.spec.subnet.parse().ok();
    let pools = world.pools.iter().filter(|pool| pool.spec.subnet.parse().ok() == cidr);
    let reserved = world.reserved.iter().map(|reserved| effective_set(family, &reserved.spec.ips, &[]));
    let pools = pools.map(|pool| effective_set(family, &pool.spec.ips, &pool.spec.exclude_ips));
    reserved.chain(pools).fold(IntervalSet::empty(family), |sum, set| sum.union(&set))
}

fn status(subnet: &SpiderSubnet, family: Family, controlled: &ControlledPools) -> SubnetStatus {
    let count = |set: &IntervalSet| i64::try_from(set.count()).unwrap_or(i64::MAX);
    let given = controlled.values().map(|entry| effective_set(family, &entry.ips, &[]));
    let given = given.fold(IntervalSet::empty(family), |sum, set| sum.union(&set));
    let mut status = SubnetStatus {
        controlled_ip_pools: None,
        total_ip_count: Some(count(&effective_set(family, &subnet.spec.ips, &subnet.spec.exclude_ips))),
        allocated_ip_count: Some(count(&given)),
    };
    status.set_controlled_pools(controlled);
    status
}

fn is_owned(pool: &SpiderIPPool, subnet: &SpiderSubnet) -> bool {
    pool.metadata.controller() == Some(&pool_rules::owner_reference(subnet))
}

fn family(subnet: &SpiderSubnet) -> Option<Family> {
    subnet.spec.ip_version.and_then(family_of_version)
}

/// An automatic pool whose application is gone, or was made anew, goes with it if it is to be reclaimed.
fn deletion(pool: &SpiderIPPool, world: &World) -> Option<Step> {
    let application = wish::owner_of(pool).filter(|_| !pool.metadata.is_terminating())?;
    let is_there = world
        .applications
        .iter()
        .any(|there| there.controller.uid == application.uid && there.controller.kind == application.kind);
    let reclaimed = pool.metadata.label(label::IPPOOL_RECLAIM) == Some("true");
    (reclaimed && !is_there)
        .then(|| Step::DeletePool { pool: pool.metadata.name.clone(), application: Box::new(application) })
}

#[cfg(test)]
mod tests;
