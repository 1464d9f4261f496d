//! MultiNetworkPolicy (spec/multi-networkpolicy.md 1): the shape of a NetworkPolicy, for secondary networks.
//!
//! These are texts as users wrote them. What they mean, and what of them is wrong, is the business of `polynic-policy`.

use serde::{Deserialize, Serialize};

use crate::meta::{LabelSelector, ObjectMeta, or_default};

/// The manifest of the custom resource definition, as users apply it.
pub const CRD: &str = include_str!("../crds/k8s.cni.cncf.io_multi-networkpolicies.yaml");

/// API group.
pub const GROUP: &str = "k8s.cni.cncf.io";
/// API version.
pub const VERSION: &str = "v1beta1";
/// Name of the resource in request paths.
pub const PLURAL: &str = "multi-networkpolicies";
/// Kind.
pub const KIND: &str = "MultiNetworkPolicy";
/// The annotation that names the networks.
pub const POLICY_FOR: &str = "k8s.v1.cni.cncf.io/policy-for";

/// A policy as the API server has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MultiNetworkPolicy {
    /// Name, namespace, annotations.
    pub metadata: ObjectMeta,
    /// Which pods, and what they may do.
    pub spec: Spec,
}

/// Which pods, and what they may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Spec {
    /// The pods, of the policy's namespace.
    #[serde(deserialize_with = "or_default")]
    pub pod_selector: LabelSelector,
    /// `Ingress`, `Egress`; empty means what the rules say.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub policy_types: Vec<String>,
    /// What may come in.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub ingress: Vec<IngressRule>,
    /// What may go out.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<EgressRule>,
}

/// One kind of traffic that may come in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IngressRule {
    /// From whom; empty is anybody.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<Peer>,
    /// To which ports; empty is any.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
}

/// One kind of traffic that may go out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EgressRule {
    /// To whom; empty is anybody.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<Peer>,
    /// To which ports; empty is any.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
}

/// The other end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Peer {
    /// Pods; of the policy's namespace if there is no `namespace_selector`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
    /// Namespaces; all their pods if there is no `pod_selector`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Addresses; with it the selectors do not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_block: Option<IpBlock>,
}

/// A network without some parts of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IpBlock {
    /// The network.
    pub cidr: String,
    /// Parts of it that do not count.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
}

/// Destination ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Port {
    /// `TCP`, `UDP` or `SCTP`; absent is TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Absent is every port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<IntOrString>,
    /// End of a range that begins with `port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_port: Option<i64>,
}

/// A number or a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum IntOrString {
    /// A number.
    Int(i64),
    /// A name, of a container port.
    String(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, Value, json};

    fn crd() -> Value {
        serde_saphyr::from_str(CRD).unwrap()
    }

    #[test]
    fn the_crd_is_the_one_of_the_contract() {
        let crd = crd();
        assert_eq!(crd["metadata"]["name"], json!(format!("{PLURAL}.{GROUP}")));
        assert_eq!((&crd["spec"]["group"], &crd["spec"]["scope"]), (&json!(GROUP), &json!("Namespaced")));
        let names = json!({"kind": KIND, "listKind": "MultiNetworkPolicyList", "plural": PLURAL,
            "singular": "multi-networkpolicy", "shortNames": ["multi-policy"]});
        assert_eq!(crd["spec"]["names"], names);
        let mut version = crd["spec"]["versions"][0].clone();
        version["schema"] = Value::Null;
        assert_eq!(version, json!({"name": VERSION, "served": true, "storage": true, "schema": null}));
        assert_eq!(crd["spec"]["versions"].as_array().unwrap().len(), 1);
    }

    /// A value in which every field of a schema is there and not empty.
    fn sample(schema: &Value) -> Value {
        match schema["type"].as_str() {
            None => json!("web"),
            Some("string") => json!("text"),
            Some("integer") => json!(7),
            Some("array") => json!([sample(&schema["items"])]),
            Some("object") => match schema["properties"].as_object() {
                Some(fields) => {
                    let fields = fields.iter().map(|(name, schema)| (name.clone(), sample(schema)));
                    Value::Object(fields.collect::<Map<_, _>>())
                }
                None => json!({"key": "value"}),
            },
            Some(other) => panic!("{other}"),
        }
    }

    #[test]
    fn manifest_and_types_do_not_drift() {
        let schema = &crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let written = sample(schema);
        let read: Spec = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), written, "a field of the manifest gets lost");
        let shown = format!("{read:?}");
        for sign in [": None", ": []", ": {}", ": \"\""] {
            assert!(!shown.contains(sign), "the manifest lacks a field of the type: {shown}");
        }
    }

    #[test]
    fn the_contracts_example_is_read() {
        let example = r#"
metadata:
  name: web-in
  namespace: shop
  annotations: { k8s.v1.cni.cncf.io/policy-for: "overlay-b, infra/storage" }
spec:
  podSelector: { matchLabels: { tier: web } }
  policyTypes: [Ingress]
  ingress:
  - from: [ { podSelector: { matchLabels: { tier: edge } } }, { ipBlock: { cidr: 10.61.0.0/16, except: [10.61.9.0/24] } } ]
    ports: [ { protocol: TCP, port: 8443 }, { protocol: UDP, port: 5000, endPort: 5010 } ]
"#;
        let policy: MultiNetworkPolicy = serde_saphyr::from_str(example).unwrap();
        assert_eq!(policy.metadata.annotation(POLICY_FOR), Some("overlay-b, infra/storage"));
        let rule = &policy.spec.ingress[0];
        assert_eq!(rule.from[1].ip_block.as_ref().unwrap().except, ["10.61.9.0/24"]);
        assert_eq!(rule.ports[0].port, Some(IntOrString::Int(8443)));
        assert_eq!(rule.ports[1].end_port, Some(5010));
        assert!(policy.spec.egress.is_empty());
    }
}
