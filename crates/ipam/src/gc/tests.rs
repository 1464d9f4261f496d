use super::*;
use crate::{Controller, Deletion, PodKey};

const NOW: i64 = 1_000;

fn key() -> PodKey {
    PodKey::new("a", "db-1")
}

fn ip() -> IpAddr {
    "10.0.0.5".parse().unwrap()
}

fn record(uid: &str) -> Record {
    Record::new(key(), uid, "eth0")
}

fn running(uid: &str) -> PodCase {
    let pod = Pod { phase: Phase::Running, has_ips: true, ..Pod::new(key(), uid, "n1") };
    PodCase { pod, node_ready: true, finished_at: None, termination_grace: 30, fixed_owner: None }
}

fn fixed(uid: &str, replicas: u32) -> PodCase {
    let owner = FixedOwner::StatefulSet { name: "db".to_owned(), start: 0, replicas };
    let mut case = running(uid);
    let text = |text: &str| text.to_owned();
    case.pod.controller = Some(Controller {
        api_version: text("apps/v1"),
        kind: text("StatefulSet"),
        name: text("db"),
        uid: text("s"),
    });
    PodCase { fixed_owner: Some(owner), ..case }
}

fn endpoint(uid: &str, owned_by_pod: bool) -> Endpoint {
    Endpoint {
        key: key(),
        object_uid: "o".to_owned(),
        resource_version: "1".to_owned(),
        terminating: false,
        uid: uid.to_owned(),
        node: "n1".to_owned(),
        interfaces: vec![holding()],
        owner_kind: "StatefulSet".to_owned(),
        owner_name: "db".to_owned(),
        owned_by_pod,
    }
}

fn holding() -> crate::EndpointInterface {
    let assigned =
        crate::Assigned { address: "10.0.0.5/24".parse().unwrap(), pool: "p".to_owned(), gateway: None };
    crate::EndpointInterface { ipv4: Some(assigned), ..Default::default() }
}

fn decide(pod: Option<&PodCase>, endpoint: Option<&Endpoint>, owner: Option<&FixedOwner>) -> (bool, bool) {
    let record = record("u");
    let case = RecordCase { ip: ip(), record: &record, pod, endpoint, fixed_owner: owner };
    let decision = decide_record(&GcSettings::default(), NOW, &case);
    (decision.release, decision.remove_endpoint)
}

#[test]
fn the_pod_is_gone() {
    assert_eq!(decide(None, None, None), (true, false));
    assert_eq!(decide(None, Some(&endpoint("u", true)), None), (true, true));
    let wants = |replicas| FixedOwner::StatefulSet { name: "db".to_owned(), start: 0, replicas };
    assert_eq!(decide(None, Some(&endpoint("u", false)), Some(&wants(2))), (false, false));
    assert_eq!(decide(None, Some(&endpoint("u", false)), Some(&wants(1))), (true, true), "scaled down");
    assert_eq!(decide(None, Some(&endpoint("u", false)), Some(&FixedOwner::Gone)), (true, true));
}

#[test]
fn a_record_that_a_fixed_endpoint_does_not_name_is_not_kept_for_it() {
    let wanted = FixedOwner::StatefulSet { name: "db".to_owned(), start: 0, replicas: 2 };
    let mut own = endpoint("u", false);
    own.interfaces.clear();
    assert_eq!(decide(None, Some(&own), Some(&wanted)), (true, false));
}

#[test]
fn the_pod_lives() {
    let mut pod = running("u");
    for (phase, ips) in
        [(Phase::Pending, false), (Phase::Running, true), (Phase::Running, false), (Phase::Unknown, false)]
    {
        (pod.pod.phase, pod.pod.has_ips) = (phase, ips);
        assert_eq!(decide(Some(&pod), None, None), (false, false), "{phase:?} {ips}");
    }
    let record = record("u");
    let settings = GcSettings { running_without_ips: true, ..GcSettings::default() };
    (pod.pod.phase, pod.pod.has_ips) = (Phase::Running, false);
    let case = RecordCase { ip: ip(), record: &record, pod: Some(&pod), endpoint: None, fixed_owner: None };
    assert!(decide_record(&settings, NOW, &case).release);
}

#[test]
fn a_pod_that_ended_waits_for_its_timer() {
    let mut pod = running("u");
    pod.pod.phase = Phase::Succeeded;
    assert_eq!(decide(Some(&pod), None, None), (false, false));
    pod.finished_at = Some(NOW - 30);
    assert!(is_due(&GcSettings::default(), NOW, &pod));
    assert!(!is_due(&GcSettings { delay: 1, ..GcSettings::default() }, NOW, &pod));
}

