//! What is deployed: the manifests are what the charts render, an API server accepts them, and the page for users tells the truth.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use kube::Client;
use polynic_apiserver::{Config, Server};
use polynic_cluster::client_from;
use polynic_control_plane::{ControlPlane, Programs};
use serde_json::Value;

const MANIFESTS: [&str; 3] = ["polynic.yaml", "multus-daemonset-thick.yaml", "multus-daemonset-thin.yaml"];

/// Nothing here takes this long unless it is broken.
const BROKEN: Duration = Duration::from_secs(60);

fn repository(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap()
}

fn documents(path: &str) -> Vec<Value> {
    let text = text(path);
    let documents = text.split("\n---").map(|document| document.trim_start_matches("---"));
    let documents =
        documents.filter(|d| d.lines().any(|line| !line.trim().is_empty() && !line.starts_with('#')));
    documents.map(|document| serde_saphyr::from_str(document).expect(document)).collect()
}

/// What `scripts/helm.sh` does not do because Helm was never built here: that takes Go, and minutes.
const NO_HELM: i32 = 3;

#[test]
fn the_charts_are_sound_and_the_manifests_are_what_they_render() {
    for task in ["lint", "check"] {
        let done = Command::new(repository("scripts/helm.sh"))
            .arg(task)
            .env("POLYNIC_HELM", "built")
            .output()
            .unwrap();
        let said =
            [done.stdout, done.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        if done.status.code() == Some(NO_HELM) {
            let required = std::env::var("POLYNIC_REQUIRE_TIERS").unwrap_or_default();
            assert!(!required.split(',').any(|tier| tier == "helm"), "the tier helm must run: {said}");
            eprintln!("skipped: {said}");
            return;
        }
        assert!(done.status.success(), "scripts/helm.sh {task}: {said}");
    }
}

/// Where objects of a kind are made.
fn collection(object: &Value) -> String {
    let version = object["apiVersion"].as_str().unwrap();
    let root = if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
    let kind = object["kind"].as_str().unwrap().to_lowercase();
    let plural =
        if kind.ends_with('y') { format!("{}ies", &kind[..kind.len() - 1]) } else { format!("{kind}s") };
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{root}/namespaces/{namespace}/{plural}"),
        None => format!("{root}/{plural}"),
    }
}

/// Makes every object with strict validation: a field that does not exist is refused. A namespace that the manifests expect may not be
/// there yet in a server that has just started.
async fn apply_all(client: &Client, path: &str) {
    for object in documents(&format!("deploy/manifests/{path}")) {
        let uri = format!("{}?fieldValidation=Strict", collection(&object));
        let started = Instant::now();
        loop {
            let request = http::Request::post(&uri).header("content-type", "application/json");
            let answer =
                client.request::<Value>(request.body(object.to_string().into_bytes()).unwrap()).await;
            match answer {
                Ok(_) => break,
                Err(kube::Error::Api(status)) if status.code == 409 => break,
                Err(kube::Error::Api(status)) if status.code == 404 && started.elapsed() < BROKEN => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(why) => panic!("{path}: {} {}: {why}", object["kind"], object["metadata"]["name"]),
            }
        }
    }
}

#[tokio::test]
async fn the_embedded_api_server_accepts_the_manifests() {
    for path in MANIFESTS {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::start(Config::new(directory.path())).await.unwrap();
        let client = client_from(Some(server.kubeconfig_path())).await.unwrap().unwrap();
        apply_all(&client, path).await;
        server.shutdown().await;
    }
}

#[tokio::test]
async fn the_real_api_server_accepts_the_manifests() {
    let Some(programs) = Programs::or_skip() else { return };
    let plane = tokio::task::spawn_blocking(move || ControlPlane::start(&programs).unwrap()).await.unwrap();
    let client = client_from(Some(&plane.kubeconfig_path())).await.unwrap().unwrap();
    for path in MANIFESTS {
        apply_all(&client, path).await;
    }
}

/// `key.of.a.value` to its default.
fn flattened(value: &Value, path: &str, all: &mut Vec<(String, Value)>) {
    match value.as_object().filter(|map| !map.is_empty()) {
        Some(map) => map.iter().for_each(|(key, value)| {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            flattened(value, &path, all);
        }),
        None => all.push((path.to_owned(), value.clone())),
    }
}

/// Whether the schema knows a value.
fn knows(schema: &Value, path: &str) -> bool {
    let mut at = schema;
    for key in path.split('.') {
        match at["properties"].get(key) {
            Some(next) => at = next,
            // A map that is the user's own.
            None => return at["type"] == "object" && at.get("additionalProperties").is_none(),
        }
    }
    true
}

#[test]
fn every_value_has_a_schema() {
    for chart in ["polynic", "polynic-multus"] {
        let values: Value =
            serde_saphyr::from_str(&text(&format!("deploy/chart/{chart}/values.yaml"))).unwrap();
        let schema: Value =
            serde_json::from_str(&text(&format!("deploy/chart/{chart}/values.schema.json"))).unwrap();
        let mut all = Vec::new();
        flattened(&values, "", &mut all);
        let unknown: Vec<&String> =
            all.iter().map(|(path, _)| path).filter(|path| !knows(&schema, path)).collect();
        assert!(all.len() > 10 && unknown.is_empty(), "{chart}: {unknown:?}");
    }
}

