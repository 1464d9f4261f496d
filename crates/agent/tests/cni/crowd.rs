//! Many calls at once: memory, turns, and shims that give up.

use std::thread;
use std::time::Duration;

use polynic_attach::shim::Patience;
use polynic_cni::{Answer, Error, Verb};
use serde_json::json;

use crate::api::until;
use crate::node::{NADS, Node, PATIENCE, Pod, Process, node};

/// Pods that start in the same moment.
const BURST: usize = 500;
/// What a waiting call may cost the agent, in KiB.
const CALL: u64 = 64;

/// Has work done on threads, all of them at once.
fn at_once<T: Send>(pods: &[Pod<'_>], work: impl Fn(&Pod<'_>) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let thread = |pod| {
            let work = &work;
            thread::Builder::new().stack_size(512 << 10).spawn_scoped(scope, move || work(pod)).unwrap()
        };
        let all: Vec<_> = pods.iter().map(thread).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

#[test]
fn a_burst_of_pods_is_served_in_little_memory() {
    let Some(node) = node() else { return };
    // The default network does nothing: what is measured is the agent.
    let trivial = json!({"cniVersion": "1.0.0", "name": "fabric", "plugins": [{"type": "passthru"}]});
    std::fs::write(node.primary(), trivial.to_string()).unwrap();
    let agent = Process::start(&node);
    let program = agent.memory("RssFile");
    let first = node.pod("first", "");
    first.add();
    let (before, mut pods) = (agent.memory("VmRSS"), Vec::new());
    for number in 0..BURST {
        let name = format!("p{number}");
        let uid = node.world.pod(&name, "n1", json!({}));
        pods.push(first.beside(&name, &uid));
    }
    let known = agent.memory("VmRSS");
    let answers = at_once(&pods, |pod| pod.call(Verb::Add));
    let most = agent.memory("VmHWM");
    println!(
        "resident: {before} KiB, {known} KiB with {BURST} pods, at most {most} KiB while all are attached"
    );
    assert!(answers.iter().all(|answer| answer.code == 0), "{answers:?}");
    assert!(most < known + CALL * BURST as u64, "{before}, {known}, {most} KiB");
    let own = agent.memory("RssAnon");
    until("what the burst needed is given back", || agent.memory("RssFile") < program * 3 / 4);
    let left = ["RssAnon", "RssFile"].map(|field| agent.memory(field));
    println!(
        "{own} KiB of its own, and {left:?} KiB of its own and of the program after a pause; {program} at the start"
    );
    for answer in at_once(&pods, |pod| pod.call(Verb::Del)) {
        assert_eq!(answer, Answer::default());
    }
    first.del();
    assert_eq!(node.leftovers(), [""; 0]);
}

/// A network whose plugin waits until it is let through, and says who came.
pub fn gated(node: &Node) {
    let (came, open) = (node.path("came"), node.path("open"));
    let text = format!(
        r#"cat > /dev/null
if [ "$CNI_COMMAND" = ADD ]; then
    echo "$CNI_CONTAINERID" >> '{}'
    while [ ! -e '{}' ]; do sleep 0.02; done
    echo '{{"cniVersion":"1.0.0","ips":[]}}'
fi"#,
        came.display(),
        open.display()
    );
    node.script("gate", &text);
    node.world.create(NADS, &node.nad_with("gate", &json!({"type": "gate"})));
}

#[test]
fn a_crowd_of_one_pod_keeps_no_other_pod_waiting_and_who_gives_up_is_not_attached() {
    let Some(node) = node() else { return };
    gated(&node);
    let agent = node.agent_with(&json!({"connectionLimit": 2}));
    let (busy, calm) = (node.pod("busy", "gate"), node.pod("calm", "a"));
    // The same pod again and again, as from a runtime that lost its sandbox each time.
    let crowd: Vec<Pod<'_>> = (0..40).map(|_| node.sandbox("busy", &busy.uid)).collect();
    thread::scope(|scope| {
        let crowded = scope.spawn(|| at_once(&crowd, |pod| pod.call(Verb::Add)));
        until("the crowd is there", || agent.counts("polynic_cni_in_flight 40"));
        until("one of it is being served", || node.path("came").exists());
        calm.add();
        assert_eq!(calm.status(), ["fabric eth0", "default/a net1"]);
        let patience = Patience { total: Duration::from_millis(300), ..PATIENCE };
        let answer = busy.call_with(Verb::Add, &node.conf(), patience);
        let error = Error::from_json(answer.stdout.as_bytes()).unwrap();
        assert!(error.code == 11 && error.msg.contains("default/busy"), "{error}");
        until("the agent knows that nobody waits", || {
            agent.counts("polynic_cni_failures_total{command=\"ADD\",cause=\"abandoned\"} 1")
        });
        std::fs::write(node.path("open"), "").unwrap();
        assert!(crowded.join().unwrap().iter().all(|answer| answer.code == 0));
    });
    let came = std::fs::read_to_string(node.path("came")).unwrap();
    assert_eq!(came.lines().count(), crowd.len());
    assert!(!came.contains(&busy.container), "{came}");
    assert_eq!((busy.names().len(), busy.call(Verb::Del)), (0, Answer::default()));
    for pod in crowd.iter().chain([&calm]) {
        pod.del();
    }
    assert_eq!((node.host_links(), node.leftovers().len()), (0, 0), "{:?}", node.leftovers());
}

#[test]
fn an_old_sandbox_goes_while_the_next_one_of_its_pod_waits() {
    let Some(node) = node() else { return };
    gated(&node);
    let agent = node.agent();
    std::fs::write(node.path("open"), "").unwrap();
    let old = node.pod("web", "gate");
    old.add();
    std::fs::remove_file(node.path("open")).unwrap();
    let new = node.sandbox("web", &old.uid);
    let came = || std::fs::read_to_string(node.path("came")).unwrap_or_default();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| new.add());
        until("the new sandbox waits", || came().contains(&new.container));
        old.del();
        let done = "polynic_cni_call_duration_seconds_count{command=\"DEL\",outcome=\"success\"} 1";
        assert!(agent.counts(done), "by the agent, which did not wait for the ADD");
        assert_eq!(old.names(), [""; 0]);
        std::fs::write(node.path("open"), "").unwrap();
        waiting.join().unwrap();
    });
    assert_eq!(new.names(), ["eth0"]);
    new.del();
    assert_eq!((node.host_links(), node.leftovers().len()), (0, 0), "{:?}", node.leftovers());
}

polynic_control_plane::on_a_real_server!(
    a_crowd_of_one_pod_keeps_no_other_pod_waiting_and_who_gives_up_is_not_attached,
    an_old_sandbox_goes_while_the_next_one_of_its_pod_waits,
);
