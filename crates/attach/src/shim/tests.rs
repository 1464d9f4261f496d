use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use serde_json::{Value, json};

use super::*;
use crate::config::Config;
use crate::fake::World;

const PATIENCE: Patience = Patience {
    interval: Duration::from_millis(1),
    ready: Duration::from_millis(20),
    brief: Duration::from_millis(5),
    total: Duration::from_secs(5),
};

type Script = Rc<RefCell<VecDeque<Result<Reply, ServiceError>>>>;

/// An agent that answers CNI calls from a script and probes by a switch.
#[derive(Clone, Default)]
struct Agent {
    script: Script,
    probes: Rc<Cell<u16>>,
    calls: Rc<RefCell<Vec<&'static str>>>,
}

impl Endpoint for Agent {
    fn post(&self, path: &'static str, body: &[u8], _: Instant) -> Result<Reply, ServiceError> {
        self.calls.borrow_mut().push(path);
        if path == multus::CNI {
            let _: CniRequest = serde_json::from_slice(body).unwrap();
            let next = self.script.borrow_mut().pop_front();
            return next.unwrap_or_else(|| Err(away()));
        }
        match self.probes.get() {
            0 => Err(away()),
            status => Ok(Reply { status, body: Vec::new() }),
        }
    }
}

fn away() -> ServiceError {
    let source = io::ErrorKind::ConnectionRefused.into();
    ServiceError::Away { socket: "/run/multus/multus.sock".into(), step: "connecting", source }
}

fn ready(script: impl IntoIterator<Item = Result<Reply, ServiceError>>) -> Agent {
    let agent = Agent::default();
    agent.probes.set(200);
    agent.script.borrow_mut().extend(script);
    agent
}

fn reply(status: u16, body: &str) -> Result<Reply, ServiceError> {
    Ok(Reply { status, body: body.as_bytes().to_vec() })
}

/// A world whose configuration is a shim's.
fn world() -> World {
    let mut world =
        World::new(json!({"clusterNetwork": "/etc/cni/net.d/10-fabric.conflist", "cniVersion": "0.3.1"}));
    world.conf["type"] = json!("multus-shim");
    world
}

fn run(world: &World, agent: &Agent, verb: &str) -> Answer {
    let connect = |_: &Config| Ok(None);
    let local = Thin {
        delegate: &world.plugin,
        netns: &world.netns,
        connect: &connect,
        guard: &|_| None,
        version: "1",
    };
    let deletions = Deletions::new(world.directory.path().join("deletions"));
    let reach = |directory: &Path| {
        assert_eq!(directory, Path::new("/run/multus/"));
        Box::new(agent.clone()) as Box<dyn Endpoint>
    };
    let shim = Shim { agent: &reach, local, deletions: &deletions, patience: PATIENCE };
    let call = world.invocation();
    let vars = call.variables(Verb::Version).map(|(name, value)| (name.into(), OsString::from(value)));
    let vars = vars.into_iter().filter(|(name, _)| name != "CNI_COMMAND");
    let stdin = world.conf.to_string();
    shim.answer(vars.chain([("CNI_COMMAND".into(), verb.into())]), &mut stdin.as_bytes())
}

fn error(answer: &Answer) -> (u32, String) {
    assert_eq!(answer.code, 1, "{answer:?}");
    let error = Error::from_json(answer.stdout.as_bytes()).unwrap();
    (error.code, error.to_string())
}

fn waiting(world: &World) -> Vec<(String, CniRequest)> {
    Deletions::new(world.directory.path().join("deletions")).pending()
}

/// Attaches a pod as an agent would, so that the caches know of it.
fn attach(world: &mut World) {
    let shims = world.conf.clone();
    world.conf["clusterNetwork"] = Value::Null;
    world.conf.as_object_mut().unwrap().remove("clusterNetwork");
    world.conf["delegates"] = json!([{"cniVersion": "1.0.0", "name": "fabric", "type": "fabric"}]);
    world.pod("a");
    world.nad("a", json!({"cniVersion": "1.0.0", "type": "a"}));
    world.add().unwrap();
    world.plugin.forget();
    world.conf = shims;
}

