//! Which pools a pod may be served from at all: the sources in their order of precedence, the first that says
//! something wins, and they are never mixed (spec/spiderpool.md 7.2).

use std::sync::Arc;

use polynic_net::Family;

use crate::annotation::{self, NamesFor};
use crate::auto_pool::{self, AutoPool};
use crate::{AddRequest, FailureReason, Observed, ObservedPod, Pool, Settings, glob};

/// What one interface is to get.
#[derive(Clone, Debug)]
pub struct Demand {
    /// The interface; empty for one that a later ADD will take.
    pub nic: String,
    /// Its place among the pod's interfaces: 0 is `eth0`.
    pub position: usize,
    /// No default route by the pool's gateway.
    pub clean_gateway: bool,
    /// Candidates in the order given, before filters.
    pub ipv4: Vec<Arc<Pool>>,
    /// As `ipv4`.
    pub ipv6: Vec<Arc<Pool>>,
}

impl Demand {
    /// The candidates of a family.
    pub fn of_family(&self, family: Family) -> &[Arc<Pool>] {
        match family {
            Family::V4 => &self.ipv4,
            Family::V6 => &self.ipv6,
        }
    }
}

/// What the sources come to.
#[derive(Clone, Debug)]
pub enum Candidates {
    /// One demand for each interface to be served now.
    Known(Vec<Demand>),
    /// An automatic pool is not ready: ask again later. After the last try what exists has to do.
    NotReady {
        /// What is missing, for the error if time runs out.
        why: String,
        /// What there is already.
        so_far: Vec<Demand>,
    },
}

/// Finds the candidates of every interface that is to be served now.
///
/// # Errors
/// An annotation is malformed, a named pool does not exist or is named twice, the interface is not among those
/// listed, or there is no pool at all.
pub fn candidates(
    settings: &Settings,
    request: &AddRequest,
    seen: &Observed,
    pod: &ObservedPod,
) -> Result<Candidates, FailureReason> {
    // Without SpiderSubnets nobody looks at what is said about them.
    if settings.subnet
        && let Some(items) = annotation::subnets(&pod.pod.annotations)?
    {
        return automatic(settings, request, seen, pod, &items);
    }
    let demands = demands(settings, request, seen, pod)?;
    match demands.iter().all(|demand| demand.ipv4.is_empty() && demand.ipv6.is_empty()) {
        true => Err(FailureReason::NoPool("no IPPool available".to_owned())),
        false => Ok(Candidates::Known(demands)),
    }
}

fn demands(
    settings: &Settings,
    request: &AddRequest,
    seen: &Observed,
    pod: &ObservedPod,
) -> Result<Vec<Demand>, FailureReason> {
    if let Some(items) = annotation::ippools(&pod.pod.annotations)? {
        check_listed(request, &items)?;
        return items
            .iter()
            .enumerate()
            .map(|(at, item)| demand(settings, seen, item, &nic_at(item, at), at))
            .collect();
    }
    let Some(names) = names_for_one(request, pod)? else {
        return Ok(vec![of_defaults(settings, request, seen)]);
    };
    Ok(vec![demand(settings, seen, &names, &request.nic, usize::from(request.nic != "eth0"))?])
}

/// Sources 3 to 5, which speak of the interface of this ADD only.
fn names_for_one(request: &AddRequest, pod: &ObservedPod) -> Result<Option<NamesFor>, FailureReason> {
    let own = match annotation::ippool(&pod.pod.annotations)? {
        Some(names) => Some(names),
        None => annotation::namespace_pools(&pod.namespace.annotations)?,
    };
    let (ipv4, ipv6) = (&request.default_ipv4_pools, &request.default_ipv6_pools);
    let said = !ipv4.is_empty() || !ipv6.is_empty();
    let of_network =
        || said.then(|| NamesFor { ipv4: ipv4.clone(), ipv6: ipv6.clone(), ..NamesFor::default() });
    let clean = |names| NamesFor { clean_gateway: request.clean_gateway, ..names };
    Ok(own.or_else(of_network).map(clean))
}

/// Source 6: the pools that serve by default.
fn of_defaults(settings: &Settings, request: &AddRequest, seen: &Observed) -> Demand {
    let of = |family| -> Vec<Arc<Pool>> {
        let pools = pools_by_name(seen, family).filter(|pool| pool.spec.default);
        if enabled(settings, family) { pools.cloned().collect() } else { Vec::new() }
    };
    Demand {
        nic: request.nic.clone(),
        position: usize::from(request.nic != "eth0"),
        clean_gateway: request.clean_gateway,
        ipv4: of(Family::V4),
        ipv6: of(Family::V6),
    }
}

/// `ippools` with names has to name the interface; without names there must be an item left for it.
fn check_listed(request: &AddRequest, items: &[NamesFor]) -> Result<(), FailureReason> {
    let named = items.iter().any(|item| item.nic.is_some());
    let listed = items.iter().any(|item| item.nic.as_ref() == Some(&request.nic));
    let left = request.nic == "eth0" || items.len() > 1;
    let (nic, key) = (&request.nic, annotation::IPPOOLS);
    match (named, listed, left) {
        (true, false, _) => {
            Err(FailureReason::WrongInput(format!("interface {nic} is not listed in annotation {key}")))
        }
        (false, _, false) => Err(FailureReason::WrongInput(format!(
            "annotation {key} has one item without interface, which is for eth0; there is none for {nic}"
        ))),
        _ => Ok(()),
    }
}

