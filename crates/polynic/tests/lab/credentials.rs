//! Whom `multus` asks without a kubeconfig: the API server of the pod it runs in, by the pod's service account (spec/multus.md 12.1).
//!
//! A node of a lab has a /run of its own, so it can be such a pod.

use std::process::Output;

use crate::cluster::Cluster;
use crate::labs::text;

const NETWORK: &str = r#"
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: lan, namespace: kube-system}
spec: {config: '{"cniVersion": "1.1.0", "type": "macvlan", "master": "eth0"}'}
"#;

/// The NAD has to be read before its plugin can be asked.
const ASK: &str = r#"echo '{"cniVersion": "1.1.0", "name": "n", "type": "multus", "clusterNetwork": "lan", "logToStderr": false}' |
    CNI_COMMAND=STATUS CNI_PATH=/opt/cni/bin /opt/cni/bin/multus"#;
const IN_A_POD: &str = "export KUBERNETES_SERVICE_HOST=127.0.0.1 KUBERNETES_SERVICE_PORT=6443";
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

#[test]
fn multus_asks_by_the_service_account_where_it_has_no_kubeconfig() {
    let Some(cluster) = Cluster::with(&[]) else { return };
    cluster.apply(NETWORK);
    let on_the_node = |shell: &str| cluster.labs.run(&["exec", "node/node1", "--", "sh", "-c", shell]);
    let refused = |output: Output, words: &str| {
        let said = text(&output.stdout);
        assert!(
            !output.status.success() && said.contains(words),
            "{words:?} is not in {said}{}",
            text(&output.stderr)
        );
    };
    refused(on_the_node(ASK), "must have either Kubernetes config or delegates");
    refused(on_the_node(&format!("{IN_A_POD}; {ASK}")), "failed to read the service account");
    // Whose files these are is the lab's business; the server believes the token.
    let mount = format!(
        "mkdir -p {ACCOUNT}; cp /run/polynic-lab/api/token /run/polynic-lab/api/ca.crt {ACCOUNT}; echo kube-system > {ACCOUNT}/namespace"
    );
    assert!(on_the_node(&mount).status.success());
    let asked = on_the_node(&format!("{IN_A_POD}; {ASK}"));
    assert!(asked.status.success(), "{}{}", text(&asked.stdout), text(&asked.stderr));
    refused(on_the_node(ASK), "must have either Kubernetes config or delegates");
    refused(on_the_node(&format!("printf wrong > {ACCOUNT}/token; {IN_A_POD}; {ASK}")), "Unauthorized");
    cluster.labs.ok(&["down"]);
    cluster.labs.nothing_left();
}
