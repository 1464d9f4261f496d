//! What an ADD comes to, from what was observed (spec/spiderpool.md 7.1 and 7.6). Pure: the machine carries it out.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use polynic_net::Family;

use crate::candidates::{Candidates, Demand, candidates};
use crate::filter::Situation;
use crate::settings::Fixed;
use crate::{
    AddRequest, Endpoint, EndpointInterface, FailureReason, Grant, Granted, GrantedRoute, Observed,
    ObservedPod, PodKey, Pool, PoolRoute, Settings, annotation,
};

/// Who is recorded in pools and endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Key of the endpoint and of the pool records: the pod's, or the virtual machine's.
    pub key: PodKey,
    /// The pod's UID.
    pub uid: String,
    /// Its node.
    pub node: String,
    /// Kind of its top controller.
    pub owner_kind: String,
    /// Name of its top controller.
    pub owner_name: String,
    /// Whether its addresses outlive it.
    pub fixed: Option<Fixed>,
}

impl Identity {
    /// Of a pod that exists.
    pub fn of(settings: &Settings, pod: &ObservedPod) -> Self {
        let controller = pod.top_controller();
        Self {
            key: settings.endpoint_key(&pod.pod),
            uid: pod.pod.uid.clone(),
            node: pod.pod.node.clone(),
            owner_kind: controller.kind,
            owner_name: controller.name,
            fixed: settings.fixed(&pod.pod),
        }
    }
}

/// One address that has to be found in one of several pools.
#[derive(Clone, Debug)]
pub struct Search {
    /// Index of the interface in [`Allocation::demands`].
    pub demand: usize,
    /// The family.
    pub family: Family,
    /// The pools to try, best first; never empty.
    pub pools: Vec<Arc<Pool>>,
}

/// An address that the endpoint names and the pod keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The interface.
    pub nic: String,
    /// The pool.
    pub pool: String,
    /// The address.
    pub ip: IpAddr,
}

/// Records that go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The pool.
    pub pool: String,
    /// The address; `None` for all of the UID.
    pub ip: Option<IpAddr>,
    /// Whose record it has to be.
    pub uid: String,
}

/// What has to be done for an ADD that is not answered from the endpoint alone.
#[derive(Clone, Debug)]
pub struct Allocation {
    /// For whom.
    pub identity: Identity,
    /// Interfaces that get addresses.
    pub demands: Vec<Demand>,
    /// Their addresses, to be found.
    pub searches: Vec<Search>,
    /// Addresses of the endpoint that are made this pod's (fixed addresses).
    pub kept: Vec<Kept>,
    /// Records that go at once: of an earlier pod of that name, or of an interface that changed its pool.
    pub dropped: Vec<Dropped>,
    /// The endpoint's interfaces that stay as they are.
    pub staying: Vec<EndpointInterface>,
    /// UIDs of earlier pods of this name.
    pub stale: BTreeSet<String>,
    /// The pod's own routes.
    pub routes: Vec<PoolRoute>,
    /// The automatic pools are not ready; if there is time, ask again first.
    pub not_ready: Option<String>,
}

/// What an ADD comes to.
#[derive(Clone, Debug)]
pub enum Decision {
    /// The endpoint has the answer.
    Answer(Grant),
    /// The endpoint of this pod has it, under an entry without a name, which is this interface's from now on.
    Bind(Box<Identity>),
    /// Records have to be written first.
    Allocate(Box<Allocation>),
}

/// Decides an ADD.
///
/// # Errors
/// The pod does not exist or is not alive, an annotation is wrong, or no pool is for it.
pub fn decide_add(
    settings: &Settings,
    request: &AddRequest,
    seen: &Observed,
) -> Result<Decision, FailureReason> {
    let pod = living_pod(request, seen)?;
    let identity = Identity::of(settings, pod);
    let endpoint =
        seen.endpoint.as_ref().filter(|endpoint| !endpoint.terminating || endpoint.uid == identity.uid);
    let known = endpoint.filter(|endpoint| endpoint.uid == identity.uid);
    match (identity.fixed, endpoint, known) {
        (None, _, Some(endpoint)) if endpoint.entry_for(&request.nic).is_some() => {
            of_endpoint(identity, seen, pod, (endpoint, &request.nic))
        }
        (Some(fixed), Some(endpoint), _) => {
            fixed_add(settings, request, seen, pod, (identity, fixed, endpoint))
        }
        _ => allocate(settings, request, seen, pod, identity),
    }
}

/// Whether the pools, as far as they are known here, record what the endpoint says. The endpoint is only an index: a creation
/// that arrived late may have brought back an old one.
fn agrees(seen: &Observed, entry: &EndpointInterface, uid: &str) -> bool {
    let recorded = |assigned: &crate::Assigned| {
        let pool = seen.pools.iter().find(|pool| pool.name == assigned.pool);
        let record = pool.and_then(|pool| pool.records.get(assigned.address.addr()));
        record.is_some_and(|record| record.uid == uid)
    };
    entry.all_assigned().all(recorded)
}

