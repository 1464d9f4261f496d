//! The real kubectl against the server. Needs kubectl in PATH; says so where there is none.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::client::*;

const DEFINITION: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../api/crds/k8s.cni.cncf.io_network-attachment-definitions.yaml");
const STORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios/multus-quickstart/manifests.yaml");

struct Kubectl<'a> {
    server: &'a TestServer,
}

impl Kubectl<'_> {
    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("kubectl");
        command
            .env("HOME", self.server.dir.path())
            .env("KUBECONFIG", self.server.running.kubeconfig_path())
            .env("KUBECACHEDIR", self.server.dir.path().join("cache"))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .args(line.split_whitespace());
        command
    }

    /// What a command prints; it must succeed.
    async fn run(&self, line: &str) -> String {
        let output = self.command(line).output();
        let output =
            tokio::time::timeout(Duration::from_secs(60), output).await.expect("kubectl hangs").unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {line}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn is_missing() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let missing =
        !std::env::split_paths(&path).any(|dir: std::path::PathBuf| Path::new(&dir).join("kubectl").exists());
    if missing {
        eprintln!("skipped: no kubectl");
    }
    missing
}

#[tokio::test]
async fn the_quickstart_manifests_are_applied_shown_and_deleted() {
    if is_missing() {
        return;
    }
    let server = TestServer::start().await;
    let kubectl = Kubectl { server: &server };
    assert!(kubectl.run(&format!("apply -f {DEFINITION}")).await.contains("created"));
    kubectl.run("wait --for=condition=Established crd/network-attachment-definitions.k8s.cni.cncf.io --timeout=10s").await;
    let applied = kubectl.run(&format!("apply -f {STORY}")).await;
    assert_eq!(applied.matches("created").count(), 3, "{applied}");
    let again = kubectl.run(&format!("apply -f {STORY}")).await;
    assert_eq!(again.matches("unchanged").count(), 3, "{again}");
    let table = kubectl.run("get pods").await;
    assert!(table.starts_with("NAME            READY   STATUS    RESTARTS   AGE\n"), "{table}");
    assert!(kubectl.run("get pods -o wide").await.contains("NOMINATED NODE"));
    assert!(kubectl.run("get net-attach-def").await.contains("macvlan-conf"));
    assert!(kubectl.run("get nad -A").await.contains("default     macvlan-conf"));
    assert!(kubectl.run("get pod samplepod -o json").await.contains("\"phase\": \"Pending\""));
    assert!(
        kubectl.run("get pod samplepod -o yaml").await.contains("k8s.v1.cni.cncf.io/networks: macvlan-conf")
    );
    assert!(kubectl.run("describe pod samplepod").await.contains("QoS Class:        BestEffort"));
    assert!(kubectl.run("explain nad.spec.config").await.contains("JSON of one CNI configuration"));
    kubectl.run(&format!("delete -f {STORY}")).await;
    assert_eq!(kubectl.run("get pods").await, "");
}

#[tokio::test]
async fn pods_are_annotated_labelled_edited_and_waited_for() {
    if is_missing() {
        return;
    }
    let server = TestServer::start().await;
    let kubectl = Kubectl { server: &server };
    kubectl.run("run p --image=alpine:3").await;
    kubectl.run("annotate pod p note=here").await;
    kubectl.run("label pod p tier=front").await;
    assert_eq!(kubectl.run("get pods -l tier=front -o name").await, "pod/p\n");
    kubectl.run("label pod p tier-").await;
    kubectl.run("set image pod/p p=busybox:1").await;
    assert_eq!(kubectl.run("get pod p -o jsonpath={.spec.containers[0].image}").await, "busybox:1");
    let wait = kubectl
        .command("wait --for=condition=Ready pod/p --timeout=30s")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let ready = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    let mut client = server.client().await;
    client.patch("strategic-merge", &format!("{PODS}/p/status"), ready).await.expect(200);
    let output = wait.wait_with_output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "pod/p condition met\n");
}

#[tokio::test]
async fn a_watched_table_follows_the_pod() {
    if is_missing() {
        return;
    }
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.post(PODS, pod("p")).await.expect(201);
    let kubectl = Kubectl { server: &server };
    let mut watching =
        kubectl.command("get pods --watch --no-headers").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    assert!(lines.next_line().await.unwrap().unwrap().contains("Pending"));
    client
        .patch("merge", &format!("{PODS}/p/status"), json!({"status": {"phase": "Running"}}))
        .await
        .expect(200);
    let next =
        tokio::time::timeout(Duration::from_secs(60), lines.next_line()).await.expect("no second line");
    assert!(next.unwrap().unwrap().contains("Running"));
}

