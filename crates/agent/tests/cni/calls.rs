//! Calls of a runtime, from the shim to the kernel and back.

use std::time::{Duration, Instant};

use polynic_attach::shim::Patience;
use polynic_cni::{Answer, Error, Verb};
use polynic_wire::multus::{CniRequest, Endpoint, InterfaceAttributes, MultusSocket};
use serde_json::json;

use crate::api::{PODS, soon, until};
use crate::node::{Agent, NADS, PATIENCE, node};

#[test]
fn a_pod_gets_its_networks_through_shim_and_agent_and_gives_them_back() {
    let Some(node) = node() else { return };
    let _agent = node.agent();
    let pod = node.pod("web", "a,b@lan0");
    let result = pod.add();
    assert_eq!(result["cniVersion"], "1.1.0");
    let links = pod.links();
    assert_eq!(links.keys().collect::<Vec<_>>(), ["eth0", "lan0", "net1"]);
    assert_eq!(
        result["ips"][0]["address"],
        json!(links["eth0"][0]),
        "the default network's address is answered"
    );
    assert_eq!(pod.status(), ["fabric eth0", "default/a net1", "default/b lan0"]);
    until("the Events are there", || node.events("web").len() == 3);
    assert_eq!(pod.add(), result, "a repeated ADD converges");
    assert_eq!(pod.call(Verb::Check), Answer::default());
    pod.lose("net1");
    let checked = pod.call(Verb::Check);
    assert!(checked.code == 1 && checked.stdout.contains("net1"), "{}", checked.stdout);
    pod.del();
    assert_eq!((pod.names().len(), node.host_links()), (0, 0));
    assert_eq!(node.leftovers(), [""; 0]);
    pod.del();
}

#[test]
fn failures_name_pod_network_and_cause_and_are_told_once() {
    let Some(node) = node() else { return };
    let _agent = node.agent();
    let pod = node.pod("web", "a,nowhere");
    for _ in 0..2 {
        let answer = pod.call(Verb::Add);
        let error = Error::from_json(answer.stdout.as_bytes()).unwrap();
        assert_eq!(error.code, 999);
        for part in ["CmdAdd (shim)", "default/web", "nowhere", "error configuring pod"] {
            assert!(error.msg.contains(part), "{part}: {}", error.msg);
        }
    }
    until("the Event is there", || !node.events("web").is_empty());
    assert_eq!(node.events("web").len(), 1, "{:?}", node.events("web"));
    assert_eq!((pod.names().len(), node.leftovers().len()), (0, 0), "{:?}", node.leftovers());
}

#[test]
fn without_agent_a_pod_is_deleted_by_the_shim() {
    let Some(node) = node() else { return };
    let agent = node.agent();
    let pod = node.pod("web", "a");
    pod.add();
    drop(agent);
    let patience = Patience { ready: PATIENCE.brief, ..PATIENCE };
    let answer = node.pod("late", "").call_with(Verb::Add, &node.conf(), patience);
    let error = Error::from_json(answer.stdout.as_bytes()).unwrap();
    assert_eq!(error.code, 11, "{error}");
    assert_eq!(pod.call(Verb::Check), Answer::default());
    pod.del();
    assert_eq!((pod.names().len(), node.host_links()), (0, 0));
    assert_eq!(node.leftovers(), [""; 0]);
}

#[test]
fn an_agent_that_ends_sends_new_pods_away_and_serves_deletions() {
    let Some(node) = node() else { return };
    let agent = Agent::with_drain(node.config(&json!({})), node.world.kubeconfig(), Duration::from_secs(600));
    let (pod, late) = (node.pod("web", "a"), node.pod("late", "a"));
    pod.add();
    agent.end();
    let socket = MultusSocket::in_directory(&node.path("run"));
    until("it is not ready any more", || socket.post("/readyz", b"", soon()).unwrap().status == 500);
    let patience = Patience { ready: PATIENCE.brief, ..PATIENCE };
    let answer = late.call_with(Verb::Add, &node.conf(), patience);
    assert_eq!(Error::from_json(answer.stdout.as_bytes()).unwrap().code, 11, "{}", answer.stdout);
    pod.del();
    assert_eq!((pod.names().len(), node.leftovers()), (0, Vec::new()));
    let served = "multus_server_request_total{handler=\"/cni\",code=\"200\",method=\"post\"} 2";
    assert!(agent.counts(served), "the ADD and the DEL: {}", agent.endpoint.metrics().page().text());
    agent.leave();
}