/// Names that the contract has (spec/spiderpool.md 9.1, 14, 16), by their common beginning.
const CONTRACT: [(&str, &str); 25] = [
    (
        "global",
        "imageRegistryOverride cniBinHostPath cniConfHostPath configName ciliumConfigMap clusterDnsDomain commonLabels commonAnnotations ipamUNIXSocketHostPath",
    ),
    (
        "ipam",
        "enableIPv4 enableIPv6 enableStatefulSet enableKubevirtStaticIP enableIPConflictDetection enableGatewayDetection enableCleanOutdatedEndpoint",
    ),
    ("ipam.spiderSubnet", "enable autoPool.enable autoPool.defaultRedundantIPNumber"),
    (
        "ipam.gc",
        "enabled gcAll.intervalInSecond gcDeletingTimeOutPodDelay statelessPod.zombieOnReadyNode statelessPod.zombieOnNotReadyNode statelessPod.enableGcRunningPodOnEmptyPodStatusIPs",
    ),
    (
        "coordinator",
        "enabled name mode podCIDRType tunePodRoutes hijackCIDR policyRoutes vethLinkAddress vethMTU detectGateway detectIPConflict",
    ),
    (
        "multus",
        "enableMultusConfig multusCNI.install multusCNI.uninstall multusCNI.name multusCNI.defaultCniCRName multusCNI.image.tag multusCNI.log.logLevel",
    ),
    (
        "plugins",
        "installCNI installRdmaCNI installOvsCNI installSriovCNI installibSriovCNI installIpoibCNI installVlanCNI",
    ),
    (
        "clusterDefaultPool",
        "installIPv4IPPool installIPv6IPPool ipv4IPPoolName ipv6IPPoolName ipv4SubnetName ipv6SubnetName ipv4Subnet ipv6Subnet ipv4IPRanges ipv6IPRanges ipv4Gateway ipv6Gateway",
    ),
    (
        "spiderpoolAgent",
        "hostnetwork resources tolerations nodeSelector affinity extraArgs extraEnv extraVolumes podAnnotations podLabels securityContext httpPort tuneSysctlConfig networkResourcePlugin",
    ),
    (
        "spiderpoolAgent",
        "image.registry image.repository image.tag image.digest image.pullPolicy healthChecking.startupProbe.failureThreshold debug.logLevel debug.gopsPort",
    ),
    (
        "spiderpoolAgent.prometheus",
        "enabled port enabledDebugMetric enabledRdmaMetric serviceMonitor.install prometheusRule.install",
    ),
    (
        "spiderpoolController",
        "replicas hostnetwork resources tolerations nodeSelector affinity extraArgs extraEnv extraVolumes podAnnotations podLabels securityContext httpPort webhookPort",
    ),
    (
        "spiderpoolController",
        "image.tag healthChecking.livenessProbe.periodSeconds debug.logLevel debug.gopsPort podDisruptionBudget.enabled cleanup.enable tls.method tls.secretName enableValidatingResourcesDeletedWebhook",
    ),
    ("spiderpoolController.podResourceInject", "enabled namespacesExclude namespacesInclude"),
    (
        "multus.multusCNI",
        "image.registry image.repository securityContext.privileged extraEnv extraVolumes extraVolumeMounts",
    ),
    ("plugins.image", "registry repository tag digest pullPolicy imagePullSecrets"),
    ("spiderpoolAgent", "binName serviceAccount.annotations service.type service.annotations"),
    ("spiderpoolController", "binName serviceAccount.annotations service.type service.annotations"),
    (
        "spiderpoolAgent.prometheus",
        "serviceMonitor.namespace serviceMonitor.interval prometheusRule.namespace",
    ),
    (
        "spiderpoolController.prometheus",
        "serviceMonitor.annotations prometheusRule.enableWarningIPGCFailureCounts",
    ),
    (
        "spiderpoolController.tls",
        "provided.tlsCert auto.caExpiration certmanager.certValidityDuration certmanager.extraDnsNames",
    ),
    (
        "spiderpoolInit",
        "binName hostnetwork affinity extraArgs resources extraEnv securityContext podAnnotations podLabels serviceAccount.annotations",
    ),
    (
        "",
        "rdma.rdmaSharedDevicePlugin.image.registry sriov.image.operator.tag sriov.resourcePrefix grafanaDashboard.labels",
    ),
    (
        "spiderpoolController.prometheus",
        "enabled port enabledDebugMetric serviceMonitor.install prometheusRule.install",
    ),
    (
        "",
        "rdma.rdmaSharedDevicePlugin.install sriov.install grafanaDashboard.install iaasNetworkProvider.serverUrl",
    ),
];

