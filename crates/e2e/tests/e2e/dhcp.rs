//! `dhcp`, plugin and daemon as executables, with a real server (spec/plugins.md 2.3).

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use polynic_e2e::{Call, Node, Pod, plugins};
use polynic_kernel::testing::say_skipped;
use serde_json::{Value, json};

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A node whose network has a DHCP server; none without namespaces or dnsmasq.
fn node() -> Option<(Node, Process)> {
    let node = Node::new()?;
    let leases = format!("--dhcp-leasefile={}/leases", node.directory());
    let server = node.wire().netns.run(move || {
        let mut command = Command::new("dnsmasq");
        command.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--port=0",
            "--interface=wire",
            "--pid-file=",
        ]);
        command.args([
            "--bind-interfaces",
            "--dhcp-authoritative",
            "--no-ping",
            "--user=root",
            "--group=",
            &leases,
        ]);
        command
            .args(["--log-facility=/dev/null", "--dhcp-range=192.168.1.100,192.168.1.120,255.255.255.0,2m"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    });
    match server.unwrap() {
        Ok(server) => Some((node, Process(server))),
        Err(_) => {
            say_skipped("there is no dnsmasq (Debian: dnsmasq-base)");
            None
        }
    }
}

fn socket(node: &Node) -> String {
    format!("{}/dhcp/dhcp.sock", node.directory())
}

fn daemon(node: &Node) -> Process {
    let socket = socket(node);
    let mut command = Command::new(Path::new(plugins()).join("dhcp"));
    command.args(["daemon", "-socketpath", &socket, "--pidfile", &format!("{}/pid", node.directory())]);
    let process = Process(command.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap());
    eventually("the daemon listens", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    process
}

fn conf(node: &Node) -> Value {
    json!({"cniVersion": "1.0.0", "name": "lan", "type": "macvlan", "master": "eth0",
        "ipam": {"type": "dhcp", "daemonSocketPath": socket(node)}})
}

#[track_caller]
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < end, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn leases(node: &Node) -> String {
    std::fs::read_to_string(format!("{}/leases", node.directory())).unwrap_or_default()
}

#[test]
fn a_lease_lives_through_a_killed_daemon_and_ends_without_one() {
    let Some((node, _server)) = node() else { return };
    let first = daemon(&node);
    let pod = Pod::new();
    let call = Call::new(&pod, conf(&node));
    let result = call.add();
    let address = result["ips"][0]["address"].as_str().unwrap().to_owned();
    assert!(address.starts_with("192.168.1.1"), "{result}");
    assert_eq!(result["ips"][0]["interface"], 0);
    assert_eq!(result["routes"], json!([{"dst": "0.0.0.0/0", "gw": "192.168.1.1"}]));
    assert!(polynic_e2e::reaches(&pod.netns, &node.wire().netns, "198.51.100.7"));
    assert_eq!(call.check(&result).silent(), "");
    drop(first);
    let (code, text) = call.check(&result).error();
    assert!(code == 999 && text.starts_with("error dialing DHCP daemon: "), "{text}");
    let second = daemon(&node);
    assert_eq!(call.check(&result).silent(), "");
    assert_eq!(call.add(), result, "the same again");
    drop(second);
    assert!(leases(&node).contains(address.trim_end_matches("/24")));
    call.del();
    eventually("the server has the address back", || leases(&node).is_empty());
    call.del();
    assert!(!pod.state().link_names().contains(&"net1"));
}

/// An ipvlan has its parent's hardware address, so a server's answer to that address would not get to it.
#[test]
fn an_ipvlan_gets_its_lease_by_broadcast() {
    let Some((node, _server)) = node() else { return };
    if !node.offers(&["link eth0 type ipvlan"]) {
        return;
    }
    let _daemon = daemon(&node);
    let pods = [Pod::new(), Pod::new()];
    let calls = pods.each_ref().map(|pod| {
        let mut conf = conf(&node);
        conf["type"] = json!("ipvlan");
        Call::new(pod, conf)
    });
    let results = calls.each_ref().map(Call::add);
    assert_ne!(results[0]["ips"][0]["address"], results[1]["ips"][0]["address"]);
    for ((pod, call), result) in pods.iter().zip(&calls).zip(&results) {
        assert!(polynic_e2e::reaches(&pod.netns, &node.wire().netns, "198.51.100.7"));
        assert_eq!(call.check(result).silent(), "");
        call.del();
    }
    eventually("the server has the addresses back", || leases(&node).is_empty());
}

#[test]
fn a_daemon_ends_by_a_signal_and_takes_its_files_along() {
    let Some((node, _server)) = node() else { return };
    let mut process = daemon(&node);
    let pid: u32 =
        std::fs::read_to_string(format!("{}/pid", node.directory())).unwrap().trim().parse().unwrap();
    assert_eq!(pid, process.0.id());
    Command::new("kill").arg(pid.to_string()).status().unwrap();
    assert!(process.0.wait().unwrap().success());
    assert!(!Path::new(&socket(&node)).exists());
    assert!(!Path::new(&format!("{}/pid", node.directory())).exists());
}

#[test]
fn a_daemon_takes_the_socket_that_a_service_manager_opened() {
    let Some((node, _server)) = node() else { return };
    let path = format!("{}/activated.sock", node.directory());
    let listener = UnixListener::bind(&path).unwrap();
    // The shell makes it the third descriptor and becomes the daemon, whose process id it is then.
    let script =
        "exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" daemon -socketpath /nowhere/at/all";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(Path::new(plugins()).join("dhcp"));
    command.stdin(Stdio::from(OwnedFd::from(listener))).stdout(Stdio::null()).stderr(Stdio::null());
    let _daemon = Process(command.spawn().unwrap());
    let pod = Pod::new();
    let mut conf = conf(&node);
    conf["ipam"]["daemonSocketPath"] = json!(path);
    let call = Call::new(&pod, conf);
    assert!(call.add()["ips"][0]["address"].as_str().unwrap().starts_with("192.168.1.1"));
    call.del();
    eventually("the server has the address back", || leases(&node).is_empty());
}
