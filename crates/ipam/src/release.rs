//! What a release comes to, from what was observed (spec/spiderpool.md section 8). Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::{
    Endpoint, EndpointInterface, FailureReason, Identity, Observed, ObservedPod, PodKey, ReleaseKind,
    ReleaseRequest, Settings, annotation,
};

/// What has to be done for a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Key of the endpoint and of the records.
    pub key: PodKey,
    /// Whose records go.
    pub uid: String,
    /// What becomes of the endpoint, if it is this UID's.
    pub endpoint: EndpointFate,
    /// Pools that hold records of this UID, as far as can be seen.
    pub pools: BTreeSet<String>,
    /// Only these addresses go, each from its pool; otherwise all of the UID.
    pub only: Option<Vec<(String, IpAddr)>>,
    /// Addresses that are not to be handed out for a while: they failed a probe.
    pub suspects: Vec<(String, IpAddr)>,
    /// The work is to end within so many milliseconds, because the pod has no more time.
    pub limit_millis: Option<u64>,
}

/// What becomes of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointFate {
    /// It goes.
    Remove,
    /// It stays, without interfaces. If there is none it is made, so that a creation still under way comes too late.
    Clear(Box<Identity>),
    /// It stays, with these interfaces.
    Reduce(Box<Identity>, Vec<EndpointInterface>),
}

/// Decides a release; `None`: there is nothing to do.
///
/// # Errors
/// A release after a conflict is not allowed.
pub fn decide_release(
    settings: &Settings,
    request: &ReleaseRequest,
    seen: &Observed,
) -> Result<Option<Release>, FailureReason> {
    match request.kind {
        ReleaseKind::Pod => Ok(of_pod(settings, request, seen)),
        ReleaseKind::Interface => Ok(of_interface(settings, request, seen)),
        ReleaseKind::Conflict if !settings.release_conflicts => Err(FailureReason::ConflictReleaseDisabled),
        ReleaseKind::Conflict if is_fixed(settings, seen) => Err(FailureReason::ConflictReleaseOfFixed),
        ReleaseKind::Conflict | ReleaseKind::Probe => Ok(after_probe(settings, request, seen)),
    }
}

fn is_fixed(settings: &Settings, seen: &Observed) -> bool {
    let fixed = |pod: &ObservedPod| settings.fixed(&pod.pod).is_some();
    seen.pod.as_ref().map_or_else(|| seen.endpoint.as_ref().is_some_and(|own| !own.owned_by_pod), fixed)
}

fn of_pod(settings: &Settings, request: &ReleaseRequest, seen: &Observed) -> Option<Release> {
    let Some(pod) = &seen.pod else { return of_gone_pod(request, seen) };
    let earlier = !pod.pod.is_meant_by(&request.uid);
    let fixed = settings.fixed(&pod.pod);
    match () {
        // The sandbox of an earlier pod of this name. Its fixed addresses are for the new one.
        () if earlier && fixed.is_some() => None,
        () if earlier => of_gone_pod(request, seen),
        () if pod.pod.is_alive() => None,
        () if fixed.is_some()
            && pod.fixed_owner.as_ref().is_none_or(|owner| owner.wants(&pod.pod.key.name)) =>
        {
            None
        }
        () => {
            let key = settings.endpoint_key(&pod.pod);
            let limit =
                pod.pod.deletion.map(|deletion| u64::from(deletion.grace.saturating_sub(5).max(5)) * 1000);
            let release = release(request, seen, key, pod.pod.uid.clone())?;
            Some(Release { limit_millis: limit, ..release })
        }
    }
}

/// A living pod gives back what one of its interfaces had. Fixed addresses stay its own, for when the interface comes back; without a living
/// pod it is a release like any other.
fn of_interface(settings: &Settings, request: &ReleaseRequest, seen: &Observed) -> Option<Release> {
    let meant = meant_pod(request, seen);
    let Some(pod) = meant.filter(|pod| pod.pod.is_alive()) else {
        return of_pod(settings, request, seen);
    };
    if settings.fixed(&pod.pod).is_some() {
        return None;
    }
    let identity = Identity::of(settings, pod);
    let own = seen.endpoint.as_ref().filter(|endpoint| endpoint.uid == identity.uid)?;
    own.interface(&request.nic)?;
    Some(without_interface(&request.nic, Some(own), identity))
}

/// The pod is not there. What has an endpoint that outlives its pod is left to GC, which can ask the owner.
fn of_gone_pod(request: &ReleaseRequest, seen: &Observed) -> Option<Release> {
    let own = seen.endpoint.as_ref().filter(|endpoint| endpoint.uid == request.uid);
    match own {
        _ if request.uid.is_empty() => None,
        Some(endpoint) if !endpoint.owned_by_pod => None,
        _ => release(request, seen, request.pod.clone(), request.uid.clone()),
    }
}

