use std::future::Future;
use std::sync::Arc;

use futures::executor::LocalPool;
use futures::task::LocalSpawnExt as _;
use polynic_net::Entropy;

use super::*;
use crate::sim::{Api, ApiStore};
use crate::{Grant, Pod, PodKey, PoolSpec, ReleaseKind, Texts};

/// Time stands still; what sleeps never wakes.
struct Still;

impl Clock for Still {
    fn now(&self) -> Millis {
        Millis(0)
    }

    async fn sleep_until(&self, _then: Millis) {
        std::future::pending().await
    }
}

fn add(pod: &str, nic: &str) -> AddRequest {
    AddRequest {
        pod: PodKey::new("team", pod),
        uid: String::new(),
        container_id: "c".to_owned(),
        nic: nic.to_owned(),
        default_ipv4_pools: vec!["blue".to_owned()],
        default_ipv6_pools: Vec::new(),
        clean_gateway: false,
        master_addresses: None,
        deadline: Millis(100_000),
    }
}

fn release(pod: &str, uid: &str) -> ReleaseRequest {
    ReleaseRequest {
        pod: PodKey::new("team", pod),
        uid: uid.to_owned(),
        container_id: "c".to_owned(),
        nic: "eth0".to_owned(),
        kind: ReleaseKind::Pod,
        deadline: Millis(100_000),
    }
}

fn cluster(pods: &[&str]) -> ApiStore {
    let mut api = Api::default();
    let mut spec = PoolSpec::new("10.9.0.0/16".parse().unwrap(), vec!["10.9.0.1-10.9.0.20".parse().unwrap()]);
    spec.gateway = Some("10.9.255.254".parse().unwrap());
    api.put_pool("blue", spec);
    for name in pods {
        api.put_pod(Pod::new(PodKey::new("team", *name), format!("uid-{name}"), "n1"));
    }
    ApiStore::new(api)
}

/// Runs callers and allocator until all callers have their answers and the allocator has ended.
fn run<T: 'static, F: Future<Output = T> + 'static>(
    store: &ApiStore,
    callers: impl FnOnce(Handle) -> F,
) -> T {
    let parts = Parts {
        store: Arc::new(store.clone()),
        clock: Arc::new(Still),
        settings: Settings::default(),
        entropy: Entropy::new(1),
        warn: Box::new(|why| panic!("{why}")),
    };
    let (handle, driver) = service(parts);
    let mut pool = LocalPool::new();
    let driver = pool.spawner().spawn_local_with_handle(driver).unwrap();
    let answers = pool.run_until(callers(handle));
    pool.run_until(driver);
    answers
}

fn granted(answer: Answer) -> Grant {
    match answer {
        Answer::Granted(grant) => grant,
        other => panic!("{other:?}"),
    }
}

