use std::sync::Arc;

use super::*;
use crate::sim::Api;
use crate::{Assigned, Controller, Deletion, EndpointInterface, FixedOwner, Millis, Pod, PoolSpec, Record};

fn request(uid: &str, kind: ReleaseKind) -> ReleaseRequest {
    ReleaseRequest {
        pod: PodKey::new("a", "db-0"),
        uid: uid.to_owned(),
        container_id: "c".to_owned(),
        nic: "eth0".to_owned(),
        kind,
        deadline: Millis(0),
    }
}

/// A pod `db-0` with an address on `eth0`, being deleted.
fn cluster(change: impl FnOnce(&mut Pod)) -> Api {
    let mut api = Api::default();
    api.put_pool("p", PoolSpec::new("10.0.0.0/24".parse().unwrap(), Vec::new()));
    let key = PodKey::new("a", "db-0");
    let mut pod = Pod { deletion: Some(Deletion { at: 100, grace: 30 }), ..Pod::new(key.clone(), "u", "n1") };
    change(&mut pod);
    let fixed = pod.controller.is_some();
    api.put_pod(pod);
    let pool = Arc::make_mut(api.pools.get_mut("p").unwrap());
    pool.records.insert("10.0.0.5".parse().unwrap(), Record::new(key.clone(), "u", "eth0"));
    let assigned = Assigned { address: "10.0.0.5/24".parse().unwrap(), pool: "p".to_owned(), gateway: None };
    let entry =
        EndpointInterface { nic: "eth0".to_owned(), ipv4: Some(assigned), ..EndpointInterface::default() };
    let endpoint = Endpoint {
        key: key.clone(),
        object_uid: "o".to_owned(),
        resource_version: "1".to_owned(),
        terminating: false,
        uid: "u".to_owned(),
        node: "n1".to_owned(),
        interfaces: vec![entry],
        owner_kind: "Pod".to_owned(),
        owner_name: "db-0".to_owned(),
        owned_by_pod: !fixed,
    };
    api.endpoints.insert(key, endpoint);
    api
}

fn stateful(pod: &mut Pod) {
    let text = |text: &str| text.to_owned();
    pod.controller = Some(Controller {
        api_version: text("apps/v1"),
        kind: text("StatefulSet"),
        name: text("db"),
        uid: text("s"),
    });
}

fn decide(api: &Api, request: &ReleaseRequest) -> Result<Option<Release>, FailureReason> {
    let settings = Settings::default();
    decide_release(
        &settings,
        request,
        &api.observe(&settings, &request.pod, api.pools.values().cloned().collect()),
    )
}

#[test]
fn a_living_pod_keeps_its_addresses_when_its_sandbox_restarts() {
    let api = cluster(|pod| pod.deletion = None);
    assert_eq!(decide(&api, &request("u", ReleaseKind::Pod)), Ok(None));
}

#[test]
fn a_dying_pod_gives_all_back_in_the_time_it_has() {
    let release = decide(&cluster(|_| {}), &request("u", ReleaseKind::Pod)).unwrap().unwrap();
    assert_eq!(release.pools, BTreeSet::from(["p".to_owned()]));
    assert_eq!((release.endpoint, release.limit_millis), (EndpointFate::Remove, Some(25_000)));
    let short = cluster(|pod| pod.deletion = Some(Deletion { at: 100, grace: 1 }));
    let release = decide(&short, &request("", ReleaseKind::Pod)).unwrap().unwrap();
    assert_eq!((release.uid.as_str(), release.limit_millis), ("u", Some(5_000)));
}

#[test]
fn a_pod_that_is_gone_is_known_by_its_uid_even_without_endpoint() {
    let mut api = cluster(|_| {});
    api.remove_pod(&PodKey::new("a", "db-0"));
    assert!(decide(&api, &request("u", ReleaseKind::Pod)).unwrap().is_some());
    assert_eq!(decide(&api, &request("", ReleaseKind::Pod)), Ok(None), "left to garbage collection");
    api.endpoints.clear();
    let release = decide(&api, &request("u", ReleaseKind::Pod)).unwrap().unwrap();
    assert_eq!(release.pools.len(), 1);
}

#[test]
fn an_interface_that_is_not_ours_releases_nothing() {
    let other = ReleaseRequest { nic: "net7".to_owned(), ..request("u", ReleaseKind::Pod) };
    assert_eq!(decide(&cluster(|_| {}), &other), Ok(None));
}

#[test]
fn a_stateful_sets_pod_keeps_its_addresses_while_it_is_wanted() {
    let mut api = cluster(stateful);
    let wants = |replicas| FixedOwner::StatefulSet { name: "db".to_owned(), start: 0, replicas };
    api.fixed_owners.insert(PodKey::new("a", "db"), wants(1));
    assert_eq!(decide(&api, &request("u", ReleaseKind::Pod)), Ok(None));
    api.fixed_owners.insert(PodKey::new("a", "db"), wants(0));
    assert!(decide(&api, &request("u", ReleaseKind::Pod)).unwrap().is_some());
    // A late release of an earlier pod must not take the fixed address from the new one.
    assert_eq!(decide(&api, &request("earlier", ReleaseKind::Pod)), Ok(None));
    api.remove_pod(&PodKey::new("a", "db-0"));
    assert_eq!(decide(&api, &request("u", ReleaseKind::Pod)), Ok(None), "only GC can ask the owner");
}

