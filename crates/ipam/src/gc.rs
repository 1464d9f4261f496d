//! What garbage collection does with a record: the table of spec/spiderpool.md 9.3 as a function.
//!
//! Everything it looks at has to be read from the API server just before: a cache may nominate a record, never convict
//! it. The release itself is guarded by address and UID ([`crate::settle::Ask::Release`]) in a conditional write.
//!
//! Stricter than the table, because `decisions.md` says so: while a pod with the recorded UID exists and has not ended,
//! its record goes only where a setting asks for it. The table also releases in a few states in which a sandbox may
//! still be at work (being deleted in time, or of an unknown phase, without podIPs); here these wait until the pod is
//! gone or overdue.

use std::net::IpAddr;

use crate::{Endpoint, FixedOwner, Phase, Pod, Pool, Record};

/// Settings of garbage collection (9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GcSettings {
    /// Collect from overdue pods on nodes that are ready.
    pub zombies_on_ready_nodes: bool,
    /// Collect from overdue pods on nodes that are not.
    pub zombies_on_other_nodes: bool,
    /// Collect from running pods without podIPs.
    pub running_without_ips: bool,
    /// `SPIDERPOOL_GC_ADDITIONAL_GRACE_DELAY`, seconds.
    pub delay: u32,
}

impl Default for GcSettings {
    fn default() -> Self {
        let (zombies_on_ready_nodes, zombies_on_other_nodes) = (true, true);
        Self { zombies_on_ready_nodes, zombies_on_other_nodes, running_without_ips: false, delay: 0 }
    }
}

/// A pod with what GC wants to know besides.
#[derive(Clone, Debug)]
pub struct PodCase {
    /// The pod.
    pub pod: Pod,
    /// Its node is ready.
    pub node_ready: bool,
    /// The newest end of one of its containers, seconds since the epoch.
    pub finished_at: Option<i64>,
    /// `spec.terminationGracePeriodSeconds`.
    pub termination_grace: u32,
    /// It has fixed addresses (a StatefulSet's or virtual machine's pod with the feature on): what its owner wants.
    pub fixed_owner: Option<FixedOwner>,
}

impl PodCase {
    fn owner_wants(&self) -> Option<bool> {
        self.fixed_owner.as_ref().map(|owner| owner.wants(&self.pod.key.name))
    }

    /// When a pod that is being deleted is overdue.
    fn overdue_at(&self, settings: &GcSettings) -> Option<i64> {
        let deletion = self.pod.deletion?;
        Some(deletion.at + i64::from(deletion.grace) + i64::from(settings.delay))
    }

    fn zombies_are_collected(&self, settings: &GcSettings) -> bool {
        if self.node_ready { settings.zombies_on_ready_nodes } else { settings.zombies_on_other_nodes }
    }
}

/// A record and its surroundings.
#[derive(Clone, Copy, Debug)]
pub struct RecordCase<'a> {
    /// The address.
    pub ip: IpAddr,
    /// The record.
    pub record: &'a Record,
    /// The pod of that name. For a virtual machine's record: one of its pods, the one with the record's UID if there is.
    pub pod: Option<&'a PodCase>,
    /// The endpoint of that name.
    pub endpoint: Option<&'a Endpoint>,
    /// Where the pod is gone and its endpoint does not belong to it: what the owner of that name wants.
    pub fixed_owner: Option<&'a FixedOwner>,
}

impl RecordCase<'_> {
    fn is_named_by(&self, endpoint: &Endpoint) -> bool {
        endpoint.holdings().any(|holding| holding.ip == self.ip)
    }
}

/// What becomes of a record and of the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GcDecision {
    /// The record goes.
    pub release: bool,
    /// The endpoint goes.
    pub remove_endpoint: bool,
    /// Why, for the log.
    pub why: &'static str,
}

const fn keep(why: &'static str) -> GcDecision {
    GcDecision { release: false, remove_endpoint: false, why }
}

const fn collect(why: &'static str) -> GcDecision {
    GcDecision { release: true, remove_endpoint: true, why }
}

/// Decides about a record; `now` in seconds since the epoch.
pub fn decide_record(settings: &GcSettings, now: i64, case: &RecordCase<'_>) -> GcDecision {
    match case.pod {
        None => of_gone_pod(case),
        Some(pod) if pod.pod.uid != case.record.uid => of_other_pod(case, pod),
        Some(pod) => of_own_pod(settings, now, pod),
    }
}