fn living_pod<'a>(request: &AddRequest, seen: &'a Observed) -> Result<&'a ObservedPod, FailureReason> {
    let wrong = |why: String| Err(FailureReason::WrongInput(why));
    let Some(pod) = &seen.pod else { return wrong("the pod does not exist".to_owned()) };
    if !pod.pod.is_meant_by(&request.uid) {
        return wrong(format!("the pod has UID {}, and this sandbox is of UID {}", pod.pod.uid, request.uid));
    }
    match pod.pod.why_not_alive() {
        Some(why) => wrong(format!("the pod gets no address because {why}")),
        None => Ok(pod),
    }
}

/// Answers from the endpoint; an entry without a name becomes this interface's. What the pools do not confirm is confirmed
/// there first.
fn of_endpoint(
    identity: Identity,
    seen: &Observed,
    pod: &ObservedPod,
    (endpoint, nic): (&Endpoint, &str),
) -> Result<Decision, FailureReason> {
    let Some(entry) = endpoint.entry_for(nic) else { return Ok(Decision::Answer(Grant::default())) };
    if !agrees(seen, entry, &identity.uid) {
        let mut allocation = empty_allocation(identity, seen, &pod.pod.annotations)?;
        allocation.kept = kept(entry);
        allocation.staying = endpoint.interfaces.clone();
        return Ok(Decision::Allocate(Box::new(allocation)));
    }
    Ok(match entry.nic.as_str() {
        "" => Decision::Bind(Box::new(identity)),
        _ => Decision::Answer(grant(&endpoint.interfaces)),
    })
}

/// Everything of these interfaces as an answer: the default route by the gateway comes last, unless it is unwanted.
pub fn grant(interfaces: &[EndpointInterface]) -> Grant {
    let mut grant = Grant::default();
    for entry in interfaces {
        let own = |route: &PoolRoute| GrantedRoute { nic: entry.nic.clone(), route: route.clone() };
        grant.routes.extend(entry.routes.iter().map(own));
        for assigned in entry.all_assigned() {
            grant.addresses.push(Granted {
                nic: entry.nic.clone(),
                address: assigned.address,
                pool: assigned.pool.clone(),
                gateway: assigned.gateway,
                vlan: entry.vlan,
                mac: entry.mac.clone(),
            });
            let gateway = assigned.gateway.filter(|_| entry.clean_gateway != Some(true));
            grant.routes.extend(gateway.map(|gw| own(&PoolRoute { dst: default_route(gw), gw })));
        }
    }
    grant
}

fn default_route(gw: IpAddr) -> polynic_net::IpNet {
    match gw {
        IpAddr::V4(_) => polynic_net::Ipv4Net::default().into(),
        IpAddr::V6(_) => polynic_net::Ipv6Net::default().into(),
    }
}

/// A pod with fixed addresses and an endpoint (7.6): it keeps them, unless its pools have changed.
fn fixed_add(
    settings: &Settings,
    request: &AddRequest,
    seen: &Observed,
    pod: &ObservedPod,
    (identity, fixed, endpoint): (Identity, Fixed, &Endpoint),
) -> Result<Decision, FailureReason> {
    let mut allocation = empty_allocation(identity, seen, &pod.pod.annotations)?;
    let entry = endpoint.entry_for(&request.nic);
    let changed = match (entry, fixed) {
        (Some(entry), Fixed::StatefulSet) => pools_changed(settings, request, seen, pod, (endpoint, entry))?,
        _ => false,
    };
    let unnamed = annotation::has_unnamed_items(&pod.pod.annotations);
    let goes = |own: &EndpointInterface| changed && (unnamed || Some(own) == entry);
    let (going, staying): (Vec<_>, Vec<_>) = endpoint.interfaces.iter().cloned().partition(goes);
    allocation.dropped.extend(going.iter().flat_map(|own| dropped(own, &endpoint.uid)));
    allocation.kept = staying.iter().flat_map(kept).collect();
    allocation.staying = staying;
    match entry {
        Some(_) if !changed => bind_unnamed(&mut allocation.staying, &request.nic),
        _ => search(settings, request, seen, pod, &mut allocation)?,
    }
    Ok(Decision::Allocate(Box::new(allocation)))
}

/// The first entry without a name becomes this interface's, if it has none of its own.
pub(crate) fn bind_unnamed(interfaces: &mut [EndpointInterface], nic: &str) {
    if interfaces.iter().any(|entry| entry.nic == nic) {
        return;
    }
    if let Some(unnamed) = interfaces.iter_mut().find(|entry| entry.nic.is_empty()) {
        unnamed.nic = nic.to_owned();
    }
}

fn kept(entry: &EndpointInterface) -> Vec<Kept> {
    let of = |assigned: &crate::Assigned| Kept {
        nic: entry.nic.clone(),
        pool: assigned.pool.clone(),
        ip: assigned.address.addr(),
    };
    entry.all_assigned().map(of).collect()
}

fn dropped(entry: &EndpointInterface, uid: &str) -> Vec<Dropped> {
    let of = |assigned: &crate::Assigned| Dropped {
        pool: assigned.pool.clone(),
        ip: Some(assigned.address.addr()),
        uid: uid.to_owned(),
    };
    entry.all_assigned().map(of).collect()
}

