use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::executor::LocalPool;
use futures::task::LocalSpawnExt as _;
use polynic_net::Entropy;

use super::*;
use crate::sim::{Api, ApiStore};
use crate::{Grant, Pod, PodKey, PoolSpec, ReleaseKind, Texts};

/// Time goes on by short rests alone; who sleeps for longer never wakes.
#[derive(Default)]
struct Still(AtomicU64);

impl Clock for Still {
    fn now(&self) -> Millis {
        Millis(self.0.load(Ordering::Relaxed))
    }

    async fn sleep_until(&self, then: Millis) {
        if then.since(self.now()) > 100 {
            std::future::pending::<()>().await;
        }
        self.0.fetch_max(then.0, Ordering::Relaxed);
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

/// Runs callers and allocator until all callers have their answers and the allocator has ended; it has nothing to warn of.
fn run<T: 'static, F: Future<Output = T> + 'static>(
    store: &ApiStore,
    callers: impl FnOnce(Handle) -> F,
) -> T {
    let (answers, warnings) = run_noting(store, callers);
    assert_eq!(warnings, [""; 0]);
    answers
}

/// The same, with what it warned of.
fn run_noting<T: 'static, F: Future<Output = T> + 'static>(
    store: &ApiStore,
    callers: impl FnOnce(Handle) -> F,
) -> (T, Vec<String>) {
    run_with(store, Settings::default(), callers)
}

fn run_with<T: 'static, F: Future<Output = T> + 'static>(
    store: &ApiStore,
    settings: Settings,
    callers: impl FnOnce(Handle) -> F,
) -> (T, Vec<String>) {
    let warnings = Arc::new(Mutex::new(Vec::new()));
    let noted = warnings.clone();
    let parts = Parts {
        store: Arc::new(store.clone()),
        clock: Arc::new(Still::default()),
        settings,
        entropy: Entropy::new(1),
        warn: Box::new(move |why| noted.lock().unwrap().push(why.to_owned())),
    };
    let (handle, driver) = service(parts);
    let mut pool = LocalPool::new();
    let driver = pool.spawner().spawn_local_with_handle(driver).unwrap();
    let answers = pool.run_until(callers(handle));
    pool.run_until(driver);
    let warnings = warnings.lock().unwrap().clone();
    (answers, warnings)
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
        answers.into_iter().map(|one| granted(one.answer).addresses[0].address).collect();
    assert_eq!(addresses.len(), 10);
    assert!(counters.pool_writes <= 2, "{counters:?}");
    assert_eq!(store.api().pools["blue"].records.count(), 10);
    assert_eq!(store.api().endpoints.len(), 10);
}

#[test]
fn an_answer_has_address_gateway_and_default_route() {
    let store = cluster(&["web"]);
    let grant = granted(run(&store, |handle| async move { handle.add(add("web", "eth0")).await.answer }));
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
            answers.push(handle.add(add("web", nic)).await.answer);
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
        (handle.add(add("web", "eth0")).await.answer, handle.add(add("web", "net1")).await.answer)
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
        handle.release(release("web", "uid-web")).await.answer
    });
    assert_eq!(store.api().pools["blue"].records.count(), 1);
    store.api().remove_pod(&PodKey::new("team", "web"));
    let twice = run(&store, |handle| async move {
        (
            handle.release(release("web", "uid-web")).await.answer,
            handle.release(release("web", "uid-web")).await.answer,
        )
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
    let ask = |handle: Handle| async move { handle.add(add("web", "eth0")).await.answer };
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
            granted(handle.add(add("web", nic)).await.answer);
        }
        granted(handle.add(add("web", "net2")).await.answer)
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
    let answer = run(&store, |handle| async move { handle.add(request).await.answer });
    let Answer::Failed(failure) = answer else { panic!("{answer:?}") };
    assert!(matches!(failure.why, FailureReason::UsedOut(_)), "{failure}");
    assert!(failure.to_string().contains("IPPool six: all IP addresses used out"), "{failure}");
    assert!(store.api().pools["blue"].records.is_empty(), "the IPv4 address went back");
    assert!(store.api().endpoints.is_empty());
}

/// The grant for an interface, or why not.
fn address(answer: &Answer, nic: &str) -> String {
    let grant = granted(answer.clone());
    grant.addresses.iter().find(|granted| granted.nic == nic).unwrap().address.addr().to_string()
}

fn listed(items: &[&str]) -> Texts {
    let items: Vec<String> = items.iter().map(|pool| format!(r#"{{"ipv4":["{pool}"]}}"#)).collect();
    Texts::from([(crate::annotation::IPPOOLS.to_owned(), format!("[{}]", items.join(",")))])
}

fn stateful_pod(uid: &str, annotations: Texts) -> Pod {
    let text = |text: &str| text.to_owned();
    let (api_version, kind) = (text("apps/v1"), text("StatefulSet"));
    let controller = crate::Controller { api_version, kind, name: text("db"), uid: text("s") };
    Pod { annotations, controller: Some(controller), ..Pod::new(PodKey::new("team", "db-0"), uid, "n1") }
}

/// Its items stand in the order of its interfaces: each is compared with its own.
#[test]
fn a_fixed_pod_with_three_unnamed_interfaces_keeps_all_addresses() {
    let store = cluster(&[]);
    for (pool, net) in [("red", 8), ("green", 7)] {
        let ips = format!("10.{net}.0.1-10.{net}.0.9").parse().unwrap();
        store.api().put_pool(pool, PoolSpec::new(format!("10.{net}.0.0/16").parse().unwrap(), vec![ips]));
    }
    let owner = crate::FixedOwner::StatefulSet { name: "db".to_owned(), start: 0, replicas: 1 };
    store.api().fixed_owners.insert(PodKey::new("team", "db"), owner);
    let mut seen = Vec::new();
    for uid in ["first", "second"] {
        store.api().put_pod(stateful_pod(uid, listed(&["blue", "red", "green"])));
        seen.push(run(&store, |handle| async move {
            let mut addresses = Vec::new();
            for nic in ["eth0", "net1", "net2"] {
                addresses.push(address(&handle.add(add("db-0", nic)).await.answer, nic));
            }
            addresses
        }));
    }
    assert_eq!(seen[0], ["10.9.0.1", "10.8.0.1", "10.7.0.1"]);
    assert_eq!(seen[1], seen[0]);
    let counts = ["blue", "red", "green"].map(|pool| store.api().pools[pool].records.count());
    assert_eq!(counts, [1, 1, 1]);
}

#[test]
fn an_interface_beyond_the_unnamed_items_gets_nothing() {
    let store = cluster(&[]);
    let annotations = listed(&["blue", "blue"]);
    store.api().put_pod(Pod { annotations, ..Pod::new(PodKey::new("team", "web"), "u", "n1") });
    let last = run(&store, |handle| async move {
        for nic in ["eth0", "net1"] {
            granted(handle.add(add("web", nic)).await.answer);
        }
        handle.add(add("web", "net2")).await.answer
    });
    let Answer::Failed(failure) = last else { panic!("{last:?}") };
    assert!(failure.to_string().contains("no pool is named for interface net2"), "{failure}");
    assert_eq!(store.api().pools["blue"].records.count(), 2);
}

/// What somebody moved to another pool is the other pool's, although an endpoint still names it.
#[test]
fn an_address_that_the_pool_has_no_more_is_replaced_and_not_given_twice() {
    let store = cluster(&["web", "other"]);
    let ask = |handle: Handle| async move { handle.add(add("web", "eth0")).await.answer };
    assert_eq!(address(&run(&store, ask), "eth0"), "10.9.0.1");
    let subnet = || "10.9.0.0/16".parse().unwrap();
    store.api().put_pool("blue", PoolSpec::new(subnet(), vec!["10.9.0.2-10.9.0.9".parse().unwrap()]));
    store.api().put_pool("red", PoolSpec::new(subnet(), vec!["10.9.0.1".parse().unwrap()]));
    let red = AddRequest { default_ipv4_pools: vec!["red".to_owned()], ..add("other", "eth0") };
    let taken = run(&store, |handle| async move { handle.add(red).await.answer });
    assert_eq!(address(&taken, "eth0"), "10.9.0.1");
    let quiet = run_noting(&store, ask);
    assert_eq!(address(&quiet.0, "eth0"), "10.9.0.2");
    assert!(quiet.1[0].contains("cannot keep its address on eth0"), "{:?}", quiet.1);
}

#[test]
fn a_static_pod_gets_an_address_though_the_runtime_knows_it_by_another_uid() {
    let store = cluster(&[]);
    let annotations = Texts::from([("kubernetes.io/config.source".to_owned(), "file".to_owned())]);
    store.api().put_pod(Pod { annotations, ..Pod::new(PodKey::new("team", "web"), "mirror", "n1") });
    let request = AddRequest { uid: "of-the-file".to_owned(), ..add("web", "eth0") };
    assert_eq!(
        address(&run(&store, |handle| async move { handle.add(request).await.answer }), "eth0"),
        "10.9.0.1"
    );
    assert_eq!(store.api().endpoints[&PodKey::new("team", "web")].uid, "mirror");
}

/// A word that was left from when there were SpiderSubnets.
#[test]
fn what_is_said_about_subnets_counts_where_there_are_any() {
    let store = cluster(&[]);
    let annotations = Texts::from([(crate::annotation::SUBNET.to_owned(), r#"{"ipv4":["s"]}"#.to_owned())]);
    store.api().put_pod(Pod { annotations, ..Pod::new(PodKey::new("team", "web"), "u", "n1") });
    let ask = |handle: Handle| async move { handle.add(add("web", "eth0")).await.answer };
    let refused = |settings| match run_with(&store, settings, ask).0 {
        Answer::Failed(failure) => failure.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(refused(Settings::default()).contains("this pod has none"), "a bare pod has no automatic pool");
    let without_pools = Settings { auto_pool: false, ..Settings::default() };
    assert!(refused(without_pools).contains("switched off"));
    let without_subnets = Settings { subnet: false, auto_pool: false, ..Settings::default() };
    assert_eq!(address(&run_with(&store, without_subnets, ask).0, "eth0"), "10.9.0.1");
}