fn of_gone_pod(case: &RecordCase<'_>) -> GcDecision {
    let Some(endpoint) = case.endpoint else {
        return GcDecision { remove_endpoint: false, ..collect("neither pod nor endpoint exist") };
    };
    let wanted = case.fixed_owner.is_some_and(|owner| owner.wants(&case.record.pod.name));
    match (!endpoint.owned_by_pod && wanted, case.is_named_by(endpoint)) {
        (true, true) => keep("the address is fixed, and its owner wants the pod back"),
        (true, false) => {
            GcDecision { remove_endpoint: false, ..collect("the pod's fixed addresses are others") }
        }
        (false, _) => collect("the pod is gone"),
    }
}

/// A pod of that name exists, and the record is an earlier one's.
fn of_other_pod(case: &RecordCase<'_>, pod: &PodCase) -> GcDecision {
    let named = case.endpoint.is_none_or(|endpoint| case.is_named_by(endpoint));
    match &pod.fixed_owner {
        // A machine's address is the machine's, whichever of its pods is recorded: one that it was to move to may have failed.
        Some(FixedOwner::VirtualMachine) if named => return keep("the address is the virtual machine's"),
        None if named && pod.pod.is_static() && pod.pod.is_alive() => {
            return keep("the static pod has another mirror than when it got its address");
        }
        _ => {}
    }
    // The endpoint may be the new pod's already.
    let stale = case.endpoint.is_some_and(|endpoint| endpoint.uid != pod.pod.uid);
    let release = |why| GcDecision { remove_endpoint: stale, ..collect(why) };
    match (pod.owner_wants(), pod.pod.has_ips) {
        (Some(true), false) if named => {
            keep("the address is fixed, and the new pod has not taken it over yet")
        }
        (Some(true), false) => {
            GcDecision { remove_endpoint: false, ..collect("the pod's fixed addresses are others") }
        }
        (Some(_), _) => release("the new pod of that name has other addresses, or is not wanted"),
        (None, _) => release("a new pod has that name"),
    }
}

fn of_own_pod(settings: &GcSettings, now: i64, case: &PodCase) -> GcDecision {
    let pod = &case.pod;
    let ended = matches!(pod.phase, Phase::Succeeded | Phase::Failed);
    let overdue = case.overdue_at(settings).is_some_and(|at| at <= now);
    match (case.owner_wants(), pod.deletion.is_some()) {
        (Some(true), _) => keep("the address is fixed, and its owner wants the pod"),
        (Some(false), _) if ended || overdue => {
            collect("the owner does not want the pod any more, and it has ended")
        }
        (Some(false), _) => keep("the owner does not want the pod any more, but it has not ended"),
        (None, true) if overdue && case.zombies_are_collected(settings) => {
            collect("the pod is overdue to be gone")
        }
        (None, true) => keep("the pod is being deleted"),
        (None, false) if ended => keep("the pod has ended, and is collected when its time is up"),
        (None, false) if pod.phase == Phase::Running && !pod.has_ips && settings.running_without_ips => {
            collect("the pod runs without an address")
        }
        (None, false) => keep("the pod exists"),
    }
}

/// When a pod's addresses are to be looked at by event GC (9.2), seconds since the epoch; `None`: no timer.
/// Host network pods and pods with fixed addresses that are still wanted have none.
pub fn due_at(settings: &GcSettings, case: &PodCase) -> Option<i64> {
    let pod = &case.pod;
    if pod.host_network || case.owner_wants() == Some(true) || !case.zombies_are_collected(settings) {
        return None;
    }
    let ended = matches!(pod.phase, Phase::Succeeded | Phase::Failed);
    let after_end = || {
        let finished = case.finished_at.filter(|_| ended)?;
        Some(finished + i64::from(case.termination_grace) + i64::from(settings.delay))
    };
    case.overdue_at(settings).or_else(after_end)
}

/// Whether event GC collects from this pod when its time is up: it is overdue, or has ended for that long.
pub fn is_due(settings: &GcSettings, now: i64, case: &PodCase) -> bool {
    due_at(settings, case).is_some_and(|at| at <= now)
}

/// Whether an endpoint is outdated (`enableCleanOutdatedEndpoint`): none of the pools it names has its record.
/// `pools` are these pools, read from the API server.
pub fn is_outdated(endpoint: &Endpoint, pools: &[&Pool]) -> bool {
    let recorded = |holding: crate::Holding<'_>| {
        let pool = pools.iter().find(|pool| pool.name == holding.pool);
        pool.and_then(|pool| pool.records.get(holding.ip)).is_some_and(|record| record.pod == endpoint.key)
    };
    endpoint.holdings().next().is_some() && !endpoint.holdings().any(recorded)
}

#[cfg(test)]
mod tests;