#[test]
fn the_values_of_the_replaced_chart_are_known() {
    let schema: Value = serde_json::from_str(&text("deploy/chart/polynic/values.schema.json")).unwrap();
    for (beginning, names) in CONTRACT {
        for name in names.split(' ') {
            let path = format!("{beginning}.{name}");
            assert!(knows(&schema, path.trim_start_matches('.')), "{path}");
        }
    }
}

/// Selectors and services' addresses cannot change: with others than the replaced chart's, `helm upgrade` of its release would fail.
#[test]
fn a_release_of_the_replaced_chart_can_become_ours() {
    let all = documents("deploy/manifests/polynic.yaml");
    for (kind, component) in [("DaemonSet", "spiderpool-agent"), ("Deployment", "spiderpool-controller")] {
        let object = all.iter().find(|object| object["kind"] == kind).expect(kind);
        let labels = &object["spec"]["selector"]["matchLabels"];
        assert_eq!(labels["app.kubernetes.io/name"], "spiderpool", "{kind}");
        assert_eq!(labels["app.kubernetes.io/component"], component, "{kind}");
        assert_eq!(labels.as_object().unwrap().len(), 3, "{kind}: {labels}");
    }
    let templates =
        ["metrics", "controller"].map(|name| text(&format!("deploy/chart/polynic/templates/{name}.yaml")));
    assert!(templates.iter().all(|template| !template.contains("clusterIP: None")));
}

/// Rows `| \`key\` | \`default\` | meaning |` below a heading with the chart's name.
fn told(page: &str, heading: &str) -> Vec<(String, String)> {
    let section = page.split(heading).nth(1).expect("the heading").split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cell = |line: &str, number| line.split('|').nth(number).unwrap().trim().trim_matches('`').to_owned();
    rows.map(|line| (cell(line, 1), cell(line, 2))).collect()
}

#[test]
fn the_page_for_users_has_the_values_that_the_charts_have() {
    let page = text("docs/install.md");
    for (chart, heading) in
        [("polynic", "## Values of `polynic`"), ("polynic-multus", "## Values of `polynic-multus`")]
    {
        let values: Value =
            serde_saphyr::from_str(&text(&format!("deploy/chart/{chart}/values.yaml"))).unwrap();
        let rows = told(&page, heading);
        assert!(rows.len() > 5, "{chart}: the table is gone");
        for (key, default) in rows {
            let pointer = format!("/{}", key.replace('.', "/"));
            let actual = values
                .pointer(&pointer)
                .unwrap_or_else(|| panic!("{chart}: docs/install.md: no value {key}"));
            let told: Value = serde_json::from_str(&default).unwrap_or(Value::String(default));
            assert_eq!(&told, actual, "{chart}: docs/install.md: the default of {key}");
        }
    }
}

/// What a role may do with a resource.
fn may(rules: &Value, group: &str, resource: &str, verb: &str) -> bool {
    let has =
        |list: &Value, word: &str| list.as_array().unwrap().iter().any(|item| item == word || item == "*");
    let rules = rules.as_array().unwrap().iter();
    let mut fitting = rules.filter(|rule| rule.get("resourceNames").is_none());
    fitting.any(|rule| {
        has(&rule["apiGroups"], group) && has(&rule["resources"], resource) && has(&rule["verbs"], verb)
    })
}

#[test]
fn nobody_may_do_more_than_needed() {
    for path in MANIFESTS {
        let roles = documents(&format!("deploy/manifests/{path}"));
        for role in
            roles.iter().filter(|object| ["ClusterRole", "Role"].contains(&object["kind"].as_str().unwrap()))
        {
            let name = &role["metadata"]["name"];
            for rule in role["rules"].as_array().unwrap() {
                let words = ["apiGroups", "resources", "verbs"].map(|key| rule[key].to_string()).concat();
                assert!(!words.contains('*'), "{path}: {name}: {rule}");
            }
            for resource in ["secrets", "clusterroles", "serviceaccounts/token", "pods/exec"] {
                let group = if resource == "clusterroles" { "rbac.authorization.k8s.io" } else { "" };
                assert!(!may(&role["rules"], group, resource, "get"), "{path}: {name}: {resource}");
            }
        }
    }
}

#[test]
fn every_container_says_what_it_needs_and_only_daemons_of_the_node_are_privileged() {
    for path in MANIFESTS {
        let workloads = documents(&format!("deploy/manifests/{path}"));
        let workloads = workloads.iter().filter(|object| object.pointer("/spec/template/spec").is_some());
        for workload in workloads {
            let pod = &workload["spec"]["template"]["spec"];
            assert!(pod["priorityClassName"].is_string(), "{path}: {}", workload["metadata"]["name"]);
            let containers = ["initContainers", "containers"]
                .into_iter()
                .flat_map(|key| pod[key].as_array().cloned().unwrap_or_default());
            for container in containers {
                assert!(
                    container["resources"]["requests"]["memory"].is_string(),
                    "{path}: {}",
                    container["name"]
                );
                let privileged = container.pointer("/securityContext/privileged") == Some(&Value::Bool(true));
                assert!(!privileged || workload["kind"] == "DaemonSet", "{path}: {}", container["name"]);
            }
        }
    }
}