#[tokio::test]
async fn what_kubectl_creates_by_protobuf_is_stored() {
    if is_missing() {
        return;
    }
    let server = TestServer::start().await;
    let kubectl = Kubectl { server: &server };
    kubectl.run("create namespace team").await;
    kubectl.run("create configmap c -n team --from-literal=k=v --from-literal=l=w --save-config").await;
    kubectl.run("create secret generic s -n team --from-literal=k=v").await;
    kubectl.run("create serviceaccount robot -n team").await;
    let mut client = server.client().await;
    let map = client.get("/api/v1/namespaces/team/configmaps/c").await.expect(200);
    assert_eq!(map["data"], json!({"k": "v", "l": "w"}));
    assert!(map["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"].is_string());
    let secret = client.get("/api/v1/namespaces/team/secrets/s").await.expect(200);
    assert_eq!((&secret["data"]["k"], &secret["type"]), (&json!("dg=="), &json!("Opaque")));
    client.get("/api/v1/namespaces/team/serviceaccounts/robot").await.expect(200);
    kubectl.run("delete namespace team").await;
    client.get("/api/v1/namespaces/team").await.expect(404);
}

/// kubectl sends what it makes by itself as protobuf, whatever the server says it speaks.
#[tokio::test]
async fn every_kind_that_kubectl_can_create_is_stored() {
    if is_missing() {
        return;
    }
    let server = TestServer::start().await;
    let kubectl = Kubectl { server: &server };
    for line in [
        "create deployment web --image=nginx:1 --port=80",
        "create role r --verb=get --resource=pods",
        "create rolebinding rb --role=r --serviceaccount=default:x",
        "create job j --image=alpine:1",
        "create cronjob c --image=alpine:1 --schedule=@hourly",
        "create ingress i --rule=a.example/=s:80",
        "create poddisruptionbudget p --selector=a=b --min-available=1",
        "create priorityclass pc --value=5",
        "create quota q --hard=pods=5",
        "create service nodeport s --tcp=80:web",
        "expose deployment web --port=80",
        "scale deployment web --replicas=2",
    ] {
        kubectl.run(line).await;
    }
    assert_eq!(kubectl.run("get deployment web -o jsonpath={.spec.replicas}").await, "2");
    let ports = kubectl.run("get service s -o jsonpath={.spec.ports[0].targetPort}").await;
    assert_eq!(ports, "web");
    assert!(!kubectl.run("get service web -o jsonpath={.spec.clusterIP}").await.is_empty());
}

#[tokio::test]
async fn who_i_am_and_what_others_may_do() {
    if is_missing() {
        return;
    }
    let server = TestServer::start().await;
    let kubectl = Kubectl { server: &server };
    assert!(kubectl.run("auth whoami").await.contains("system:masters"));
    assert_eq!(kubectl.run("auth can-i delete nodes").await, "yes\n");
    kubectl.run("create serviceaccount robot").await;
    kubectl.run("create role look --verb=get --resource=pods").await;
    kubectl.run("create rolebinding look --role=look --serviceaccount=default:robot").await;
    let robot = "--as=system:serviceaccount:default:robot";
    assert_eq!(kubectl.run(&format!("auth can-i get pods {robot}")).await, "yes\n");
    let denied = kubectl.command(&format!("auth can-i delete pods {robot}")).output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&denied.stdout), "no\n");
    let token = kubectl.run("create token robot --duration=20m").await;
    let mut client = server.client().await;
    client.token = token.trim().into();
    client.get(PODS).await.expect(200);
    client.token.push('x');
    client.get(PODS).await.expect(401);
}

#[tokio::test]
async fn kinds_are_explained_and_mistakes_named_before_anything_is_stored() {
    if is_missing() {
        return;
    }
    let server = TestServer::start().await;
    let kubectl = Kubectl { server: &server };
    let explained = kubectl.run("explain pod.spec.containers --recursive").await;
    assert!(explained.contains("livenessProbe") && explained.contains("enum: Always, IfNotPresent, Never"));
    let kinds = kubectl.run("api-resources --api-group=apps -o wide").await;
    let line = kinds.lines().find(|line| line.starts_with("deployments ")).unwrap_or_default();
    for word in [
        "deploy",
        "apps/v1",
        "true",
        "Deployment",
        "create,delete,deletecollection,get,list,patch,update,watch",
        "all",
    ] {
        assert!(line.split_whitespace().any(|column| column == word), "{word} is not in {kinds}");
    }
    let manifest = server.dir.path().join("pod.json");
    let mut object = pod("p");
    object["spec"]["containers"][0]["imag"] = json!("x");
    std::fs::write(&manifest, object.to_string()).unwrap();
    let line = format!("create --validate=strict -f {}", manifest.display());
    let refused = kubectl.command(&line).output().await.unwrap();
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert!(errors.contains("unknown field \"spec.containers[0].imag\""), "{errors}");
}

/// A Deployment and a ConfigMap of one application.
fn application(replicas: u32, with_map: bool) -> String {
    let container = json!({"name": "c", "image": "i"});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}}});
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web", "labels": {"app": "web"}}, "data": {"x": "1"}});
    let items = if with_map { vec![deployment, map] } else { vec![deployment] };
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

