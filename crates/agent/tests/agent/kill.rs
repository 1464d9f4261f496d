//! The agent is killed at random moments.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use polynic_wire::{AddressService, ServiceError};
use serde_json::json;

use crate::world::{PODS, Plugin, World, runtime, soon, until};

const CHILD: &str = "POLYNIC_TEST_AGENT";

/// No test, but the agent as a process of its own, when the other test of this file starts it.
#[test]
fn the_agent_as_a_process() {
    let Ok(arguments) = std::env::var(CHILD) else { return };
    let [socket, releases, kubeconfig] = arguments.split('|').collect::<Vec<_>>()[..] else {
        panic!("{arguments}")
    };
    let text = format!("ipamUnixSocketPath: {socket}\n");
    let env = |name: &str| match name {
        "SPIDERPOOL_NODE_NAME" => Some("n1".to_owned()),
        "SPIDERPOOL_HEALTH_PORT" => Some("0".to_owned()),
        _ => None,
    };
    let config = polynic_agent::addresses::Config::read(&text, &env).unwrap();
    let config = polynic_agent::addresses::Config { releases: releases.into(), ..config };
    runtime().block_on(async {
        let client = polynic_cluster::client_from(Some(kubeconfig.as_ref())).await.unwrap().unwrap();
        let shutdown = polynic_runtime::Shutdown::default();
        let seed = u64::from(std::process::id());
        polynic_agent::addresses::Daemon::start(config, client, seed, shutdown).await.unwrap().ended().await;
    });
}

/// A process that does not outlive its test.
struct Process(Child);

impl Process {
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(world: &World) -> Process {
    let config = world.config("n1");
    let arguments =
        format!("{}|{}|{}", config.socket.display(), config.releases.display(), world.kubeconfig().display());
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::the_agent_as_a_process", "--nocapture"])
        .env(CHILD, arguments)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let child = Process(child);
    let plugin = Plugin::new(&config.socket);
    until("the agent is healthy", || plugin.service.healthy(soon()).is_ok());
    child
}

/// A runtime tries again until the pod has its address.
fn attach(plugin: &Plugin, name: &str, uid: &str) -> String {
    loop {
        match plugin.add(name, uid, "eth0") {
            Ok(response) => return response.ips[0].address.clone(),
            Err(ServiceError::Status { message, .. }) => panic!("{name}: {message}"),
            Err(_) => thread::sleep(Duration::from_millis(3)),
        }
    }
}

#[test]
fn no_address_is_given_twice_and_none_is_lost() {
    const PODS_AT_ONCE: usize = 50;
    let world = World::new();
    world.pool(
        "p",
        json!({"subnet": "10.9.0.0/16", "ips": [format!("10.9.0.1-10.9.0.{PODS_AT_ONCE}")], "default": true}),
    );
    let pods: Vec<(String, String)> = (0..PODS_AT_ONCE)
        .map(|n| (format!("web-{n}"), world.pod(&format!("web-{n}"), "n1", json!({}))))
        .collect();
    let plugin = Plugin::new(&world.socket("n1"));
    let mut agent = start(&world);
    let given: BTreeSet<String> = thread::scope(|scope| {
        let asked: Vec<_> =
            pods.iter().map(|(name, uid)| scope.spawn(|| attach(&plugin, name, uid))).collect();
        // The moments are about as long as an allocation takes, so the agent dies before, in and after its writes.
        for moment in [1, 4, 9, 16, 25] {
            thread::sleep(Duration::from_millis(moment));
            agent.kill();
            agent = start(&world);
        }
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    // The pool is exactly as large as the crowd: an address given twice, or lost, shows.
    assert_eq!(given.len(), PODS_AT_ONCE);
    let records = world.records("p");
    let holders: BTreeSet<&String> = records.values().map(|(_, uid)| uid).collect();
    assert_eq!(holders, pods.iter().map(|(_, uid)| uid).collect());
    for (name, uid) in &pods {
        world.delete(PODS, name, 30);
        plugin.del(name, uid).unwrap();
    }
    assert_eq!(world.records("p").len(), 0);
}

polynic_control_plane::on_a_real_server!(no_address_is_given_twice_and_none_is_lost,);
