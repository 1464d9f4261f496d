//! The three kinds of group `whereabouts.cni.cncf.io` (spec/whereabouts.md 3). All live in namespaces and have no finalizers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::meta::or_default;

/// API group.
pub const GROUP: &str = "whereabouts.cni.cncf.io";
/// The only version.
pub const VERSION: &str = "v1alpha1";
/// Group and version as objects carry it.
pub const API_VERSION: &str = "whereabouts.cni.cncf.io/v1alpha1";

/// A kind: what stands in paths and manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// `IPPool`.
    pub kind: &'static str,
    /// The resource in request paths: `ippools`.
    pub plural: &'static str,
    /// The manifest of the custom resource definition.
    pub crd: &'static str,
}

/// Ranges and who has which of their addresses.
pub const IP_POOL: Kind = Kind {
    kind: "IPPool",
    plural: "ippools",
    crd: include_str!("../crds/whereabouts.cni.cncf.io_ippools.yaml"),
};

/// Addresses that are taken, whichever range they are from.
pub const RESERVATION: Kind = Kind {
    kind: "OverlappingRangeIPReservation",
    plural: "overlappingrangeipreservations",
    crd: include_str!("../crds/whereabouts.cni.cncf.io_overlappingrangeipreservations.yaml"),
};

/// Ranges that are cut into slices for nodes.
pub const NODE_SLICE_POOL: Kind = Kind {
    kind: "NodeSlicePool",
    plural: "nodeslicepools",
    crd: include_str!("../crds/whereabouts.cni.cncf.io_nodeslicepools.yaml"),
};

/// `spec` of an IPPool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IpPoolSpec {
    /// The range as a prefix.
    pub range: String,
    /// By the distance from the first address of the range, in decimal.
    #[serde(deserialize_with = "or_default")]
    pub allocations: BTreeMap<String, IpAllocation>,
}

/// Who has an address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IpAllocation {
    /// The container.
    pub id: String,
    /// The pod, as namespace/name.
    pub podref: String,
    /// The interface; old releases left it out.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub ifname: String,
}

/// `spec` of an OverlappingRangeIPReservation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReservationSpec {
    /// The container; written by old releases.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub containerid: String,
    /// The pod, as namespace/name.
    pub podref: String,
    /// The interface.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub ifname: String,
}

/// `spec` of a NodeSlicePool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeSlicePoolSpec {
    /// The range as a prefix.
    pub range: String,
    /// Length of the prefix of a slice, with or without a slash.
    pub slice_size: String,
}

/// `status` of a NodeSlicePool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeSlicePoolStatus {
    /// Slices in order.
    #[serde(deserialize_with = "or_default")]
    pub allocations: Vec<NodeSlice>,
}

/// A slice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeSlice {
    /// The node; empty if nobody has the slice.
    pub node_name: String,
    /// The slice as a prefix.
    pub slice_range: String,
}

#[cfg(test)]
mod drift {
    //! Manifests against types: a sample with every field of the schema must survive reading and writing, and show no empty field.

    use std::fmt::Debug;

    use serde::de::DeserializeOwned;
    use serde_json::{Map, Value, json};

    use super::*;

    fn sample(schema: &Value, name: &str) -> Value {
        match schema["type"].as_str().unwrap() {
            "string" => json!(format!("text of {name}")),
            "array" => json!([sample(&schema["items"], name)]),
            _ => match (&schema["additionalProperties"], schema["properties"].as_object()) {
                (Value::Object(values), _) => json!({"7": sample(&Value::Object(values.clone()), name)}),
                (_, properties) => {
                    let fields = properties.unwrap().iter();
                    fields
                        .map(|(name, schema)| (name.clone(), sample(schema, name)))
                        .collect::<Map<_, _>>()
                        .into()
                }
            },
        }
    }

    fn has_no_drift<T: DeserializeOwned + Serialize + Debug>(kind: Kind, part: &str) {
        let manifest: Value = serde_saphyr::from_str(kind.crd).unwrap();
        let version = &manifest["spec"]["versions"][0];
        let written = sample(&version["schema"]["openAPIV3Schema"]["properties"][part], part);
        let read: T = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(
            serde_json::to_value(&read).unwrap(),
            written,
            "{}: a field of the manifest gets lost",
            kind.kind
        );
        let shown = format!("{read:?}");
        for sign in [": []", ": {}", ": \"\""] {
            assert!(!shown.contains(sign), "{}: the manifest lacks a field of the type: {shown}", kind.kind);
        }
        assert_eq!(manifest["metadata"]["name"], json!(format!("{}.{GROUP}", kind.plural)));
        assert_eq!(version["name"], VERSION);
        let names = &manifest["spec"]["names"];
        assert_eq!((&names["kind"], &names["plural"]), (&json!(kind.kind), &json!(kind.plural)));
        assert_eq!(manifest["spec"]["scope"], "Namespaced");
        assert_eq!(version.get("subresources"), None, "status is written with the object");
    }

    #[test]
    fn whereabouts_manifests_and_types_do_not_drift() {
        has_no_drift::<IpPoolSpec>(IP_POOL, "spec");
        has_no_drift::<ReservationSpec>(RESERVATION, "spec");
        has_no_drift::<NodeSlicePoolSpec>(NODE_SLICE_POOL, "spec");
        has_no_drift::<NodeSlicePoolStatus>(NODE_SLICE_POOL, "status");
    }

    #[test]
    fn what_old_releases_left_out_stays_out() {
        let old = json!({"range": "10.0.0.0/24", "allocations": {"1": {"id": "c1", "podref": "blue/web"}}});
        let read: IpPoolSpec = serde_json::from_value(old.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), old);
    }
}
