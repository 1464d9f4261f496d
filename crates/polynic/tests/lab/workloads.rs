//! Workloads as users run them: kubectl against a lab, from apply to delete. One lab serves all checks, because starting it and its pods is what
//! costs time.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};

use crate::cluster::Cluster;
use crate::labs::{text, wait_until};

const MANIFESTS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: main
        image: nginx:1
        ports: [{name: http, containerPort: 80}, {name: dns, containerPort: 53, protocol: UDP}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  ipFamilyPolicy: RequireDualStack
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}, {name: dns, port: 53, targetPort: dns, protocol: UDP}]
---
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec: {selector: {app: nobody}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: main, image: db, volumeMounts: [{name: data, mountPath: /data}]}]}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {containers: [{name: main, image: agent}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {containers: [{name: main, image: alpine}]}
"#;

/// A process that goes with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A command that goes on talking, and its first line once there is one.
struct Following {
    _process: Running,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Following {
    fn start(mut command: std::process::Command) -> Following {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let words = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = std::sync::mpsc::channel();
        // It reads until the end, or the command would not survive.
        std::thread::spawn(move || {
            words.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)))
        });
        Following { _process: Running(child), lines }
    }

    /// Does something to be told about until something is told.
    fn first_line(&self, mut again: impl FnMut()) -> String {
        let mut line = String::new();
        wait_until("nothing is told", || {
            let told = self.lines.recv_timeout(std::time::Duration::from_secs(5));
            if told.is_err() {
                again();
            }
            line = told.unwrap_or_default();
            !line.is_empty()
        });
        line
    }
}

#[test]
fn kubectl_runs_workloads_from_apply_to_delete() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.apply(MANIFESTS);
    for workload in ["deployment/web", "statefulset/db", "daemonset/agent"] {
        cluster.roll_out(workload);
    }
    cluster.ok(&["wait", "--for=condition=Ready", "pod/client", "--timeout=120s"]);
    wide_listings_and_descriptions(&cluster);
    objects_by_every_verb(&cluster);
    services_reach_ready_pods(&cluster);
    exec_logs_and_port_forward(&cluster);
    rollouts_forth_and_back(&cluster);
    everything_goes(&cluster);
    cluster.labs.ok(&["down"]);
    cluster.labs.nothing_left();
}

fn wide_listings_and_descriptions(cluster: &Cluster) {
    let pods = cluster.ok(&["get", "pods", "-o", "wide"]);
    for node in ["node1", "node2"] {
        for pod in ["web-", "agent-", "db-"] {
            let on_node = pods.lines().any(|line| line.starts_with(pod) && line.contains(node));
            assert!(on_node, "{pod} is spread over the nodes: {pods}");
        }
    }
    assert_eq!(cluster.field("statefulset/db", ".status.readyReplicas"), "2");
    assert_eq!(cluster.field("pod/db-1", ".spec.volumes[0].persistentVolumeClaim.claimName"), "data-db-1");
    assert!(cluster.ok(&["get", "pvc"]).contains("data-db-0"));
    let described = cluster.ok(&["describe", "deployment", "web"]);
    for words in ["2 available", "NewReplicaSetAvailable", "ScalingReplicaSet"] {
        assert!(described.contains(words), "{words} is not in {described}");
    }
    let described = cluster.ok(&["describe", "pod", "client"]);
    assert!(described.contains("Scheduled") && described.contains("Started container main"), "{described}");
    cluster.ok(&[
        "run",
        "picky",
        "--image=x",
        "--overrides",
        r#"{"spec": {"nodeSelector": {"disk": "ssd"}}}"#,
    ]);
    wait_until("nobody says why the pod waits", || {
        cluster.ok(&["describe", "pod", "picky"]).contains("0/2 nodes are available: 2 node(s) didn't match")
    });
    cluster.ok(&["delete", "pod", "picky"]);
}