/// Whether a pool recorded for the interface is no longer among its candidates; filters do not count.
fn pools_changed(
    settings: &Settings,
    request: &AddRequest,
    seen: &Observed,
    pod: &ObservedPod,
    (endpoint, entry): (&Endpoint, &EndpointInterface),
) -> Result<bool, FailureReason> {
    let demands = match candidates(settings, request, seen, pod)? {
        Candidates::Known(demands) | Candidates::NotReady { so_far: demands, .. } => demands,
    };
    // Items without names stand in the order of the endpoint's entries.
    let position = endpoint.interfaces.iter().position(|other| other == entry);
    let own = demands
        .iter()
        .find(|demand| demand.nic == request.nic)
        .or_else(|| demands.get(position?).filter(|demand| demand.nic.is_empty()));
    // No item is for it any more.
    let Some(own) = own else { return Ok(true) };
    let is_candidate = |family, name: &str| own.of_family(family).iter().any(|pool| pool.name == name);
    let lost = |family| entry.assigned(family).is_some_and(|assigned| !is_candidate(family, &assigned.pool));
    Ok(lost(Family::V4) || lost(Family::V6))
}

fn allocate(
    settings: &Settings,
    request: &AddRequest,
    seen: &Observed,
    pod: &ObservedPod,
    identity: Identity,
) -> Result<Decision, FailureReason> {
    let mut allocation = empty_allocation(identity, seen, &pod.pod.annotations)?;
    match &seen.endpoint {
        Some(endpoint) if endpoint.uid == allocation.identity.uid => {
            allocation.staying = endpoint.interfaces.clone()
        }
        // A pod of that name is gone: what it held is free at once.
        Some(endpoint) => {
            allocation.dropped =
                endpoint.interfaces.iter().flat_map(|own| dropped(own, &endpoint.uid)).collect();
        }
        None => {}
    }
    search(settings, request, seen, pod, &mut allocation)?;
    Ok(Decision::Allocate(Box::new(allocation)))
}

fn empty_allocation(
    identity: Identity,
    seen: &Observed,
    annotations: &crate::Texts,
) -> Result<Allocation, FailureReason> {
    let records = seen.pools.iter().flat_map(|pool| pool.records.of_pod(&identity.key));
    let namesakes = records.filter(|(_, record)| record.uid != identity.uid);
    let mut stale: BTreeSet<String> = namesakes.map(|(_, record)| record.uid.clone()).collect();
    let earlier = seen.endpoint.as_ref().filter(|endpoint| endpoint.uid != identity.uid);
    stale.extend(earlier.map(|endpoint| endpoint.uid.clone()));
    Ok(Allocation {
        identity,
        demands: Vec::new(),
        searches: Vec::new(),
        kept: Vec::new(),
        dropped: Vec::new(),
        staying: Vec::new(),
        stale,
        routes: annotation::routes(annotations)?,
        not_ready: None,
    })
}

/// Fills in interfaces and searches, for interfaces that the endpoint does not have.
fn search(
    settings: &Settings,
    request: &AddRequest,
    seen: &Observed,
    pod: &ObservedPod,
    allocation: &mut Allocation,
) -> Result<(), FailureReason> {
    let demands = match candidates(settings, request, seen, pod)? {
        Candidates::Known(demands) => demands,
        Candidates::NotReady { why, so_far } => {
            allocation.not_ready = Some(why);
            so_far
        }
    };
    let staying = &allocation.staying;
    let unnamed = staying.iter().filter(|entry| entry.nic != "eth0").count();
    // Items without names have gone to the interfaces that came, in their order.
    let is_there = |demand: &Demand| match demand.nic.as_str() {
        "" => demand.position <= unnamed,
        nic => staying.iter().any(|entry| entry.nic == nic),
    };
    let missing: Vec<Demand> = demands.into_iter().filter(|demand| !is_there(demand)).collect();
    for demand in missing {
        for family in [Family::V4, Family::V6] {
            if demand.of_family(family).is_empty() {
                continue;
            }
            let pools = Situation { settings, request, pod, demand: &demand, family }.survivors()?;
            allocation.searches.push(Search { demand: allocation.demands.len(), family, pools });
        }
        allocation.demands.push(demand);
    }
    if allocation.searches.is_empty() && allocation.not_ready.is_none() {
        let why = format!("no pool is named for interface {}", request.nic);
        return Err(FailureReason::NoPool(why));
    }
    Ok(())
}

/// The routes of an interface (7.5): the pools' and then the pod's own whose gateway is in the network of an address.
pub fn routes_of(entry: &EndpointInterface, pools: &[&Pool], own: &[PoolRoute]) -> Vec<PoolRoute> {
    let of_pools = pools.iter().flat_map(|pool| pool.spec.routes.iter().cloned());
    let reachable =
        |route: &&PoolRoute| entry.all_assigned().any(|assigned| assigned.address.contains(&route.gw));
    of_pools.chain(own.iter().filter(reachable).cloned()).collect()
}
