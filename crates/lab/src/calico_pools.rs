//! Calico's IPPools, as a cluster with Calico has them: what SpiderCoordinator reads where `podCIDRType` is `calico`.
//!
//! The lab's default network only behaves like Calico's, and nothing here hands out addresses by these objects.

use kube::Client;
use serde_json::{Value, json};

use crate::error::Result;
use crate::shape::Shape;
use crate::{api, manifest};

/// The kind, without the checks that nobody needs here.
const DEFINITION: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ippools.crd.projectcalico.org}
spec:
  group: crd.projectcalico.org
  scope: Cluster
  names: {kind: IPPool, listKind: IPPoolList, plural: ippools, singular: ippool}
  versions:
  - {name: v1, served: true, storage: true,
     schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
";

/// Makes the kind known, and a pool for each family of the pods' networks.
pub async fn install(client: &Client, shape: &Shape) -> Result<()> {
    api::define(client, DEFINITION).await?;
    for pool in pools(shape) {
        manifest::apply(client, &pool, "").await?;
    }
    Ok(())
}

fn pools(shape: &Shape) -> [Value; 2] {
    let pool = |family: u8, cidr: String| {
        json!({
            "apiVersion": "crd.projectcalico.org/v1", "kind": "IPPool", "metadata": {"name": format!("default-ipv{family}-ippool")},
            "spec": {"cidr": cidr, "ipipMode": "Never", "vxlanMode": "Never", "natOutgoing": true, "nodeSelector": "all()"},
        })
    };
    [pool(4, shape.pods.v4.to_string()), pool(6, shape.pods.v6.to_string())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_has_a_pool_with_the_pods_network() {
        let pools = pools(&Shape::default());
        assert_eq!(pools[0]["spec"]["cidr"], "10.244.0.0/16");
        assert_eq!(pools[1]["spec"]["cidr"], "fd00:10:244::/48");
        assert_eq!(manifest::parse(DEFINITION).unwrap().len(), 1);
    }
}