#[test]
fn a_failed_probe_empties_the_endpoint_and_makes_its_address_suspect() {
    let api = cluster(|pod| pod.deletion = None);
    let whole = ReleaseRequest { nic: String::new(), ..request("", ReleaseKind::Probe) };
    let release = decide(&api, &whole).unwrap().unwrap();
    assert!(matches!(release.endpoint, EndpointFate::Clear(_)));
    assert_eq!(release.suspects, [("p".to_owned(), "10.0.0.5".parse().unwrap())]);
    assert_eq!(release.only, None);
}

/// The pod may be alive, with the other interface in use.
#[test]
fn a_failed_probe_of_one_interface_leaves_what_the_others_have() {
    let mut api = cluster(|pod| pod.deletion = None);
    let probe = |nic: &str| ReleaseRequest { nic: nic.to_owned(), ..request("u", ReleaseKind::Probe) };
    let pool = Arc::make_mut(api.pools.get_mut("p").unwrap());
    pool.records.insert("10.0.0.6".parse().unwrap(), Record::new(PodKey::new("a", "db-0"), "u", "net1"));
    // Recorded, and not yet in the endpoint.
    let release = decide(&api, &probe("net1")).unwrap().unwrap();
    let net1 = [("p".to_owned(), "10.0.0.6".parse().unwrap())];
    assert_eq!((release.only.as_deref(), &release.suspects[..]), (Some(&net1[..]), &net1[..]));
    let EndpointFate::Reduce(_, left) = release.endpoint else { panic!("the endpoint stays") };
    assert_eq!(left.len(), 1, "eth0 stays");
    let release = decide(&api, &probe("eth0")).unwrap().unwrap();
    assert_eq!(release.only, Some(vec![("p".to_owned(), "10.0.0.5".parse().unwrap())]));
    let EndpointFate::Reduce(_, left) = release.endpoint else { panic!("the endpoint stays") };
    assert_eq!(left, []);
    // Where only the order tells interfaces apart, one cannot go alone.
    let unnamed = (crate::annotation::IPPOOLS.to_owned(), r#"[{"ipv4":["p"]},{"ipv4":["p"]}]"#.to_owned());
    let api = cluster(|pod| (pod.deletion, pod.annotations) = (None, [unnamed].into()));
    assert_eq!(decide(&api, &probe("eth0")).unwrap().unwrap().only, None);
}

#[test]
fn a_static_pod_is_known_under_the_uid_of_its_file() {
    let source = || ("kubernetes.io/config.source".to_owned(), "file".to_owned());
    let dying = cluster(|pod| pod.annotations.extend([source()]));
    let release = decide(&dying, &request("of-the-file", ReleaseKind::Pod)).unwrap().unwrap();
    assert_eq!(release.uid, "u", "addresses are recorded for its mirror");
    let alive = cluster(|pod| (pod.deletion, pod.annotations) = (None, [source()].into()));
    assert_eq!(decide(&alive, &request("of-the-file", ReleaseKind::Pod)), Ok(None));
}

#[test]
fn releases_of_conflicts_can_be_forbidden() {
    let fixed = cluster(|pod| {
        pod.deletion = None;
        stateful(pod);
    });
    assert_eq!(
        decide(&fixed, &request("", ReleaseKind::Conflict)),
        Err(FailureReason::ConflictReleaseOfFixed)
    );
    let settings = Settings { release_conflicts: false, ..Settings::default() };
    let request = request("", ReleaseKind::Conflict);
    let seen = fixed.observe(&settings, &request.pod, Vec::new());
    assert_eq!(decide_release(&settings, &request, &seen), Err(FailureReason::ConflictReleaseDisabled));
}

#[test]
fn a_detached_interface_of_a_living_pod_gives_back_its_own_addresses_alone() {
    let detached = |nic: &str| ReleaseRequest { nic: nic.to_owned(), ..request("u", ReleaseKind::Interface) };
    let mut api = cluster(|pod| pod.deletion = None);
    let other = EndpointInterface { nic: "net1".to_owned(), ..EndpointInterface::default() };
    api.endpoints.get_mut(&PodKey::new("a", "db-0")).unwrap().interfaces.push(other.clone());
    let release = decide(&api, &detached("eth0")).unwrap().unwrap();
    assert_eq!(release.only, Some(vec![("p".to_owned(), "10.0.0.5".parse().unwrap())]));
    let EndpointFate::Reduce(_, left) = release.endpoint else { panic!("the endpoint stays") };
    assert_eq!(left, [other]);
    assert_eq!(decide(&api, &detached("net7")), Ok(None));
    let fixed = cluster(|pod| {
        pod.deletion = None;
        stateful(pod);
    });
    assert_eq!(decide(&fixed, &detached("eth0")), Ok(None), "a fixed address waits for its interface");
    // Without a living pod it is a release like any other.
    let dying = decide(&cluster(|_| {}), &detached("eth0")).unwrap().unwrap();
    assert_eq!((dying.only, dying.endpoint), (None, EndpointFate::Remove));
}
