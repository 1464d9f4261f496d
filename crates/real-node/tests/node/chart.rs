//! The whole of it, installed by the manifests that the chart renders: agent, controller, first objects, pools; and taken off again.

use polynic_real_node::{Manifests, wait};
use serde_json::{Value, json};

use crate::installed::Bed;

const KUBE_SYSTEM: &str = "/apis/apps/v1/namespaces/kube-system";
const JOBS: &str = "/apis/batch/v1/namespaces/kube-system/jobs";
const POOLS: &str = "/apis/spiderpool.spidernet.io/v2beta1/spiderippools";
const MULTUS_CONFIGS: &str = "/apis/spiderpool.spidernet.io/v2beta1/namespaces/default/spidermultusconfigs";
const COORDINATORS: &str = "/apis/spiderpool.spidernet.io/v2beta1/spidercoordinators";
const NADS: &str = "/apis/k8s.cni.cncf.io/v1/namespaces/default/network-attachment-definitions";

#[test]
fn the_chart_is_installed_and_gives_pods_addresses_of_pools() {
    let Some(bed) = Bed::or_skip() else { return };
    let api = &bed.cluster.api;
    let mut manifests = Manifests::ours("polynic.yaml");
    // It copies the program into memory here, and that of tests is five times as large as what is shipped.
    multus(&mut manifests)["resources"] = Value::Null;
    manifests.apply(api);
    settled(&bed);
    bed.multus_is_loaded();
    bed.cluster.settled(JOBS, "spiderpool-init");
    assert!(api.get(COORDINATORS, "default").is_some(), "the first objects are there");

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
    // Agents end one after the other while pods come and go.
    let args = multus(&mut manifests)["args"].as_array_mut().unwrap();
    args.push("--uninstall-on-exit".into());
    manifests.apply(api);
    bed.create_pods("second", |_| "lan".to_owned());
    bed.all_have_both();
    settled(&bed);
    assert_eq!(allocated(&bed), 4);
    bed.delete_pods(&before);
    let released = || (allocated(&bed) == 0).then_some(());
    wait::until("all addresses are free", released, || bed.cluster.last_words());

    manifests.delete(api);
    bed.wait_until_off();
}

/// The container that installs `multus`; the value `multus.multusCNI.uninstall` adds to its arguments.
fn multus(manifests: &mut Manifests) -> &mut Value {
    let agent = manifests.object("DaemonSet", "spiderpool-agent");
    let containers = agent["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap();
    containers.iter_mut().find(|container| container["name"] == "multus-cni").unwrap()
}

fn settled(bed: &Bed) {
    bed.cluster.settled(&format!("{KUBE_SYSTEM}/daemonsets"), "spiderpool-agent");
    bed.cluster.settled(&format!("{KUBE_SYSTEM}/deployments"), "spiderpool-controller");
}

fn allocated(bed: &Bed) -> u64 {
    bed.cluster.api.get(POOLS, "lan").unwrap()["status"]["allocatedIPCount"].as_u64().unwrap_or_default()
}
