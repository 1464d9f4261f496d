//! Pods of several nodes with addresses by whereabouts' objects, plugins as executables and nothing else.

use std::collections::BTreeSet;
use std::path::Path;

use crate::labs::{Labs, wait_until};

const NAD: &str = r#"
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: lan}
spec:
  config: '{"cniVersion": "1.0.0", "type": "macvlan", "master": "eth0", "ipam": {"type": "whereabouts", "range": "10.30.0.0/24",
    "exclude": ["10.30.0.2/32"], "kubernetes": {"kubeconfig": "/run/polynic-lab/kubeconfig-inside"}}}'
"#;

const POD: &str = "
---
apiVersion: v1
kind: Pod
metadata: {name: NAME, annotations: {k8s.v1.cni.cncf.io/networks: lan}}
spec: {containers: [{name: c, image: alpine}]}
";

const PODS: [&str; 4] = ["web-0", "web-1", "web-2", "web-3"];

#[test]
fn pods_of_two_nodes_get_addresses_of_one_range_and_reach_each_other() {
    let Some(labs) = Labs::with_plugins() else { return };
    labs.ok(&["up", "--nodes", "2"]);
    let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../api/crds");
    for kind in ["ippools", "overlappingrangeipreservations", "nodeslicepools"] {
        let file = crds.join(format!("whereabouts.cni.cncf.io_{kind}.yaml"));
        labs.ok(&["apply", "-f", file.to_str().unwrap()]);
    }
    let file = labs.root().join("pods.yaml");
    let pods: String = PODS.iter().map(|name| POD.replace("NAME", name)).collect();
    std::fs::write(&file, format!("{NAD}{pods}")).unwrap();
    labs.ok(&["apply", "-f", file.to_str().unwrap()]);
    std::fs::remove_file(file).unwrap();
    let started = |pod: &str| labs.run(&["exec", pod, "--", "true"]).status.success();
    wait_until("the pods do not start", || PODS.iter().all(|pod| started(pod)));
    let address = |pod: &str| {
        let line = labs.ok(&["exec", pod, "--", "ip", "-o", "-4", "address", "show", "net1"]);
        line.split_whitespace().find(|word| word.starts_with("10.30.")).unwrap_or_default().to_owned()
    };
    let addresses: BTreeSet<String> = PODS.iter().map(|pod| address(pod)).collect();
    let expected = ["10.30.0.1/24", "10.30.0.3/24", "10.30.0.4/24", "10.30.0.5/24"];
    assert_eq!(addresses, expected.map(str::to_owned).into());
    for ip in expected {
        let ip = ip.trim_end_matches("/24");
        wait_until("the pods do not reach each other", || {
            labs.run(&["exec", "web-0", "--", "ping", "-c", "1", "-W", "2", ip]).status.success()
        });
    }
    labs.ok(&["down"]);
    labs.nothing_left();
}
