//! What a release comes to, from what was observed (spec/spiderpool.md section 8). Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::{
    Endpoint, EndpointInterface, FailureReason, Identity, Observed, ObservedPod, PodKey, ReleaseKind,
    ReleaseRequest, Settings,
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
    let earlier = !request.uid.is_empty() && request.uid != pod.pod.uid;
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
    let is_same = |pod: &&ObservedPod| request.uid.is_empty() || request.uid == pod.pod.uid;
    let Some(pod) = seen.pod.as_ref().filter(is_same).filter(|pod| pod.pod.is_alive()) else {
        return of_pod(settings, request, seen);
    };
    if settings.fixed(&pod.pod).is_some() {
        return None;
    }
    let identity = Identity::of(settings, pod);
    let (key, uid) = (identity.key.clone(), identity.uid.clone());
    let own = seen.endpoint.as_ref().filter(|endpoint| endpoint.uid == uid)?;
    own.interface(&request.nic)?;
    let detached = own.holdings().filter(|holding| holding.nic == request.nic);
    let only: Vec<(String, IpAddr)> = detached.map(|holding| (holding.pool.to_owned(), holding.ip)).collect();
    let pools = only.iter().map(|(pool, _)| pool.clone()).collect();
    let left = own.interfaces.iter().filter(|other| other.nic != request.nic).cloned().collect();
    let endpoint = EndpointFate::Reduce(Box::new(identity), left);
    Some(Release { key, uid, endpoint, pools, only: Some(only), suspects: Vec::new(), limit_millis: None })
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

/// A probe is part of an ADD: without the pod there is none, and what is recorded goes as it does with any pod that is gone.
fn after_probe(settings: &Settings, request: &ReleaseRequest, seen: &Observed) -> Option<Release> {
    let Some(pod) = seen.pod.as_ref().filter(|pod| request.uid.is_empty() || request.uid == pod.pod.uid)
    else {
        return of_pod(settings, request, seen);
    };
    let identity = Identity::of(settings, pod);
    let (key, uid) = (identity.key.clone(), identity.uid.clone());
    let own = seen.endpoint.as_ref().filter(|endpoint| endpoint.uid == uid);
    let probed = own.into_iter().flat_map(Endpoint::holdings);
    let probed = probed.filter(|holding| request.nic.is_empty() || holding.nic == request.nic);
    let suspects = probed.map(|holding| (holding.pool.to_owned(), holding.ip)).collect();
    let pools = pools_of(seen, own, &key, &uid);
    let endpoint = EndpointFate::Clear(Box::new(identity));
    Some(Release { key, uid, endpoint, pools, only: None, suspects, limit_millis: None })
}

#[cfg(test)]
mod tests;