#[test]
fn a_deletion_that_fails_is_success_for_the_runtime_and_done_later() {
    let Some(node) = node() else { return };
    let success =
        r#"cat > /dev/null; [ "$CNI_COMMAND" = ADD ] && echo '{"cniVersion":"1.0.0","ips":[]}'; exit 0"#;
    node.script("theirs", success);
    node.world.create(NADS, &node.nad_with("theirs", &json!({"type": "theirs"})));
    let _agent = node.agent();
    let pod = node.pod("web", "theirs");
    pod.add();
    node.script("theirs", r#"cat > /dev/null; echo '{"code": 100, "msg": "the switch is away"}'; exit 1"#);
    let env = [
        ("CNI_COMMAND", "DEL".to_owned()),
        ("CNI_CONTAINERID", pod.container.clone()),
        ("CNI_NETNS", pod.path()),
    ];
    let args = ("CNI_ARGS", format!("K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_UID={}", pod.uid));
    let env = env.into_iter().chain([args]).map(|(name, value)| (name.to_owned(), value));
    let request =
        CniRequest { env: env.collect(), config: node.conf().to_string().into_bytes(), attributes: None };
    let ask = |request: &CniRequest| {
        let body = serde_json::to_vec(request).unwrap();
        MultusSocket::in_directory(&node.path("run")).post("/cni", &body, soon()).unwrap()
    };
    let reply = ask(&request);
    assert!(reply.status == 400 && reply.is_written_down(), "{}", String::from_utf8_lossy(&reply.body));
    let unserved = CniRequest { config: b"{}".to_vec(), ..request };
    assert!(!ask(&unserved).is_written_down(), "the shim has to know");
    pod.del();
    until("the deletion waits", || node.leftovers().iter().any(|file| file.contains("deletions/")));
    node.script("theirs", success);
    until("the deletion is done", || node.leftovers().is_empty());
}

#[test]
fn a_network_is_attached_and_detached_as_hot_plug_controllers_ask() {
    let Some(node) = node() else { return };
    let _agent = node.agent();
    let pod = node.pod("web", "");
    pod.add();
    let nad = node.world.get(NADS, "a").unwrap();
    let config = nad["spec"]["config"].as_str().unwrap().replacen('{', "{\"name\":\"a\",", 1);
    let ask = |command: &str| {
        let env = [
            ("CNI_COMMAND", command.to_owned()),
            ("CNI_CONTAINERID", pod.container.clone()),
            ("CNI_NETNS", pod.path()),
            ("CNI_IFNAME", "hot0".to_owned()),
            ("CNI_ARGS", format!("K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_UID={}", pod.uid)),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value)).into();
        let attributes = Some(InterfaceAttributes { mac: "02:00:00:00:00:77".into(), ..Default::default() });
        let request = CniRequest { env, config: config.clone().into_bytes(), attributes };
        let body = serde_json::to_vec(&request).unwrap();
        MultusSocket::in_directory(&node.path("run")).post("/delegate", &body, soon()).unwrap()
    };
    let reply = ask("ADD");
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    assert_eq!(reply.status, 200, "{text}");
    assert!(text.contains("\"Result\"") && text.contains("hot0"), "{text}");
    assert_eq!(pod.names(), ["eth0", "hot0"]);
    assert_eq!(pod.status(), ["fabric eth0"], "the status is the controller's");
    assert_eq!(ask("ADD").status, 400, "the interface is there");
    assert_eq!(ask("DEL").status, 200);
    assert_eq!(pod.names(), ["eth0"]);
    assert_eq!(ask("ADD").status, 200);
    pod.del();
    assert_eq!(node.leftovers(), [""; 0], "the pod's DEL takes it along");
}

