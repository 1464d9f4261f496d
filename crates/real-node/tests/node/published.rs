//! The manifests that upstream publishes for Multus and flannel, with nothing but `image:` changed: the real kubelet runs our image by their commands,
//! mounts, rights and limits.

use polynic_real_node::{Manifests, Shipped, Upstream, wait};
use serde_json::json;

use crate::cluster::NODES;
use crate::installed::{Bed, DAEMON_SETS, MULTUS, lan};

const FLANNEL: &str = "/apis/apps/v1/namespaces/kube-flannel/daemonsets";
const FLANNEL_PODS: &str = "/api/v1/namespaces/kube-flannel/pods";
/// What stays on a node when flannel's manifest is taken away; the last of it with our image alone.
const OF_FLANNEL: [&str; 4] = [
    "/etc/cni/net.d/10-flannel.conflist",
    "/opt/cni/bin/flannel",
    "/run/flannel/subnet.env",
    // The next daemon knows its tunnels and routes by it.
    "/run/flannel/subnet.env.routes",
];

#[test]
fn the_published_manifests_of_multus_and_flannel_run_with_another_image() {
    let Some(upstream) = Upstream::or_skip() else { return };
    let Some(bed) = Bed::or_skip() else { return };
    let api = &bed.cluster.api;
    give_networks(&bed);
    let flannel = published(&upstream, "kube-flannel.yml");
    flannel.apply(api);
    bed.cluster.settled(FLANNEL, "kube-flannel-ds");
    let thick = published(&upstream, "multus-daemonset-thick.yml");
    thick.apply(api);
    bed.cluster.settled(DAEMON_SETS, MULTUS);
    bed.multus_is_loaded();
    bed.define_networks();
    // Bridge, tables and records of flannel's network stay for the next pod.
    bed.create_pods("warm", lan);
    bed.all_have_both();
    bed.delete_all_pods();
    let before = bed.observe();

    bed.create_pods("thick", lan);
    bed.all_have_both();
    // These pods outlive the daemon that attached them.
    let thin = published(&upstream, "multus-daemonset.yml");
    thin.apply(api);
    bed.cluster.settled(DAEMON_SETS, MULTUS);
    bed.is_thin();
    bed.create_pods("thin", lan);
    bed.all_have_both();
    bed.delete_pods(&before);
    thin.delete(api);
    flannel.delete(api);
    bed.wait_until_off();
    let gone = || api.list(FLANNEL_PODS).is_empty().then_some(());
    wait::until("flannel's pods have ended", gone, || bed.cluster.last_words());
    bed.uninstall();
    assert_eq!(bed.new_files(), [OF_FLANNEL; 2]);
}

/// As kube-controller-manager gives them, and no other way between the nodes than flannel's.
fn give_networks(bed: &Bed) {
    for (nth, node) in bed.cluster.nodes.iter().enumerate() {
        let network = format!("10.244.{}.0/24", nth + 1);
        bed.cluster.api.patch(
            NODES,
            node.name(),
            &json!({"spec": {"podCIDR": network, "podCIDRs": [network]}}),
        );
        node.space.ip(&format!("route del 10.244.{}.0/24", 2 - nth));
    }
}

/// With only the images changed.
fn published(upstream: &Upstream, name: &str) -> Manifests {
    let mut manifests = Manifests::read(&upstream.manifest(name));
    for object in manifests.objects_mut().iter_mut().filter(|object| object["kind"] == "DaemonSet") {
        let spec = &mut object["spec"]["template"]["spec"];
        for list in ["initContainers", "containers"] {
            for container in spec[list].as_array_mut().into_iter().flatten() {
                container["image"] = Shipped::name().into();
            }
        }
    }
    manifests
}