#[test]
fn a_pod_that_is_deleted_is_collected_when_overdue_if_its_node_allows() {
    let mut pod = running("u");
    pod.pod.deletion = Some(Deletion { at: NOW - 30, grace: 30 });
    assert_eq!(decide(Some(&pod), None, None), (true, true));
    pod.node_ready = false;
    let record = record("u");
    let settings = GcSettings { zombies_on_other_nodes: false, ..GcSettings::default() };
    let case = RecordCase { ip: ip(), record: &record, pod: Some(&pod), endpoint: None, fixed_owner: None };
    assert!(!decide_record(&settings, NOW, &case).release);
    pod.pod.deletion = Some(Deletion { at: NOW - 29, grace: 30 });
    pod.pod.has_ips = false;
    assert_eq!(decide(Some(&pod), None, None), (false, false), "not before its time");
}

#[test]
fn fixed_addresses_stay_as_long_as_their_owner_wants() {
    let mut pod = fixed("u", 2);
    pod.pod.phase = Phase::Failed;
    assert_eq!(decide(Some(&pod), None, None), (false, false));
    let mut pod = fixed("u", 1);
    assert_eq!(decide(Some(&pod), None, None), (false, false), "it still runs");
    pod.pod.phase = Phase::Failed;
    assert_eq!(decide(Some(&pod), None, None), (true, true));
}

#[test]
fn another_pod_has_the_name() {
    assert_eq!(decide(Some(&running("v")), Some(&endpoint("v", true)), None), (true, false));
    assert_eq!(decide(Some(&running("v")), Some(&endpoint("u", true)), None), (true, true));
    let mut new = fixed("v", 2);
    assert_eq!(
        decide(Some(&new), Some(&endpoint("v", false)), None),
        (true, false),
        "it runs with another address"
    );
    new.pod.has_ips = false;
    assert_eq!(
        decide(Some(&new), Some(&endpoint("u", false)), None),
        (false, false),
        "it has not taken over yet"
    );
    let mut unwanted = fixed("v", 1);
    unwanted.pod.has_ips = false;
    assert_eq!(decide(Some(&unwanted), Some(&endpoint("u", false)), None), (true, true));
}

/// A machine that was to move to another pod, which failed: its first pod runs on with the address, recorded for the other.
#[test]
fn a_machine_keeps_its_address_whichever_of_its_pods_is_recorded() {
    let mut source = running("source");
    source.fixed_owner = Some(FixedOwner::VirtualMachine);
    assert_eq!(decide(Some(&source), Some(&endpoint("u", false)), None), (false, false));
    assert_eq!(decide(Some(&source), None, None), (false, false));
    let mut other = endpoint("u", false);
    other.interfaces.clear();
    assert_eq!(decide(Some(&source), Some(&other), None), (true, true), "its address is another");
    source.fixed_owner = Some(FixedOwner::Gone);
    assert!(decide(Some(&source), Some(&endpoint("u", false)), None).0);
}

/// Who deletes the mirror of a static pod does not end its containers.
#[test]
fn a_static_pod_keeps_its_address_when_its_mirror_is_made_anew() {
    let mut pod = running("v");
    pod.pod.annotations.insert("kubernetes.io/config.source".to_owned(), "file".to_owned());
    assert_eq!(decide(Some(&pod), Some(&endpoint("u", true)), None), (false, false));
    let mut own = endpoint("v", true);
    own.interfaces.clear();
    assert_eq!(decide(Some(&pod), Some(&own), None), (true, false), "it has been set up anew with another");
    pod.pod.deletion = Some(Deletion { at: NOW, grace: 30 });
    assert!(decide(Some(&pod), Some(&endpoint("u", true)), None).0);
}

#[test]
fn timers_are_for_pods_that_hold_addresses_of_their_own() {
    let settings = GcSettings::default();
    let mut pod = running("u");
    assert_eq!(due_at(&settings, &pod), None);
    pod.pod.deletion = Some(Deletion { at: 100, grace: 5 });
    assert_eq!(due_at(&GcSettings { delay: 7, ..settings }, &pod), Some(112));
    pod.pod.host_network = true;
    assert_eq!(due_at(&settings, &pod), None);
    let mut wanted = fixed("u", 2);
    wanted.pod.deletion = Some(Deletion { at: 100, grace: 5 });
    assert_eq!(due_at(&settings, &wanted), None);
}

#[test]
fn an_endpoint_is_outdated_when_no_pool_knows_it() {
    let mut pool = Pool::new("p", crate::PoolSpec::new("10.0.0.0/24".parse().unwrap(), Vec::new()));
    let mut own = endpoint("u", true);
    let holding = own.interfaces.pop().unwrap();
    assert!(!is_outdated(&own, &[&pool]), "it holds nothing");
    own.interfaces.push(holding);
    assert!(is_outdated(&own, &[&pool]) && is_outdated(&own, &[]));
    pool.records.insert("10.0.0.5".parse().unwrap(), record("u"));
    assert!(!is_outdated(&own, &[&pool]));
}
