//! The whole of it by Helm, as docs/install.md says: agent, controller, first objects, pools; an upgrade; and everything taken off again.

use polynic_real_node::{Helm, wait};
use serde_json::{Value, json};

use crate::installed::{Bed, SYSTEM_PODS};

const KUBE_SYSTEM: &str = "/apis/apps/v1/namespaces/kube-system";
const JOBS: &str = "/apis/batch/v1/namespaces/kube-system/jobs";
const POOLS: &str = "/apis/spiderpool.spidernet.io/v2beta1/spiderippools";
const MULTUS_CONFIGS: &str = "/apis/spiderpool.spidernet.io/v2beta1/namespaces/default/spidermultusconfigs";
const COORDINATORS: &str = "/apis/spiderpool.spidernet.io/v2beta1/spidercoordinators";
const NADS: &str = "/apis/k8s.cni.cncf.io/v1/namespaces/default/network-attachment-definitions";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WEBHOOKS: [&str; 2] = ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"];
const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";

/// The settings of the guides; the default network is that of the nodes. One is for a plugin of another project.
const SETTINGS: [&str; 4] = [
    "coordinator.mode=overlay",
    "plugins.installCNI=true",
    "multus.multusCNI.defaultCniCRName=pod-fabric",
    "plugins.installOvsCNI=true",
];

#[test]
fn helm_installs_the_chart_which_gives_pods_addresses_of_pools_and_takes_it_off_again() {
    let Some(helm) = Helm::or_skip() else { return };
    let Some(bed) = Bed::or_skip() else { return };
    let api = &bed.cluster.api;
    let chart = Helm::chart("polynic");
    let run = |verb: &str, more: &[&str]| {
        let with_chart = [verb, "spiderpool", &chart, "--namespace", "kube-system"];
        bed.cluster.helm(&helm, &[&with_chart, more].concat())
    };
    let said = run("install", &SETTINGS.map(|setting| ["--set", setting]).concat());
    assert!(said.contains("plugins.installOvsCNI: the plugin ovs is another project's"), "{said}");
    settled(&bed);
    bed.multus_is_loaded();
    bed.cluster.settled(JOBS, "spiderpool-init");
    assert_eq!(api.get(COORDINATORS, "default").unwrap()["spec"]["mode"], "overlay");

    // The controller's webhooks look at both.
    let pool = json!({"apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": "SpiderIPPool", "metadata": {"name": "lan"},
                      "spec": {"subnet": "192.168.50.0/24", "ips": ["192.168.50.100-192.168.50.139"]}});
    api.create(POOLS, &pool);
    let network = json!({"apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": "SpiderMultusConfig",
        "metadata": {"name": "lan", "namespace": "default"},
        "spec": {"cniType": "macvlan", "enableCoordinator": false,
                 "macvlan": {"master": ["eth0"], "ippools": {"ipv4": ["lan"]}}}});
    api.create(MULTUS_CONFIGS, &network);
    let nad = || api.get(NADS, "lan");
    wait::until("the network is made", nad, || bed.cluster.last_words());

    let before = bed.observe();
    bed.create_pods("first", |_| "lan".to_owned());
    bed.all_have_both();
    all_probes_pass(&bed);
    // Agents end one after the other while pods come and go.
    run("upgrade", &["--reuse-values", "--set", "multus.multusCNI.uninstall=true"]);
    bed.create_pods("second", |_| "lan".to_owned());
    bed.all_have_both();
    settled(&bed);
    assert_eq!(allocated(&bed), 4);
    bed.delete_pods(&before);
    let released = || (allocated(&bed) == 0).then_some(());
    wait::until("all addresses are free", released, || bed.cluster.last_words());

    bed.cluster.helm(&helm, &["uninstall", "spiderpool", "--namespace", "kube-system"]);
    bed.wait_until_off();
    nothing_is_left(&bed);
}

/// The kubelet asks each of the three probes of either daemon, and has found no reason to restart one.
fn all_probes_pass(bed: &Bed) {
    for name in ["spiderpool-agent", "spiderpool-controller"] {
        let pods = bed.cluster.api.list(SYSTEM_PODS);
        let named = |list: &Value| list.as_array().unwrap().iter().find(|item| item["name"] == name).cloned();
        let mut seen = 0;
        for pod in &pods {
            let Some(container) = named(&pod["spec"]["containers"]) else { continue };
            let asked = ["startupProbe", "livenessProbe", "readinessProbe"]
                .map(|probe| container[probe]["httpGet"]["path"].as_str().unwrap_or_default().to_owned());
            assert_eq!(asked, ["startup", "liveness", "readiness"].map(|kind| format!("/v1/runtime/{kind}")));
            let status = named(&pod["status"]["containerStatuses"]).unwrap();
            assert_eq!(
                (&status["started"], &status["ready"], &status["restartCount"]),
                (&json!(true), &json!(true), &json!(0)),
                "{status}"
            );
            seen += 1;
        }
        assert_ne!(seen, 0, "there is no pod with {name}");
    }
}

/// Neither objects, kinds, webhooks and rights in the cluster, nor files on its nodes.
fn nothing_is_left(bed: &Bed) {
    let api = &bed.cluster.api;
    let ours = |name: &str| name.contains("spider");
    let webhooks = WEBHOOKS.map(|plural| format!("/apis/admissionregistration.k8s.io/v1/{plural}"));
    for path in webhooks.iter().map(String::as_str).chain([DEFINITIONS, JOBS, ROLES]) {
        let names = || -> Vec<String> {
            let objects = api.list(path);
            let names = objects.iter().filter_map(|object| object["metadata"]["name"].as_str());
            names.filter(|name| ours(name)).map(str::to_owned).collect()
        };
        wait::until(
            "it is all gone",
            || names().is_empty().then_some(()),
            || format!("{path}: {:?}", names()),
        );
    }
    bed.is_as_before();
}

fn settled(bed: &Bed) {
    bed.cluster.settled(&format!("{KUBE_SYSTEM}/daemonsets"), "spiderpool-agent");
    bed.cluster.settled(&format!("{KUBE_SYSTEM}/deployments"), "spiderpool-controller");
}

fn allocated(bed: &Bed) -> u64 {
    bed.cluster.api.get(POOLS, "lan").unwrap()["status"]["allocatedIPCount"].as_u64().unwrap_or_default()
}
