//! whereabouts itself and ours use one pool at the same time, as during an upgrade of a cluster node by node.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;

use polynic_api::whereabouts::{IP_POOL, RESERVATION};
use polynic_real_node::{Api, Space, wait};
use serde_json::{Value, json};

use crate::upstream::Machine;

const POOLS: &str = "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/ippools";
const RESERVATIONS: &str =
    "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/overlappingrangeipreservations";
/// As many as the range has addresses for pods.
const PODS: usize = 6;
const POOL: &str = "10.20.0.0-29";

/// Both plugins, and what they are told.
struct Bed {
    machine: Machine,
    ours: PathBuf,
    theirs: PathBuf,
    conf: Value,
}

impl Bed {
    fn or_skip() -> Option<Self> {
        let machine = Machine::or_skip()?;
        define_kinds(&machine.api);
        // Without a file of this name theirs refuses everything.
        let flat = machine.space.outside("/etc/cni/net.d/whereabouts.d");
        fs::create_dir_all(&flat).unwrap();
        let kubernetes = json!({"kubeconfig": machine.kubeconfig});
        fs::write(flat.join("whereabouts.conf"), json!({"kubernetes": kubernetes}).to_string()).unwrap();
        // Generous for a busy machine: by default theirs gives up its lease after a second. One that is not given up costs others as long as it lasts.
        let ipam = json!({"type": "whereabouts", "range": "10.20.0.0/29", "kubernetes": kubernetes,
                          "leader_lease_duration": 8_000, "leader_renew_deadline": 6_000, "leader_retry_period": 200});
        Some(Self {
            ours: Path::new(polynic_e2e::plugins()).join("whereabouts"),
            theirs: machine.upstream.program("whereabouts"),
            conf: json!({"cniVersion": "1.0.0", "name": "lan", "type": "macvlan", "ipam": ipam}),
            machine,
        })
    }

    /// The address of a pod, which one of both gives to it. What fails is asked again, as a kubelet does.
    fn attach(&self, program: &Path, pod: usize) -> String {
        let given = || self.call(program, "ADD", pod).ok();
        let result =
            wait::until("an address is given", given, || format!("{:?}", self.call(program, "ADD", pod)));
        result["ips"][0]["address"].as_str().unwrap().to_owned()
    }

    /// Takes a pod's address back. Theirs says "done" even if it could not become the leader in time: it is asked again.
    fn detach(&self, program: &Path, pod: usize) {
        let podref = format!("default/web-{pod}");
        let is_gone = || {
            self.call(program, "DEL", pod).unwrap();
            let gone = self.holders().iter().all(|(_, holder)| *holder != podref);
            assert!(gone || program == self.theirs, "{podref} stays: {:?}", self.holders());
            gone.then_some(())
        };
        wait::until("the address is free", is_gone, || format!("{:?}", self.holders()));
    }

    fn call(&self, program: &Path, verb: &str, pod: usize) -> Result<Value, String> {
        call(&self.machine.space, program, &self.conf, (verb, pod))
    }

    /// Does something for all pods at the same time: for the even ones with ours, for the others with theirs.
    fn all<T: Send>(&self, of: impl Fn(&Path, usize) -> T + Sync) -> Vec<T> {
        let program = |pod: usize| if pod.is_multiple_of(2) { &self.ours } else { &self.theirs };
        let (of, program) = (&of, &program);
        thread::scope(|scope| {
            let started: Vec<_> = (0..PODS).map(|pod| scope.spawn(move || of(program(pod), pod))).collect();
            started.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    /// The other one's program.
    fn other(&self, program: &Path) -> &Path {
        if program == self.ours { &self.theirs } else { &self.ours }
    }

    fn holders(&self) -> Vec<(String, String)> {
        let pool = self.machine.api.get(POOLS, POOL).unwrap();
        let holders = pool["spec"]["allocations"].as_object().cloned().unwrap_or_default();
        let holder = |(offset, holder): (String, Value)| {
            (format!("10.20.0.{offset}/29"), holder["podref"].as_str().unwrap().to_owned())
        };
        holders.into_iter().map(holder).collect()
    }
}

fn define_kinds(api: &Api) {
    api.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}}));
    for kind in [IP_POOL, RESERVATION] {
        api.apply(&serde_saphyr::from_str(kind.crd).unwrap());
    }
    let served = || [POOLS, RESERVATIONS].iter().all(|path| api.serves(path)).then_some(());
    wait::until("the kinds are served", served, String::new);
}

fn call(space: &Space, program: &Path, conf: &Value, (verb, pod): (&str, usize)) -> Result<Value, String> {
    let mut command = space.command(program);
    command.envs([
        ("CNI_COMMAND", verb),
        ("CNI_IFNAME", "net1"),
        ("CNI_NETNS", "/run/netns/none"),
        ("CNI_PATH", "/opt/cni/bin"),
    ]);
    command.env("CNI_CONTAINERID", format!("sandbox-{pod}"));
    command.env("CNI_ARGS", format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-{pod}"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(conf.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.success() {
        true => Ok(serde_json::from_str(&said).unwrap_or(Value::Null)),
        false => {
            Err(format!("{} {verb}: {said} {}", program.display(), String::from_utf8_lossy(&output.stderr)))
        }
    }
}

#[test]
fn the_replaced_binary_and_ours_use_one_pool_at_the_same_time() {
    let Some(bed) = Bed::or_skip() else { return };
    let given = bed.all(|program, pod| bed.attach(program, pod));
    assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), PODS, "an address has two owners: {given:?}");
    let recorded: BTreeSet<_> = bed.holders().into_iter().collect();
    let held = given.iter().enumerate().map(|(pod, address)| (address.clone(), format!("default/web-{pod}")));
    assert_eq!(recorded, held.collect());
    assert_eq!(bed.machine.api.list(RESERVATIONS).len(), PODS);

    // Either one knows what the other has given.
    let again = bed.all(|program, pod| bed.attach(bed.other(program), pod));
    assert_eq!(again, given);
    for program in [&bed.ours, &bed.theirs] {
        assert!(bed.call(program, "ADD", PODS).is_err(), "there is nothing left to give");
    }

    // Half of the pods go, by the other one, while the rest ask again.
    bed.all(|program, pod| match pod % 4 {
        0 | 1 => bed.detach(bed.other(program), pod),
        _ => assert_eq!(bed.attach(program, pod), given[pod]),
    });
    let stay: BTreeSet<_> = bed.holders().into_iter().map(|(_, podref)| podref).collect();
    let wanted = (0..PODS).filter(|pod| pod % 4 > 1).map(|pod| format!("default/web-{pod}"));
    assert_eq!(stay, wanted.collect());
    bed.all(|program, pod| bed.detach(bed.other(program), pod));
    assert_eq!(bed.holders(), []);
    assert_eq!(bed.machine.api.list(RESERVATIONS), [] as [Value; 0]);
}
