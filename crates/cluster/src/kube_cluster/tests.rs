use std::time::Instant;

use serde_json::{Value, json};

use super::*;
use crate::fake_server::{FakeServer, cluster_at, failure};

fn pod_ref() -> PodRef {
    PodRef { namespace: "blue".into(), name: "p".into(), uid: "u".into() }
}

fn pod() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "spec": {"nodeName": "n", "unknown": [1.5]},
           "metadata": {"name": "p", "namespace": "blue", "uid": "u", "resourceVersion": "7", "annotations": {"k": "v"}}})
}

fn nad(name: &str) -> (u16, Value) {
    (200, json!({"metadata": {"name": name, "namespace": "blue"}, "spec": {"config": "{}"}}))
}

fn nad_ref(namespace: &str, name: &str) -> NadRef {
    NadRef { namespace: namespace.into(), name: name.into() }
}

const STATUS_KEY: &str = polynic_api::annotation::NETWORK_STATUS;

#[test]
fn a_pod_is_read() {
    let server = FakeServer::new([(200, pod())]);
    let info = server.cluster().pod(&pod_ref(), Patience::Patient).unwrap().unwrap();
    assert_eq!((info.uid.as_str(), info.node.as_str()), ("u", "n"));
    assert_eq!(server.requests(), ["GET /api/v1/namespaces/blue/pods/p"]);
}