#[tokio::test]
async fn a_manifest_is_compared_pruned_edited_and_applied_by_the_server() {
    if is_missing() {
        return;
    }
    let server = TestServer::start().await;
    let kubectl = Kubectl { server: &server };
    let file = server.dir.path().join("app.json");
    let write = |text: String| std::fs::write(&file, text).unwrap();
    let path = file.display();
    write(application(1, true));
    kubectl.run(&format!("apply -f {path}")).await;
    assert_eq!(kubectl.run(&format!("diff -f {path}")).await, "");

    write(application(3, false));
    let differs = kubectl.command(&format!("diff -f {path}")).output().await.unwrap();
    let shown = String::from_utf8_lossy(&differs.stdout).into_owned();
    assert_eq!(differs.status.code(), Some(1), "{shown}");
    assert!(shown.contains("-  replicas: 1") && shown.contains("+  replicas: 3"), "{shown}");

    let pruned = kubectl.run(&format!("apply -f {path} --prune -l app=web")).await;
    assert!(pruned.contains("configmap/web pruned"), "{pruned}");
    assert!(!kubectl.run("get configmaps").await.contains("web"));
    assert!(
        kubectl
            .run("get deployments")
            .await
            .starts_with("NAME   READY   UP-TO-DATE   AVAILABLE   AGE\nweb    0/3")
    );

    let mut edit = kubectl.command("edit deployment web");
    let edited = edit.env("KUBE_EDITOR", "sed -i s/replicas:.3/replicas:\\ 5/").output().await.unwrap();
    assert!(edited.status.success(), "{}", String::from_utf8_lossy(&edited.stderr));
    assert_eq!(kubectl.run("get deployment web -o jsonpath={.spec.replicas}").await, "5");

    // Client-side apply and edit own the number: another manager must insist.
    write(application(7, false));
    let line = format!("apply --server-side --field-manager=other -f {path}");
    let refused = kubectl.command(&line).output().await.unwrap();
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && words.contains(".spec.replicas"), "{words}");
    let forced = kubectl.run(&format!("{line} --force-conflicts")).await;
    assert_eq!(forced, "deployment.apps/web serverside-applied\n");
    assert_eq!(kubectl.run("get deployment web -o jsonpath={.spec.replicas}").await, "7");
    let columns = "get deployment web -o custom-columns=N:.metadata.name,R:.spec.replicas";
    assert_eq!(kubectl.run(columns).await, "N     R\nweb   7\n");
}

#[tokio::test]
async fn objects_are_patched_in_three_ways_and_deleted_in_three() {
    if is_missing() {
        return;
    }
    let server = TestServer::start().await;
    let kubectl = Kubectl { server: &server };
    let file = server.dir.path().join("app.json");
    std::fs::write(&file, application(1, false)).unwrap();
    kubectl.run(&format!("apply -f {}", file.display())).await;
    let containers = "get deployment web -o jsonpath={.spec.template.spec.containers[*].name}";
    let sidecar = r#"{"spec":{"template":{"spec":{"containers":[{"name":"s","image":"i"}]}}}}"#;
    kubectl.run(&format!("patch deployment web -p {sidecar}")).await;
    assert_eq!(kubectl.run(containers).await, "s c", "a strategic patch adds to a list");
    kubectl.run(&format!("patch deployment web --type=merge -p {sidecar}")).await;
    assert_eq!(kubectl.run(containers).await, "s", "a merge patch replaces it");
    let json = r#"[{"op":"replace","path":"/spec/template/spec/containers/0/name","value":"j"}]"#;
    kubectl.run(&format!("patch deployment web --type=json -p {json}")).await;
    assert_eq!(kubectl.run(containers).await, "j");
    kubectl.run("scale deployment web --replicas=4").await;
    kubectl.run(r#"patch deployment web --subresource=scale --type=merge -p {"spec":{"replicas":6}}"#).await;
    assert_eq!(kubectl.run("get deployment web -o jsonpath={.spec.replicas}").await, "6");

    let uid = kubectl.run("get deployment web -o jsonpath={.metadata.uid}").await;
    let mut client = server.client().await;
    for cascade in ["background", "orphan", "foreground"] {
        let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner"}});
        let owner = client.post("/api/v1/namespaces/default/configmaps", owner).await.expect(201);
        let mut dependent = config_map("dependent");
        let reference = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"], "blockOwnerDeletion": true});
        dependent["metadata"]["ownerReferences"] = json!([reference]);
        client.post("/api/v1/namespaces/default/configmaps", dependent).await.expect(201);
        kubectl.run(&format!("delete configmap owner --cascade={cascade}")).await;
        if cascade == "orphan" {
            let left = kubectl.run("get configmap dependent -o jsonpath={.metadata.ownerReferences}").await;
            assert_eq!(left, "");
            kubectl.run("delete configmap dependent").await;
        }
        kubectl.run("wait --for=delete configmap/dependent --timeout=60s").await;
    }
    assert_eq!(kubectl.run("get deployment web -o jsonpath={.metadata.uid}").await, uid);
}
