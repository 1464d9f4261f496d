use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

use super::*;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// An agent that gives these answers, one a connection, and tells what it was asked.
fn agent(answers: Vec<&'static str>) -> (tempfile::TempDir, SocketService, thread::JoinHandle<Vec<String>>) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("agent.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let asked = thread::spawn(move || {
        let serve = |answer: &str| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = [0; 4096];
            let mut count = stream.read(&mut bytes).unwrap();
            while !complete(&bytes[..count]) {
                count += stream.read(&mut bytes[count..]).unwrap();
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&bytes[..count]).into_owned()
        };
        answers.into_iter().map(serve).collect()
    });
    (directory, SocketService::new(socket), asked)
}

fn complete(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    length.is_none_or(|length| body.len() >= length.parse().unwrap())
}

#[test]
fn calls_are_the_requests_of_the_api() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    let ips = "HTTP/1.1 200 OK\r\n\r\n{\"ips\":[{\"version\":4,\"address\":\"10.0.0.7/24\",\"nic\":\"eth0\",\"ipPool\":\"p\"}]}";
    let endpoint = "HTTP/1.1 200 OK\r\n\r\n{\"podNamespace\":\"a b\",\"podName\":\"w\",\"podUID\":\"u\",\"node\":\"n\",\"interfaces\":[]}";
    let config = "HTTP/1.1 200 OK\r\n\r\n{\"mode\":\"auto\",\"overlayPodCIDR\":[],\"serviceCIDR\":[\"10.0.0.0/8\"],\"tunePodRoutes\":true}";
    let (_directory, service, asked) = agent(vec![ok, ips, ok, ok, config, endpoint]);
    let pod = PodIdentity { pod_namespace: "a b".into(), pod_name: "w".into() };
    service.healthy(soon()).unwrap();
    assert_eq!(service.allocate(&AddRequest::default(), soon()).unwrap().ips[0].address, "10.0.0.7/24");
    service.release(&DelRequest::default(), soon()).unwrap();
    service.release_batch(&BatchDelRequest::default(), soon()).unwrap();
    assert_eq!(service.coordinator_config(&pod, soon()).unwrap().service_cidr, ["10.0.0.0/8"]);
    assert_eq!(service.workload_endpoint(&pod, soon()).unwrap().node, "n");
    let asked = asked.join().unwrap();
    let lines: Vec<_> = asked.iter().map(|text| text.lines().next().unwrap()).collect();
    let expected = [
        "GET /v1/ipam/healthy HTTP/1.1",
        "POST /v1/ipam/ip HTTP/1.1",
        "DELETE /v1/ipam/ip HTTP/1.1",
        "DELETE /v1/ipam/ips HTTP/1.1",
        "GET /v1/coordinator/config HTTP/1.1",
        "GET /v1/workloadendpoint?podNamespace=a%20b&podName=w HTTP/1.1",
    ];
    assert_eq!(lines, expected);
    assert!(asked[4].ends_with(r#"{"podNamespace":"a b","podName":"w"}"#), "{}", asked[4]);
}

/// The replaced agent answers null for lists that are empty, and a list that is required is never so.
#[test]
fn null_is_absent_and_what_is_required_is_named() {
    let answers = vec![
        "HTTP/1.1 200 OK\r\n\r\n{\"mode\":\"auto\",\"overlayPodCIDR\":[],\"serviceCIDR\":[],\"tunePodRoutes\":false,\"hijackCIDR\":null,\"policyRoutes\":null}",
        "HTTP/1.1 200 OK\r\n\r\n{\"mode\":\"auto\",\"serviceCIDR\":null}",
        "HTTP/1.1 200 OK\r\n\r\n{\"ips\":[{\"version\":4,\"address\":\"10.0.0.7/24\",\"nic\":\"eth0\",\"ipPool\":\"p\",\"gateway\":null}],\"routes\":null,\"dns\":null}",
    ];
    let (_directory, service, _) = agent(answers);
    let pod = PodIdentity::default();
    assert_eq!(service.coordinator_config(&pod, soon()).unwrap().hijack_cidr, Vec::<String>::new());
    let refused = service.coordinator_config(&pod, soon()).unwrap_err().to_string();
    let list = "validation failure list:\noverlayPodCIDR in body is required\nserviceCIDR in body is required\ntunePodRoutes in body is required";
    assert!(refused.ends_with(list), "{refused}");
    assert!(service.allocate(&AddRequest::default(), soon()).unwrap().routes.is_empty());
}

#[test]
fn errors_carry_status_and_text() {
    let answers = vec![
        "HTTP/1.1 500 x\r\n\r\n\"all IP addresses used out\"\n",
        "HTTP/1.1 422 x\r\n\r\n{\"code\":602,\"message\":\"ifName in body is required\"}",
        "HTTP/1.1 521 x\r\n\r\n",
    ];
    let (_directory, service, _) = agent(answers);
    let next = || match service.healthy(soon()).unwrap_err() {
        ServiceError::Status { code, message } => (code, message),
        other => panic!("{other}"),
    };
    assert_eq!(next(), (500, "all IP addresses used out".into()));
    assert_eq!(next(), (422, "ifName in body is required".into()));
    assert_eq!(next(), (521, "status 521".into()));
}

#[test]
fn an_absent_agent_is_away_and_a_silent_one_late() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("agent.sock");
    let service = SocketService::new(&socket);
    let error = service.healthy(soon()).unwrap_err();
    assert!(matches!(error, ServiceError::Away { .. }) && error.is_without_answer(), "{error}");
    let listener = UnixListener::bind(&socket).unwrap();
    let error = service.healthy(Instant::now() + Duration::from_millis(30)).unwrap_err();
    assert!(matches!(error, ServiceError::Late { .. }) && error.is_without_answer(), "{error}");
    drop(listener);
    let error = service.healthy(soon()).unwrap_err();
    assert!(matches!(error, ServiceError::Away { .. }), "{error}");
    assert!(matches!(service.healthy(Instant::now()).unwrap_err(), ServiceError::Late { .. }));
}

#[test]
fn what_is_no_answer_of_the_api_is_garbled() {
    let (_directory, service, _) = agent(vec!["HTTP/1.1 200 OK\r\n\r\n[]"]);
    let error = service.allocate(&AddRequest::default(), soon()).unwrap_err();
    assert!(matches!(error, ServiceError::Garbled { .. }) && !error.is_without_answer(), "{error}");
}