#[test]
fn pods_that_start_together_share_one_write() {
    let names: Vec<String> = (0..10).map(|n| format!("p{n}")).collect();
    let store = cluster(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let (answers, counters) = run(&store, |handle| async move {
        let answers = futures::future::join_all(names.iter().map(|name| handle.add(add(name, "eth0")))).await;
        (answers, handle.counters())
    });
    let addresses: std::collections::BTreeSet<_> =
        answers.into_iter().map(|answer| granted(answer).addresses[0].address).collect();
    assert_eq!(addresses.len(), 10);
    assert!(counters.pool_writes <= 2, "{counters:?}");
    assert_eq!(store.api().pools["blue"].records.count(), 10);
    assert_eq!(store.api().endpoints.len(), 10);
}

#[test]
fn an_answer_has_address_gateway_and_default_route() {
    let store = cluster(&["web"]);
    let grant = granted(run(&store, |handle| async move { handle.add(add("web", "eth0")).await }));
    assert_eq!(grant.addresses[0].address.to_string(), "10.9.0.1/16");
    assert_eq!(grant.addresses[0].gateway.unwrap().to_string(), "10.9.255.254");
    assert_eq!(grant.routes[0].route.dst.to_string(), "0.0.0.0/0");
}

#[test]
fn two_interfaces_from_one_pool_get_two_addresses_and_a_repeated_add_the_same() {
    let store = cluster(&["web"]);
    let answers = run(&store, |handle| async move {
        let mut answers = Vec::new();
        for nic in ["eth0", "net1", "eth0", "net1"] {
            answers.push(handle.add(add("web", nic)).await);
        }
        answers
    });
    let own = |answer: &Answer, nic: &str| {
        let grant = granted(answer.clone());
        grant.addresses.iter().find(|granted| granted.nic == nic).unwrap().address
    };
    assert_ne!(own(&answers[0], "eth0"), own(&answers[1], "net1"));
    assert_eq!(own(&answers[0], "eth0"), own(&answers[2], "eth0"));
    assert_eq!(own(&answers[1], "net1"), own(&answers[3], "net1"));
    assert_eq!(store.api().pools["blue"].records.count(), 2);
}

#[test]
fn a_retry_without_endpoint_finds_both_addresses_by_their_interfaces() {
    let store = cluster(&["web"]);
    let ask = |handle: Handle| async move {
        (handle.add(add("web", "eth0")).await, handle.add(add("web", "net1")).await)
    };
    let first = run(&store, ask);
    store.api().endpoints.clear();
    let second = run(&store, ask);
    assert_eq!(granted(first.1).addresses, granted(second.1).addresses);
    assert_eq!(store.api().pools["blue"].records.count(), 2);
}

#[test]
fn the_pod_lives_so_a_release_does_nothing_and_when_it_is_gone_all_goes() {
    let store = cluster(&["web"]);
    run(&store, |handle| async move {
        handle.add(add("web", "eth0")).await;
        handle.release(release("web", "uid-web")).await
    });
    assert_eq!(store.api().pools["blue"].records.count(), 1);
    store.api().remove_pod(&PodKey::new("team", "web"));
    let twice = run(&store, |handle| async move {
        (handle.release(release("web", "uid-web")).await, handle.release(release("web", "uid-web")).await)
    });
    assert_eq!(twice, (Answer::Released, Answer::Released));
    assert!(store.api().pools["blue"].records.is_empty());
    assert!(store.api().endpoints.is_empty());
}

#[test]
fn a_recreated_pod_gets_an_address_of_a_full_pool_at_once() {
    let store = cluster(&["web"]);
    let one = vec!["10.9.0.1".parse().unwrap()];
    store.api().put_pool("blue", PoolSpec::new("10.9.0.0/16".parse().unwrap(), one));
    let ask = |handle: Handle| async move { handle.add(add("web", "eth0")).await };
    granted(run(&store, ask));
    store.api().put_pod(Pod::new(PodKey::new("team", "web"), "uid-2", "n1"));
    let grant = granted(run(&store, ask));
    assert_eq!(grant.addresses[0].address.to_string(), "10.9.0.1/16");
    assert_eq!(store.api().endpoints[&PodKey::new("team", "web")].uid, "uid-2");
}

#[test]
fn unnamed_interfaces_are_bound_in_the_order_they_come() {
    let store = cluster(&["web"]);
    let text = r#"[{"ipv4":["blue"]},{"ipv4":["blue"]},{"ipv4":["blue"]}]"#;
    let annotations = Texts::from([(crate::annotation::IPPOOLS.to_owned(), text.to_owned())]);
    store.api().put_pod(Pod { annotations, ..Pod::new(PodKey::new("team", "web"), "u", "n1") });
    let last = run(&store, |handle| async move {
        for nic in ["eth0", "net7"] {
            granted(handle.add(add("web", nic)).await);
        }
        granted(handle.add(add("web", "net2")).await)
    });
    let nics: Vec<&str> = last.addresses.iter().map(|granted| granted.nic.as_str()).collect();
    assert_eq!(nics, ["eth0", "net7", "net2"]);
    assert_eq!(store.api().pools["blue"].records.count(), 3);
}

#[test]
fn a_full_pool_says_so_and_leaves_nothing_behind() {
    let store = cluster(&["web"]);
    let mut request = add("web", "eth0");
    request.default_ipv6_pools = vec!["six".to_owned()];
    store.api().put_pool("six", PoolSpec::new("fd00::/64".parse().unwrap(), Vec::new()));
    let answer = run(&store, |handle| async move { handle.add(request).await });
    let Answer::Failed(failure) = answer else { panic!("{answer:?}") };
    assert!(matches!(failure.why, FailureReason::UsedOut(_)), "{failure}");
    assert!(failure.to_string().contains("IPPool six: all IP addresses used out"), "{failure}");
    assert!(store.api().pools["blue"].records.is_empty(), "the IPv4 address went back");
    assert!(store.api().endpoints.is_empty());
}
