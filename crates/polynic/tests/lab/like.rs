//! The cluster that a story takes for granted, for people who apply its manifests themselves.

use crate::cluster::Cluster;
use crate::labs::{text, wait_until};

const MANIFESTS: &str = include_str!("../../../../scenarios/spiderpool-calico/manifests.yaml");

#[test]
fn a_storys_manifests_work_in_its_cluster_and_doctor_sees_what_is_broken_on_a_node() {
    let Some(cluster) = Cluster::with(&["--like", "spiderpool-calico"]) else { return };
    cluster.apply(MANIFESTS);
    cluster.roll_out("deployment/nginx");
    let type_ = cluster.field("spidercoordinator/default", ".spec.podCIDRType");
    assert_eq!(type_, "cluster");
    let examine = || cluster.labs.run(&["exec", "node/node1", "--", "polynic", "doctor", "node"]);
    // What a pod left is taken back by the agent in a moment.
    wait_until("all is well on the node", || text(&examine().stdout).contains("all is well"));
    let broken = "echo '{' > /etc/cni/net.d/00-a.conf";
    cluster.labs.ok(&["exec", "node/node1", "--", "sh", "-c", broken]);
    let output = examine();
    assert!(!output.status.success());
    let said = text(&output.stdout);
    assert!(said.contains("wrong    /etc/cni/net.d/00-a.conf: it is no JSON"), "{said}");
}
