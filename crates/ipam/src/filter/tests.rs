use super::*;
use crate::{
    Candidates, Controller, Namespace, Networks, Observed, Pod, PoolSpec, Selector, Texts, candidates,
};

fn texts(pairs: &[(&str, &str)]) -> Texts {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn labelled(key: &str, value: &str) -> Option<Selector> {
    Some(Selector { match_labels: texts(&[(key, value)]), ..Selector::default() })
}

fn pool(name: &str, change: impl FnOnce(&mut PoolSpec)) -> Arc<Pool> {
    let mut spec = PoolSpec::new("10.9.0.0/16".parse().unwrap(), vec!["10.9.0.1-10.9.0.9".parse().unwrap()]);
    change(&mut spec);
    Arc::new(Pool::new(name, spec))
}

fn pod() -> ObservedPod {
    let key = PodKey::new("team", "web");
    let labels = texts(&[("app", "web")]);
    ObservedPod {
        pod: Pod { labels, ..Pod::new(key, "u", "n1") },
        parent: None,
        namespace: Namespace { labels: texts(&[("tier", "gold")]), annotations: Texts::new() },
        node_labels: texts(&[("rack", "a")]),
        networks: Networks {
            default: None,
            selected: vec![
                (PodKey::new("nets", "fast"), None),
                (PodKey::new("team", "slow"), Some("eth7".to_owned())),
            ],
            problem: None,
        },
        fixed_owner: None,
    }
}

fn request(nic: &str) -> AddRequest {
    AddRequest {
        pod: PodKey::new("team", "web"),
        uid: "u".to_owned(),
        container_id: "c".to_owned(),
        nic: nic.to_owned(),
        default_ipv4_pools: Vec::new(),
        default_ipv6_pools: Vec::new(),
        clean_gateway: false,
        master_addresses: None,
        deadline: crate::Millis(0),
    }
}

/// Names of the pools that pass, in order; or the error.
fn passing(
    nic: &str,
    pools: Vec<Arc<Pool>>,
    change: impl FnOnce(&mut ObservedPod, &mut AddRequest),
) -> Result<Vec<String>, String> {
    let (mut pod, mut request) = (pod(), request(nic));
    change(&mut pod, &mut request);
    let position = usize::from(nic != "eth0");
    let demand =
        Demand { nic: nic.to_owned(), position, clean_gateway: false, ipv4: pools, ipv6: Vec::new() };
    let settings = Settings::default();
    let situation =
        Situation { settings: &settings, request: &request, pod: &pod, demand: &demand, family: Family::V4 };
    let survivors = situation.survivors().map_err(|why| why.to_string())?;
    Ok(survivors.iter().map(|pool| pool.name.clone()).collect())
}

#[test]
fn names_win_over_affinity_and_every_reason_is_told() {
    let name = |text: &str| vec![text.to_owned()];
    let good = vec![
        pool("node-name", |spec| (spec.node_names, spec.node_affinity) = (name("n1"), labelled("rack", "b"))),
        pool("node", |spec| spec.node_affinity = labelled("rack", "a")),
        pool("ns-name", |spec| {
            (spec.namespace_names, spec.namespace_affinity) = (name("team"), labelled("tier", "tin"))
        }),
        pool("ns", |spec| spec.namespace_affinity = labelled("tier", "gold")),
        pool("pod", |spec| spec.pod_affinity = labelled("app", "web")),
    ];
    assert_eq!(passing("eth0", good, |_, _| {}).unwrap().len(), 5);
    let mut gone = Pool::clone(&pool("gone", |_| {}));
    gone.terminating = true;
    let bad = vec![
        Arc::new(gone),
        pool("off", |spec| spec.disable = true),
        pool("node-name", |spec| spec.node_names = name("n2")),
        pool("node", |spec| spec.node_affinity = labelled("rack", "b")),
        pool("ns-name", |spec| spec.namespace_names = name("other")),
        pool("ns", |spec| spec.namespace_affinity = labelled("tier", "tin")),
        pool("pod", |spec| spec.pod_affinity = labelled("app", "db")),
        pool("six", |spec| spec.subnet = "fd00::/64".parse().unwrap()),
    ];
    let names: Vec<String> = bad.iter().map(|pool| format!("IPPool {}: ", pool.name)).collect();
    let why = passing("eth0", bad, |_, _| {}).unwrap_err();
    assert!(names.iter().all(|name| why.contains(name)), "{why}");
}

#[test]
fn what_says_most_precisely_whom_it_is_for_comes_first_and_ties_stay() {
    let pools = vec![
        pool("plain-b", |_| {}),
        pool("plain-a", |_| {}),
        pool("ns", |spec| spec.namespace_affinity = labelled("tier", "gold")),
        pool("ns-name", |spec| spec.namespace_names = vec!["team".to_owned()]),
        pool("node", |spec| spec.node_affinity = labelled("rack", "a")),
        pool("node-name", |spec| spec.node_names = vec!["n1".to_owned()]),
        pool("pod", |spec| spec.pod_affinity = labelled("app", "web")),
    ];
    let order = passing("eth0", pools, |_, _| {}).unwrap();
    assert_eq!(order, ["pod", "node-name", "node", "ns-name", "ns", "plain-b", "plain-a"]);
}

#[test]
fn multus_names_are_of_the_interfaces_network() {
    let of = |name: &str| vec![pool("p", |spec| spec.multus_names = vec![name.to_owned()])];
    let passes = |nic: &str, name: &str| passing(nic, of(name), |_, _| {}).is_ok();
    assert!(passes("net1", "nets/fast") && !passes("net1", "team/slow"));
    assert!(passes("eth7", "team/slow"));
    assert!(!passes("net9", "nets/fast"));
    // Without a namespace: the agent's.
    let default = |pod: &mut ObservedPod, _: &mut AddRequest| {
        pod.networks.default = Some(PodKey::new("kube-system", "calico"))
    };
    assert!(passing("eth0", of("calico"), default).is_ok());
    let why = passing("eth0", of("calico"), |_, _| {}).unwrap_err();
    assert!(why.contains("MULTUS_CLUSTER_NETWORK"), "{why}");
    assert!(
        passing("eth0", vec![pool("p", |_| {})], |pod, _| pod.networks.problem = Some("bad".to_owned()))
            .is_ok()
    );
}

#[test]
fn the_master_must_be_in_the_subnet_if_asked_for() {
    let with = |ip: &str| {
        let ip = ip.parse().unwrap();
        passing("eth0", vec![pool("p", |_| {})], move |_, request| request.master_addresses = Some(vec![ip]))
    };
    assert!(with("10.9.200.1").is_ok() && with("10.8.0.1").unwrap_err().contains("match_master_subnet"));
}

#[test]
fn an_automatic_pool_is_for_its_application_alone() {
    let text = |text: &str| text.to_owned();
    let app = Controller {
        api_version: text("apps/v1"),
        kind: text("Deployment"),
        name: text("web"),
        uid: text("d"),
    };
    let mut own = Pool::clone(&pool("auto", |spec| {
        spec.pod_affinity =
            Some(Selector { match_labels: auto_pool::app_labels("team", &app), ..Selector::default() });
        spec.multus_names = vec!["nets/other".to_owned()];
    }));
    own.labels = texts(&[("ipam.spidernet.io/owner-application-name", "web")]);
    let own = vec![Arc::new(own)];
    let mine = app.clone();
    assert!(passing("eth0", own.clone(), |pod, _| pod.parent = Some(mine)).is_ok());
    let other = Controller { name: text("db"), ..app };
    assert!(
        passing("eth0", own, |pod, _| pod.parent = Some(other)).unwrap_err().contains("another application")
    );
}

fn sources(change: impl FnOnce(&mut ObservedPod, &mut AddRequest)) -> Result<Vec<String>, String> {
    let (mut pod, mut request) = (pod(), request("net1"));
    change(&mut pod, &mut request);
    let names = ["annotated", "beta-1", "beta-2", "default", "netconf", "spaced"];
    let pools = names.map(|name| pool(name, |spec| spec.default = name == "default"));
    let seen = Observed { pools: pools.to_vec(), ..Observed::default() };
    match candidates(&Settings::default(), &request, &seen, &pod).map_err(|why| why.to_string())? {
        Candidates::Known(demands) => {
            Ok(demands.iter().flat_map(|demand| demand.ipv4.iter().map(|pool| pool.name.clone())).collect())
        }
        Candidates::NotReady { why, .. } => Err(why),
    }
}

#[test]
fn the_first_source_that_says_something_wins() {
    let annotate = |pod: &mut ObservedPod, key: &str, text: &str| {
        drop(pod.pod.annotations.insert(key.to_owned(), text.to_owned()))
    };
    let netconf = |request: &mut AddRequest| request.default_ipv4_pools = vec!["netconf".to_owned()];
    let spaced = |pod: &mut ObservedPod| {
        pod.namespace.annotations = texts(&[(crate::annotation::NAMESPACE_IPV4[0], r#"["spaced"]"#)]);
    };
    assert_eq!(sources(|_, _| {}).unwrap(), ["default"]);
    assert_eq!(sources(|_, request| netconf(request)).unwrap(), ["netconf"]);
    assert_eq!(sources(|pod, request| (netconf(request), spaced(pod)).0).unwrap(), ["spaced"]);
    let one = |pod: &mut ObservedPod| annotate(pod, crate::annotation::IPPOOL, r#"{"ipv4":["annotated"]}"#);
    assert_eq!(sources(|pod, _| (spaced(pod), one(pod)).0).unwrap(), ["annotated"]);
    let many = r#"[{"interface":"net1","ipv4":["beta-2"]},{"interface":"net2","ipv4":["beta-1"]}]"#;
    let both = |pod: &mut ObservedPod| (one(pod), annotate(pod, crate::annotation::IPPOOLS, many)).0;
    assert_eq!(sources(|pod, _| both(pod)).unwrap(), ["beta-2", "beta-1"]);
    let subnet =
        sources(|pod, _| annotate(pod, crate::annotation::SUBNET, r#"{"interface":"net1","ipv4":["s"]}"#));
    assert!(subnet.unwrap_err().contains("this pod has none"), "a bare pod has no automatic pool");
}

#[test]
fn wildcards_expand_in_place_and_names_must_exist_once() {
    let of = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        sources(|_, request| request.default_ipv4_pools = names)
    };
    assert_eq!(of(&["spaced", "beta-?", "annotated"]).unwrap(), ["spaced", "beta-1", "beta-2", "annotated"]);
    assert_eq!(of(&["beta-*", "beta-1", "zzz*"]).unwrap(), ["beta-2", "beta-1"]);
    assert!(of(&["missing"]).unwrap_err().contains("does not exist"));
    assert!(of(&["spaced", "spaced"]).unwrap_err().contains("named twice"));
    assert!(of(&["zzz*"]).unwrap_err().contains("no IPPool available"));
}