const RESULT: &str = r#"{"Result":{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","mtu":1400,"sandbox":"/ns"}],
    "ips":[{"interface":0,"address":"10.0.0.2/24"}],"dns":{}}}"#;

#[test]
fn add_prints_the_agents_result_in_the_version_of_the_configuration() {
    let (world, agent) = (world(), ready([reply(200, RESULT)]));
    let answer = run(&world, &agent, "ADD");
    let result: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!((&result["cniVersion"], &result["ips"][0]["version"]), (&json!("0.3.1"), &json!("4")));
    assert_eq!(*agent.calls.borrow(), [multus::READYZ, multus::CNI]);
}

#[test]
fn an_agent_of_an_old_release_has_no_readyz() {
    let (world, agent) = (world(), ready([reply(200, RESULT)]));
    agent.probes.set(404);
    let (code, text) = error(&run(&world, &agent, "ADD"));
    assert_eq!(code, 11);
    assert!(text.contains("/healthz answers 404"), "{text}");
}

#[test]
fn refusals_name_the_verb_and_keep_codes_that_mean_something() {
    let world = world();
    let agent = ready([reply(400, "ContainerID:\"c7\" ERRORED: no such network\n")]);
    let (code, text) = error(&run(&world, &agent, "ADD"));
    assert_eq!(code, 999);
    assert!(
        text.starts_with("CmdAdd (shim): ContainerID:\"c7\" ERRORED: no such network: StdinData: {"),
        "{text}"
    );
    let agent = ready([reply(400, r#"{"code":11,"msg":"the old pod is still there"}"#)]);
    assert_eq!(
        error(&run(&world, &agent, "ADD")),
        (11, "CmdAdd (shim): the old pod is still there".to_owned())
    );
}

#[test]
fn an_add_without_agent_is_try_again_later_and_names_pod_and_cause() {
    let (code, text) = error(&run(&world(), &Agent::default(), "ADD"));
    assert_eq!(code, 11);
    assert!(
        text.contains("CmdAdd (shim): pod blue/pod-1: ") && text.contains("/run/multus/multus.sock"),
        "{text}"
    );
}

#[test]
fn an_add_whose_agent_dies_is_made_again() {
    let (world, agent) = (world(), ready([Err(away()), Err(away()), reply(200, RESULT)]));
    assert_eq!(run(&world, &agent, "ADD").code, 0);
    assert!(world.plugin.calls().is_empty());
}

#[test]
fn an_add_whose_agent_dies_and_stays_away_is_taken_back() {
    let mut world = world();
    attach(&mut world);
    let agent = ready([Err(away())]);
    let dying = Dying(agent.clone());
    let connect = |_: &Config| Ok(None);
    let local = Thin {
        delegate: &world.plugin,
        netns: &world.netns,
        connect: &connect,
        guard: &|_| None,
        version: "1",
    };
    let deletions = Deletions::new(world.directory.path().join("deletions"));
    let reach = |_: &Path| Box::new(dying.clone()) as Box<dyn Endpoint>;
    let shim = Shim { agent: &reach, local, deletions: &deletions, patience: PATIENCE };
    let call = world.invocation();
    let vars = call.variables(Verb::Add).map(|(name, value)| (name.into(), OsString::from(value)));
    let answer = shim.answer(vars, &mut world.conf.to_string().as_bytes());
    assert_eq!(error(&answer).0, 11);
    assert_eq!(world.plugin.calls(), ["DEL a net1", "DEL fabric eth0"]);
    assert!(world.links().is_empty() && !world.scratch().exists());
}

/// Ready until the first call breaks it.
#[derive(Clone)]
struct Dying(Agent);

impl Endpoint for Dying {
    fn post(&self, path: &'static str, body: &[u8], deadline: Instant) -> Result<Reply, ServiceError> {
        if path == multus::CNI {
            self.0.probes.set(0);
        }
        self.0.post(path, body, deadline)
    }
}

#[test]
fn del_without_agent_is_done_from_the_caches() {
    let mut world = world();
    attach(&mut world);
    assert_eq!(run(&world, &Agent::default(), "DEL"), Answer::default());
    assert_eq!(world.plugin.calls(), ["DEL a net1", "DEL fabric eth0"]);
    assert!(!world.scratch().exists() && waiting(&world).is_empty());
    assert_eq!(run(&world, &Agent::default(), "DEL"), Answer::default(), "a second one succeeds");
}

#[test]
fn del_is_done_here_when_the_agent_dies_over_it() {
    let mut world = world();
    attach(&mut world);
    assert_eq!(run(&world, &ready([Err(away())]), "DEL"), Answer::default());
    assert_eq!(world.plugin.calls().len(), 2);
}

#[test]
fn del_never_fails_and_what_is_left_waits_for_the_agent() {
    let mut world = world();
    attach(&mut world);
    let kept = ready([reply(400, &format!("stuck ({})\n", multus::WRITTEN_DOWN))]);
    assert_eq!(run(&world, &kept, "DEL"), Answer::default(), "the agent goes on");
    assert!(waiting(&world).is_empty() && world.plugin.calls().is_empty());
    world.plugin.fail_nth(Verb::Del, 0, Error::internal("stuck"));
    assert_eq!(run(&world, &Agent::default(), "DEL"), Answer::default());
    let waiting = waiting(&world);
    assert_eq!((waiting.len(), waiting[0].0.as_str()), (1, "c7"));
    assert_eq!(waiting[0].1.env["CNI_COMMAND"], "DEL");
}

#[test]
fn a_del_that_the_agent_refuses_and_does_not_write_down_is_done_here() {
    for refusal in [reply(400, "LoadNetConf: no"), reply(500, "cannot start a thread"), reply(404, "")] {
        let mut world = world();
        attach(&mut world);
        assert_eq!(run(&world, &ready([refusal]), "DEL"), Answer::default());
        assert_eq!(world.plugin.calls(), ["DEL a net1", "DEL fabric eth0"]);
        assert!(!world.scratch().exists() && waiting(&world).is_empty());
    }
}

#[test]
fn a_del_needs_no_previous_result_that_makes_sense() {
    let mut world = world();
    attach(&mut world);
    // Written in another version than that of the configuration.
    world.conf["prevResult"] = json!({"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.2/24"}]});
    assert_eq!(run(&world, &Agent::default(), "DEL"), Answer::default());
    assert_eq!(world.plugin.calls(), ["DEL a net1", "DEL fabric eth0"]);
    assert!(waiting(&world).is_empty());
}

#[test]
fn status_is_honest_and_codes_are_unchanged() {
    let mut world = world();
    world.conf["cniVersion"] = json!("1.1.0");
    let busy = json!({"code": 50, "msg": "pool is exhausted", "details": "d"}).to_string();
    let answer = run(&world, &ready([reply(400, &busy)]), "STATUS");
    assert_eq!(Error::from_json(answer.stdout.as_bytes()).unwrap(), Error::new(50, "pool is exhausted", "d"));
    assert_eq!(error(&run(&world, &Agent::default(), "STATUS")).0, 50);
    assert_eq!(run(&world, &ready([reply(200, "")]), "STATUS"), Answer::default());
    let draining = ready([]);
    draining.probes.set(500);
    assert_eq!(error(&run(&world, &draining, "STATUS")).0, 50);
}

#[test]
fn check_without_agent_is_done_from_the_caches() {
    let mut world = world();
    attach(&mut world);
    world.conf["cniVersion"] = json!("1.0.0");
    assert_eq!(run(&world, &Agent::default(), "CHECK"), Answer::default());
    assert_eq!(world.plugin.calls(), ["CHECK fabric eth0", "CHECK a net1"]);
    world.plugin.fail_nth(Verb::Check, 2, Error::new(100, "address is gone", ""));
    assert!(error(&run(&world, &Agent::default(), "CHECK")).1.contains("address is gone"));
}

#[test]
fn gc_without_agent_is_try_again_later() {
    let mut world = world();
    world.conf["cniVersion"] = json!("1.1.0");
    assert_eq!(error(&run(&world, &Agent::default(), "GC")).0, 11);
}

#[test]
fn version_and_about_need_nobody() {
    assert!(run(&world(), &Agent::default(), "VERSION").stdout.contains("\"1.1.0\""));
    assert!(run(&world(), &Agent::default(), "").stderr.contains("CNI multus-shim plugin 1\n"));
}