/// What people do to objects with kubectl, but for running them.
fn objects_by_every_verb(cluster: &Cluster) {
    let map = |value: &str, label: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m, labels: {{{label}: m}}}}\ndata: {{k: {value}}}\n"
        )
    };
    cluster.apply(&map("a", "app"));
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    std::fs::write(file.path(), map("c", "app").replace("name: m", "name: other")).unwrap();
    let pruned =
        cluster.ok(&["apply", "-f", path, "--prune", "-l", "app=m", "--prune-allowlist=core/v1/ConfigMap"]);
    assert!(pruned.contains("configmap/m pruned"), "{pruned}");
    cluster.ok(&["delete", "configmap", "other", "--wait"]);
    cluster.apply(&map("a", "app"));
    std::fs::write(file.path(), map("b", "app")).unwrap();
    let differs = cluster.run(&["diff", "-f", path]);
    assert_eq!(differs.status.code(), Some(1));
    assert!(text(&differs.stdout).contains("+  k: b"), "{}", text(&differs.stdout));
    let refused = cluster.run(&["apply", "--server-side", "--field-manager=other", "-f", path]);
    assert!(text(&refused.stderr).contains(".data.k"), "{}", text(&refused.stderr));
    cluster.ok(&["apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", path]);
    assert_eq!(cluster.field("configmap/m", ".data.k"), "b");
    for (kind, patch) in [
        ("strategic", r#"{"data": {"s": "1"}}"#),
        ("merge", r#"{"data": {"m": "1"}}"#),
        ("json", r#"[{"op": "add", "path": "/data/j", "value": "1"}]"#),
    ] {
        cluster.ok(&["patch", "configmap", "m", "--type", kind, "-p", patch]);
    }
    cluster.ok(&["label", "configmap", "m", "tier=front"]);
    cluster.ok(&["annotate", "configmap", "m", "note=here"]);
    let mut edit = cluster.command(&["edit", "configmap", "m"]);
    assert!(edit.env("KUBE_EDITOR", "sed -i s/k:.b/k:\\ edited/").status().unwrap().success());
    let columns = "custom-columns=K:.data.k,S:.data.s,M:.data.m,J:.data.j,T:.metadata.labels.tier,N:.metadata.annotations.note";
    let shown = cluster.ok(&["get", "configmap", "m", "--no-headers", "-o", columns]);
    assert_eq!(shown.split_whitespace().collect::<Vec<_>>(), ["edited", "1", "1", "1", "front", "here"]);
    assert!(cluster.ok(&["get", "configmap", "m", "-o", "yaml"]).contains("k: edited"));
    assert!(cluster.ok(&["explain", "net-attach-def.spec"]).contains("config"));
    assert!(cluster.ok(&["api-resources"]).contains("net-attach-def"));
    rights(cluster);
}

/// Roles are enforced, and asked about; each namespace has its account.
fn rights(cluster: &Cluster) {
    let jane = |args: &[&str]| cluster.run(&[args, &["--as=jane"]].concat());
    assert!(text(&jane(&["get", "pods"]).stderr).contains("User \"jane\" cannot list resource \"pods\""));
    assert_eq!(text(&jane(&["auth", "can-i", "list", "pods"]).stdout), "no\n");
    cluster.ok(&["create", "rolebinding", "jane", "--clusterrole=view", "--user=jane"]);
    assert_eq!(text(&jane(&["auth", "can-i", "list", "pods"]).stdout), "yes\n");
    assert!(jane(&["get", "pods"]).status.success());
    assert!(text(&jane(&["get", "secrets"]).stderr).contains("forbidden"));
    wait_until("there is no account for pods", || {
        cluster.run(&["get", "serviceaccount", "default"]).status.success()
    });
    assert!(cluster.ok(&["create", "token", "default"]).split('.').count() == 3);
}

fn services_reach_ready_pods(cluster: &Cluster) {
    let curl = |from: &[&str], url: &str| {
        let output = cluster.labs.run(&[&["exec"], from, &["--", "curl", "-sS", "-m", "20", url]].concat());
        text(&output.stdout) + &text(&output.stderr)
    };
    // Each node's rules follow the endpoints in their own time.
    let answered = |from: &[&str], url: &str, fits: &dyn Fn(&str) -> bool| {
        let mut page = String::new();
        wait_until(&format!("{from:?} -> {url}"), || {
            page = curl(from, url);
            fits(&page)
        });
        page
    };
    let by_web = |page: &str| page.contains("Hostname: web-");
    let [v4, v6] = [0, 1].map(|n| cluster.field("service/web", &format!(".spec.clusterIPs[{n}]")));
    assert!(v4.starts_with("10.233.") && v6.starts_with("fd00:10:233::"), "the lab's own ranges: {v4} {v6}");
    let mut servers = std::collections::BTreeSet::new();
    wait_until("not all pods behind the Service are reached", || {
        let page = answered(&["client"], &format!("http://{v4}/"), &by_web);
        assert!(page.contains("Client: 10.244."), "{page}");
        servers.extend(page.lines().next().map(str::to_owned));
        servers.len() == 2
    });
    let page = answered(&["client"], &format!("http://[{v6}]/"), &by_web);
    assert!(page.contains("Client: [fd00:10:244:"), "{page}");
    answered(&["node/node1"], &format!("http://{v4}/"), &by_web);
    let port = cluster.field("service/web", ".spec.ports[0].nodePort");
    let page = answered(&["host/outside"], &format!("http://192.168.1.10:{port}/"), &by_web);
    assert!(!page.contains("Client: 198.51.100.10"), "masqueraded: {page}");
    let nobody = cluster.field("service/nobody", ".spec.clusterIP");
    answered(&["client"], &format!("http://{nobody}/"), &|said| {
        said.contains("onnect to server") && !said.contains("timed out")
    });
    let udp = format!("exec 3<>/dev/udp/{v4}/53; echo question >&3; timeout 5 head -1 <&3");
    wait_until("nobody answers over UDP", || {
        let answer = text(&cluster.labs.run(&["exec", "client", "--", "bash", "-c", &udp]).stdout);
        answer.contains("question") && answer.starts_with("web-")
    });
    // A pod reaches itself through its Service: one of two tries in the mean, so all of many cannot miss.
    let own = cluster.web();
    wait_until("a pod does not reach itself", || curl(&[&own], &format!("http://{v4}/")).contains(&own));
}

fn exec_logs_and_port_forward(cluster: &Cluster) {
    let pod = cluster.web();
    for websockets in ["true", "false"] {
        let exec = |options: &[&str], program: &[&str]| {
            let mut command = cluster.command(&[&["exec"], options, &[&pod, "--"], program].concat());
            command.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websockets);
            command
        };
        let ended = exec(&[], &["sh", "-c", "echo out; echo err >&2; exit 7"]).output().unwrap();
        assert_eq!(
            (ended.status.code(), text(&ended.stdout).as_str()),
            (Some(7), "out\n"),
            "{}",
            text(&ended.stderr)
        );
        assert!(text(&ended.stderr).contains("err\n"), "{}", text(&ended.stderr));
        let mut child = exec(&["-i"], &["cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&[b'x'; 300_000]).unwrap();
        let mut back = Vec::new();
        child.stdout.take().unwrap().read_to_end(&mut back).unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(back.len(), 300_000, "WebSockets: {websockets}");
    }
    assert!(cluster.ok(&["exec", &pod, "--", "cat", "/proc/net/fib_trie"]).contains("10.244."));
    let missing = cluster.run(&["exec", &pod, "-c", "nothing", "--", "true"]);
    assert!(text(&missing.stderr).contains("container nothing is not valid"), "{}", text(&missing.stderr));
    let follow = Following::start(cluster.command(&["logs", "-f", "--tail=0", &pod]));
    for websockets in ["true", "false"] {
        assert!(forwarded(cluster, &pod, websockets).contains(&format!("Hostname: {pod}")));
    }
    // It shows what is written once it is there.
    let line = follow.first_line(|| drop(forwarded(cluster, &pod, "true")));
    assert!(line.contains("GET /forwarded"), "{line}");
    assert!(cluster.ok(&["logs", &pod, "--tail=1"]).contains("GET /forwarded"));
    assert!(cluster.ok(&["logs", &pod]).contains("listening on TCP port 80"));
}

/// A page through port-forward, on whatever port of this machine is free.
fn forwarded(cluster: &Cluster, pod: &str, websockets: &str) -> String {
    let mut command = cluster.command(&["port-forward", pod, ":80"]);
    command.env("KUBECTL_PORT_FORWARD_WEBSOCKETS", websockets).stdout(Stdio::piped());
    let mut forward = Running(command.spawn().unwrap());
    let mut line = String::new();
    // It goes on talking, and would not survive if nobody listened.
    let mut words = BufReader::new(forward.0.stdout.take().unwrap());
    words.read_line(&mut line).unwrap();
    let local = line.split_whitespace().nth(2).unwrap_or_default().to_owned();
    let mut stream = TcpStream::connect(&local).unwrap();
    stream.write_all(b"GET /forwarded HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}

fn rollouts_forth_and_back(cluster: &Cluster) {
    let image = || cluster.field("deployment/web", ".spec.template.spec.containers[0].image");
    let watch =
        Following::start(cluster.command(&["get", "pods", "-l", "app=web", "--watch-only", "-o", "name"]));
    let before = cluster.web();
    cluster.ok(&["set", "image", "deployment/web", "main=nginx:2"]);
    cluster.roll_out("deployment/web");
    // The old ones may take their time to go.
    wait_until("the pods are not new ones", || {
        !cluster.ok(&["get", "pods", "-l", "app=web", "-o", "name"]).contains(&before)
    });
    let mut change = 0;
    let seen = watch.first_line(|| {
        change += 1;
        let label = format!("seen=x{change}");
        cluster.ok(&["label", "pods", "-l", "app=web", "--overwrite", &label]);
    });
    assert!(seen.starts_with("pod/web-"), "{seen}");
    cluster.ok(&["rollout", "undo", "deployment/web"]);
    cluster.roll_out("deployment/web");
    assert_eq!(image(), "nginx:1");
    let history = cluster.ok(&["rollout", "history", "deployment/web"]);
    assert!(history.contains("\n2 ") && history.contains("\n3 ") && !history.contains("\n1 "), "{history}");
    cluster.ok(&["set", "env", "deployment/web", "COLOUR=blue"]);
    cluster.roll_out("deployment/web");
    for workload in ["deployment/web", "daemonset/agent", "statefulset/db"] {
        cluster.ok(&["rollout", "restart", workload]);
        cluster.roll_out(workload);
    }
    cluster.ok(&["scale", "deployment/web", "--replicas=4"]);
    cluster.roll_out("deployment/web");
    assert_eq!(cluster.field("deployment/web", ".status.availableReplicas"), "4");
    cluster.ok(&["scale", "statefulset/db", "--replicas=1"]);
    cluster.ok(&["wait", "--for=delete", "pod/db-1", "--timeout=120s"]);
}

fn everything_goes(cluster: &Cluster) {
    cluster.ok(&[
        "delete",
        "deployment/web",
        "statefulset/db",
        "daemonset/agent",
        "pod/client",
        "service/web",
    ]);
    wait_until("pods stay", || cluster.ok(&["get", "pods", "-o", "name"]).is_empty());
    wait_until("ReplicaSets stay", || cluster.ok(&["get", "replicasets", "-o", "name"]).is_empty());
    wait_until("slices stay", || !cluster.ok(&["get", "endpointslices", "-o", "name"]).contains("/web-"));
}