fn release(request: &ReleaseRequest, seen: &Observed, key: PodKey, uid: String) -> Option<Release> {
    let own = seen.endpoint.as_ref().filter(|endpoint| endpoint.uid == uid);
    let nic = request.nic.as_str();
    if own.is_some_and(|endpoint| !nic.is_empty() && endpoint.entry_for(nic).is_none()) {
        return None;
    }
    let pools = pools_of(seen, own, &key, &uid);
    let endpoint = EndpointFate::Remove;
    Some(Release { key, uid, endpoint, pools, only: None, suspects: Vec::new(), limit_millis: None })
}

/// Pools that the endpoint names or that have records of the UID.
fn pools_of(seen: &Observed, own: Option<&Endpoint>, key: &PodKey, uid: &str) -> BTreeSet<String> {
    let named =
        own.into_iter().flat_map(|endpoint| endpoint.holdings().map(|holding| holding.pool.to_owned()));
    let holds =
        |pool: &&std::sync::Arc<crate::Pool>| pool.records.of_uid(uid).any(|(_, record)| record.pod == *key);
    named.chain(seen.pools.iter().filter(holds).map(|pool| pool.name.clone())).collect()
}

fn meant_pod<'s>(request: &ReleaseRequest, seen: &'s Observed) -> Option<&'s ObservedPod> {
    seen.pod.as_ref().filter(|pod| pod.pod.is_meant_by(&request.uid))
}

/// A probe is part of an ADD: without the pod there is none, and what is recorded goes as it does with any pod that is gone.
fn after_probe(settings: &Settings, request: &ReleaseRequest, seen: &Observed) -> Option<Release> {
    let Some(pod) = meant_pod(request, seen) else { return of_pod(settings, request, seen) };
    let identity = Identity::of(settings, pod);
    let (key, uid) = (identity.key.clone(), identity.uid.clone());
    let own = seen.endpoint.as_ref().filter(|endpoint| endpoint.uid == uid);
    if !request.nic.is_empty() && !annotation::has_unnamed_items(&pod.pod.annotations) {
        return Some(of_probed_interface(&request.nic, seen, own, identity));
    }
    let holdings = own.into_iter().flat_map(Endpoint::holdings);
    let suspects = holdings.map(|holding| (holding.pool.to_owned(), holding.ip)).collect();
    let pools = pools_of(seen, own, &key, &uid);
    let endpoint = EndpointFate::Clear(Box::new(identity));
    Some(Release { key, uid, endpoint, pools, only: None, suspects, limit_millis: None })
}

/// What an interface has goes, and is avoided; what the pod's other interfaces have is in use, if only for as long as it takes to end them.
fn of_probed_interface(nic: &str, seen: &Observed, own: Option<&Endpoint>, identity: Identity) -> Release {
    let is_its = |record: &crate::Record| record.pod == identity.key && record.nic.as_deref() == Some(nic);
    let recorded = seen.pools.iter().flat_map(|pool| {
        let records = pool.records.of_uid(&identity.uid).filter(|(_, record)| is_its(record));
        records.map(|(ip, _)| (pool.name.clone(), ip))
    });
    let going: BTreeSet<(String, IpAddr)> = recorded.chain(held(own, nic)).collect();
    let release = without_interface(nic, own, identity);
    let going: Vec<(String, IpAddr)> = going.into_iter().collect();
    let pools = going.iter().map(|(pool, _)| pool.clone()).collect();
    Release { suspects: going.clone(), only: Some(going), pools, ..release }
}

/// One interface's addresses go, and its entry.
fn without_interface(nic: &str, own: Option<&Endpoint>, identity: Identity) -> Release {
    let (key, uid) = (identity.key.clone(), identity.uid.clone());
    let only: Vec<(String, IpAddr)> = held(own, nic).collect();
    let pools = only.iter().map(|(pool, _)| pool.clone()).collect();
    let entries = own.into_iter().flat_map(|own| &own.interfaces);
    let left = entries.filter(|other| other.nic != nic).cloned().collect();
    let endpoint = EndpointFate::Reduce(Box::new(identity), left);
    Release { key, uid, endpoint, pools, only: Some(only), suspects: Vec::new(), limit_millis: None }
}

/// Pool and address of what an endpoint names for an interface.
fn held<'e>(own: Option<&'e Endpoint>, nic: &'e str) -> impl Iterator<Item = (String, IpAddr)> + 'e {
    let holdings = own.into_iter().flat_map(Endpoint::holdings).filter(move |holding| holding.nic == nic);
    holdings.map(|holding| (holding.pool.to_owned(), holding.ip))
}

#[cfg(test)]
mod tests;