#[test]
fn the_socket_answers_probes_and_refuses_what_is_no_call() {
    let Some(node) = node() else { return };
    let agent = node.agent();
    let socket = MultusSocket::in_directory(&node.path("run"));
    let ask = |path: &'static str, body: &[u8]| {
        let reply = socket.post(path, body, Instant::now() + PATIENCE.total).unwrap();
        (reply.status, String::from_utf8(reply.body).unwrap())
    };
    assert_eq!(ask("/healthz", b""), (200, String::new()));
    assert_eq!(ask("/readyz", b""), (200, String::new()));
    assert_eq!(ask("/nowhere", b"").0, 404);
    assert_eq!(ask("/cni", b"{").0, 400);
    assert_eq!(
        ask("/cni", br#"{"env":{"CNI_COMMAND":"JUMP"},"config":"e30="}"#),
        (400, "unknown cmd type: JUMP\n".to_owned())
    );
    for (method, path, status) in [
        ("GET", "/cni", "405 Method Not Allowed"),
        ("PUT", "/cni", "405 Method Not Allowed"),
        ("GET", "/delegate", "405 Method Not Allowed"),
        ("DELETE", "/healthz", "405 Method Not Allowed"),
        ("PATCH", "/readyz", "405 Method Not Allowed"),
        ("GET", "/healthz", "200 OK"),
        ("GET", "/readyz", "200 OK"),
        ("GET", "/", "404 Not Found"),
    ] {
        let answer = raw(&node.path("run/multus.sock"), method, path);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{method} {path}: {answer}");
        let body = if status.starts_with("405") { "\r\n\r\nMethod not allowed\n" } else { "\r\n\r\n" };
        assert!(answer.ends_with(body), "{method} {path}: {answer}");
    }
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(node.path("run/multus.sock")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    let page = agent.endpoint.metrics().page().text();
    assert!(
        page.contains("multus_server_request_total{handler=\"/cni\",code=\"400\",method=\"post\"} 2"),
        "{page}"
    );
}

/// A request without a body by any method, and the whole answer.
fn raw(socket: &std::path::Path, method: &str, path: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn gc_removes_exactly_what_the_runtime_does_not_list() {
    let Some(node) = node() else { return };
    let _agent = node.agent();
    let (kept, stale) = (node.pod("kept", "a"), node.pod("stale", "a,b"));
    kept.add();
    stale.add();
    // So long ago that the runtime must know of it: an agent that was started since.
    drop(_agent);
    let _agent = node.agent();
    let mut conf = node.conf();
    conf["cni.dev/valid-attachments"] = json!([{"containerID": kept.container, "ifname": "eth0"}]);
    let vars = [("CNI_COMMAND", "GC"), ("CNI_PATH", "/nowhere")];
    let vars = vars.map(|(name, value)| (name.into(), value.into())).into_iter().collect();
    assert_eq!(crate::node::shim(&node, PATIENCE, vars, &conf), Answer::default());
    assert_eq!((kept.names().len(), stale.names().len()), (2, 0));
    assert!(node.leftovers().iter().all(|file| !file.contains(&stale.container)), "{:?}", node.leftovers());
    assert_eq!(kept.call(Verb::Check), Answer::default());
    kept.del();
    assert_eq!(node.leftovers(), [""; 0]);
    assert!(node.world.get(PODS, "stale").is_some());
}

polynic_control_plane::on_a_real_server!(
    a_pod_gets_its_networks_through_shim_and_agent_and_gives_them_back,
    failures_name_pod_network_and_cause_and_are_told_once,
    without_agent_a_pod_is_deleted_by_the_shim,
    an_agent_that_ends_sends_new_pods_away_and_serves_deletions,
    a_deletion_that_fails_is_success_for_the_runtime_and_done_later,
    a_network_is_attached_and_detached_as_hot_plug_controllers_ask,
    the_socket_answers_probes_and_refuses_what_is_no_call,
    gc_removes_exactly_what_the_runtime_does_not_list,
);