fn nic_at(item: &NamesFor, position: usize) -> String {
    let by_position = if position == 0 { "eth0" } else { "" };
    item.nic.clone().unwrap_or_else(|| by_position.to_owned())
}

fn demand(
    settings: &Settings,
    seen: &Observed,
    names: &NamesFor,
    nic: &str,
    position: usize,
) -> Result<Demand, FailureReason> {
    let of = |family, names: &[String]| match enabled(settings, family) {
        true => expand(seen, family, names),
        false => Ok(Vec::new()),
    };
    Ok(Demand {
        nic: nic.to_owned(),
        position: if nic == "eth0" { 0 } else { position.max(1) },
        clean_gateway: names.clean_gateway,
        ipv4: of(Family::V4, &names.ipv4)?,
        ipv6: of(Family::V6, &names.ipv6)?,
    })
}

/// Names and patterns into pools: a pattern expands in place, by name, to pools of the family that are not there yet.
/// A named pool of the other family stays, for the filters to say what is wrong with it.
fn expand(seen: &Observed, family: Family, names: &[String]) -> Result<Vec<Arc<Pool>>, FailureReason> {
    let mut pools: Vec<Arc<Pool>> = Vec::new();
    let literal: Vec<&String> = names.iter().filter(|name| !glob::is_pattern(name)).collect();
    for name in names {
        if glob::is_pattern(name) {
            let new = pools_by_name(seen, family).filter(|pool| glob::matches(name, &pool.name));
            let new: Vec<_> =
                new.filter(|pool| !literal.contains(&&pool.name) && !has(&pools, &pool.name)).collect();
            pools.extend(new.into_iter().cloned());
            continue;
        }
        let found = seen.pools.iter().find(|pool| pool.name == *name);
        let found = found.ok_or_else(|| FailureReason::NoPool(format!("IPPool {name} does not exist")))?;
        if has(&pools, name) {
            return Err(FailureReason::WrongInput(format!("IPPool {name} is named twice for one interface")));
        }
        pools.push(found.clone());
    }
    Ok(pools)
}

fn has(pools: &[Arc<Pool>], name: &str) -> bool {
    pools.iter().any(|pool| pool.name == name)
}

fn pools_by_name(seen: &Observed, family: Family) -> impl Iterator<Item = &Arc<Pool>> {
    let mut pools: Vec<_> = seen.pools.iter().filter(|pool| pool.spec.family() == family).collect();
    pools.sort_by(|a, b| a.name.cmp(&b.name));
    pools.into_iter()
}

fn enabled(settings: &Settings, family: Family) -> bool {
    match family {
        Family::V4 => settings.ipv4,
        Family::V6 => settings.ipv6,
    }
}

/// Source 1: automatic pools, which the controller makes and this side waits for (9A).
fn automatic(
    settings: &Settings,
    request: &AddRequest,
    seen: &Observed,
    pod: &ObservedPod,
    items: &[NamesFor],
) -> Result<Candidates, FailureReason> {
    let wrong = |why: &str| Err(FailureReason::WrongInput(why.to_owned()));
    if !settings.auto_pool {
        return wrong(
            "the pod asks for an automatic pool of a SpiderSubnet, and these are switched off in this cluster",
        );
    }
    let controller = pod.top_controller();
    if controller.kind == "Pod" {
        return wrong(
            "automatic pools of a SpiderSubnet are for pods of a controller, and this pod has none",
        );
    }
    if !items.iter().any(|item| item.nic.as_ref() == Some(&request.nic)) {
        return Err(FailureReason::WrongInput(format!(
            "no item of the subnet annotation is for interface {}",
            request.nic
        )));
    }
    let number = auto_pool::ip_number(&pod.pod.annotations)?;
    if let Some(why) = auto_pool::refusal(&controller, number) {
        return Err(FailureReason::WrongInput(why));
    }
    let (mut demands, mut missing) = (Vec::new(), Vec::new());
    for (position, item) in items.iter().enumerate() {
        let nic = nic_at(item, position);
        let mut of = |family, names: &[String]| -> Vec<Arc<Pool>> {
            if names.is_empty() || !enabled(settings, family) {
                return Vec::new();
            }
            let wanted = AutoPool { namespace: &pod.pod.key.namespace, app: &controller, nic: &nic, family };
            let pool = seen.pools.iter().find(|pool| wanted.is(&pool.labels));
            if pool.is_none_or(|pool| !auto_pool::can_serve(pool, number)) {
                missing.push(format!(
                    "the automatic {family} pool of {} {} for {nic}",
                    controller.kind, controller.name
                ));
            }
            pool.cloned().into_iter().collect()
        };
        let (ipv4, ipv6) = (of(Family::V4, &item.ipv4), of(Family::V6, &item.ipv6));
        let position = if nic == "eth0" { 0 } else { position.max(1) };
        demands.push(Demand { nic, position, clean_gateway: request.clean_gateway, ipv4, ipv6 });
    }
    match missing.is_empty() {
        true => Ok(Candidates::Known(demands)),
        false => Ok(Candidates::NotReady { why: missing.join(", "), so_far: demands }),
    }
}