#[test]
fn a_pod_that_is_gone_is_no_failure_and_not_asked_for_again() {
    let server = FakeServer::new([failure(404, "NotFound", "pods \"p\" not found")]);
    assert_eq!(server.cluster().pod(&pod_ref(), Patience::Patient), Ok(None));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_server_in_trouble_is_asked_again() {
    let busy = failure(503, "ServiceUnavailable", "starting");
    let server = FakeServer::new([busy.clone(), failure(500, "InternalError", "etcd"), (200, pod())]);
    assert!(server.cluster().pod(&pod_ref(), Patience::Patient).unwrap().is_some());
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn what_is_forbidden_stays_forbidden() {
    let server = FakeServer::new([failure(403, "Forbidden", "pods \"p\" is forbidden")]);
    let error = server.cluster().pod(&pod_ref(), Patience::Patient).unwrap_err();
    assert_eq!(error.to_string(), "error waiting for pod: pods \"p\" is forbidden");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_server_that_is_away_is_waited_for_within_bounds() {
    // Nobody listens on a port that was just given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let started = Instant::now();
    let error = cluster_at(port).pod(&pod_ref(), Patience::Patient).unwrap_err();
    assert!(error.0.contains("refused") && error.0.contains("gave up after"), "{error}");
    assert!(error.0.contains(&format!("127.0.0.1:{port}")), "which server? {error}");
    assert!(started.elapsed() >= Duration::from_millis(300), "it was not tried again");
}

#[test]
fn a_silent_server_is_given_up() {
    let server = FakeServer::new([(200, pod())]);
    server.delay(Duration::from_secs(300));
    let cluster = server.impatient_cluster();
    let error = cluster.pod(&pod_ref(), Patience::Brief).unwrap_err();
    assert!(error.0.contains("no answer within"), "{error}");
}

#[test]
fn nads_are_read_together_and_answered_in_order() {
    let server = FakeServer::new([nad("x"), nad("x"), nad("x"), nad("x")]);
    server.answer_together(4);
    let wanted: Vec<NadRef> = ["a", "b", "c", "d"].map(|name| nad_ref("blue", name)).into();
    let answers = server.cluster().nads(&wanted);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let mut requests = server.requests();
    requests.sort();
    let path = "GET /apis/k8s.cni.cncf.io/v1/namespaces/blue/network-attachment-definitions";
    assert_eq!(requests, ["a", "b", "c", "d"].map(|name| format!("{path}/{name}")));
}

#[test]
fn a_missing_nad_has_the_servers_words() {
    let text = "network-attachment-definitions.k8s.cni.cncf.io \"x\" not found";
    let server = FakeServer::new([failure(404, "NotFound", text)]);
    assert_eq!(server.cluster().nads(&[nad_ref("blue", "x")]), [Err(NadError::NotFound(text.to_owned()))]);
}

#[test]
fn names_that_lead_elsewhere_are_never_sent() {
    let server = FakeServer::new([]);
    let cluster = server.cluster();
    for (namespace, name) in [("blue", "../../secrets/s"), ("../x", "a"), ("blue", ""), ("blue", "a?watch=1")]
    {
        assert!(matches!(cluster.nads(&[nad_ref(namespace, name)])[0], Err(NadError::Other(_))));
    }
    let traverse = PodRef { name: "../secrets/s".into(), ..pod_ref() };
    assert!(cluster.pod(&traverse, Patience::Patient).is_err());
    cluster.event(&traverse, &PodEvent::add_failed("x"));
    cluster.flush();
    assert!(server.requests().is_empty());
}

#[test]
fn the_status_is_put_into_the_whole_pod() {
    let server = FakeServer::new([(200, pod()), (200, pod())]);
    server.cluster().set_pod_annotations(&pod_ref(), &[(STATUS_KEY, "[{}]")]).unwrap();
    let seen = server.seen();
    assert_eq!(seen[1].0, "PUT /api/v1/namespaces/blue/pods/p/status");
    let mut wanted = pod();
    wanted["metadata"]["annotations"][STATUS_KEY] = json!("[{}]");
    assert_eq!(serde_json::from_str::<Value>(&seen[1].1).unwrap(), wanted);
}

#[test]
fn a_conflict_is_resolved_by_reading_again() {
    let conflict = failure(409, "Conflict", "the object has been modified");
    let server = FakeServer::new([(200, pod()), conflict.clone(), (200, pod()), (200, pod())]);
    server.cluster().set_pod_annotations(&pod_ref(), &[(STATUS_KEY, "[]")]).unwrap();
    assert_eq!(server.requests().len(), 4);
    let always = (0..20).map(|at| if at % 2 == 0 { (200, pod()) } else { conflict.clone() });
    let server = FakeServer::new(always);
    let error = server.cluster().set_pod_annotations(&pod_ref(), &[(STATUS_KEY, "[]")]).unwrap_err();
    assert_eq!(error, StatusError::Other("the object has been modified".into()));
    assert_eq!(server.requests().len(), 10);
}

#[test]
fn a_pod_that_was_read_ahead_is_written_at_once_and_read_again_if_it_has_changed() {
    let write = |answers: Vec<(u16, Value)>| {
        let server = FakeServer::new(answers);
        let cluster = server.cluster();
        let asker = cluster.asker().unwrap();
        cluster.runtime.block_on(asker.annotate_read(&pod_ref(), pod(), &[(STATUS_KEY, "[]")])).unwrap();
        server.requests()
    };
    let (get, put) = ("GET /api/v1/namespaces/blue/pods/p", "PUT /api/v1/namespaces/blue/pods/p/status");
    assert_eq!(write(vec![(200, pod())]), [put]);
    let conflict = failure(409, "Conflict", "the object has been modified");
    assert_eq!(write(vec![conflict, (200, pod()), (200, pod())]), [put, get, put]);
}

#[test]
fn the_status_of_another_pod_is_not_touched() {
    let mut other = pod();
    other["metadata"]["uid"] = json!("u2");
    let server = FakeServer::new([(200, other.clone())]);
    let error = server.cluster().set_pod_annotations(&pod_ref(), &[(STATUS_KEY, "[]")]).unwrap_err();
    assert!(matches!(error, StatusError::OtherPod { .. }), "{error}");
    other["metadata"]["annotations"] = json!({"kubernetes.io/config.source": "file"});
    let server = FakeServer::new([(200, other.clone()), (200, other)]);
    server.cluster().set_pod_annotations(&pod_ref(), &[(STATUS_KEY, "[]")]).unwrap();
}

#[test]
fn the_status_of_a_pod_that_is_gone_says_so() {
    let server = FakeServer::new([failure(404, "NotFound", "pods \"p\" not found")]);
    let error = server.cluster().set_pod_annotations(&pod_ref(), &[(STATUS_KEY, "[]")]).unwrap_err();
    assert_eq!(error.to_string(), "pod \"p\" not found");
}

#[test]
fn events_are_out_after_a_flush() {
    let server = FakeServer::new([(200, pod()), (201, json!({})), (201, json!({}))]);
    let cluster = server.cluster();
    let mut static_pod = pod_ref();
    static_pod.uid = "runtime".into();
    cluster.pod(&static_pod, Patience::Patient).unwrap();
    cluster.event(&static_pod, &PodEvent::add_failed("one"));
    cluster.event(&static_pod, &PodEvent::add_failed("two"));
    cluster.flush();
    let seen = server.seen();
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[1].0, "POST /api/v1/namespaces/blue/events");
    let event: Value = serde_json::from_str(&seen[1].1).unwrap();
    assert_eq!(event["involvedObject"]["uid"], "u", "the UID that the API knows");
}

#[test]
fn a_flush_without_a_server_ends() {
    let server = FakeServer::new([]);
    server.delay(Duration::from_secs(300));
    let cluster = server.impatient_cluster();
    cluster.event(&pod_ref(), &PodEvent::add_failed("one"));
    let (done, flushed) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        cluster.flush();
        done.send(()).unwrap();
    });
    flushed
        .recv_timeout(Duration::from_secs(120))
        .expect("it waits for the server's answer, which takes 300 s");
}
