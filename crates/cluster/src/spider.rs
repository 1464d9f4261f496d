//! Spiderpool's kinds for kube's typed client: `Api<Stored<IPPool>>`, watchers and caches of them.
//!
//! [`Stored`] is [`polynic_api::spider::Object`] with the client's own metadata, which a write has to send back whole.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::core::DynamicResourceScope;
use kube::{Api, Client, Resource};
use polynic_api::meta;
use polynic_api::spider::{API_VERSION, GROUP, Object, SpiderKind, VERSION};
use serde::{Deserialize, Serialize};

/// An object of a Spiderpool kind as the API server has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", bound = "")]
pub struct Stored<K: SpiderKind> {
    /// Group and version.
    #[serde(default)]
    pub api_version: String,
    /// Kind.
    #[serde(default)]
    pub kind: String,
    /// All metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// The desired state.
    #[serde(default, skip_serializing_if = "polynic_api::spider::is_nothing")]
    pub spec: K::Spec,
    /// The observed state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<K::Status>,
}

impl<K: SpiderKind> Stored<K> {
    /// A new object with a name and a spec.
    pub fn new(name: &str, spec: K::Spec) -> Self {
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        Self { api_version: API_VERSION.to_owned(), kind: K::KIND.to_owned(), metadata, spec, status: None }
    }

    /// The object for the pure rules of `polynic_api`.
    pub fn plain(&self) -> Object<K> {
        Object {
            api_version: API_VERSION.to_owned(),
            kind: K::KIND.to_owned(),
            metadata: plain_meta(&self.metadata),
            spec: self.spec.clone(),
            status: self.status.clone(),
        }
    }
}

impl<K: SpiderKind> Resource for Stored<K> {
    type DynamicType = ();
    type Scope = DynamicResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        K::KIND.into()
    }

    fn group((): &()) -> Cow<'_, str> {
        GROUP.into()
    }

    fn version((): &()) -> Cow<'_, str> {
        VERSION.into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::PLURAL.into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// All objects of a kind, in every namespace; for a kind of the whole cluster the way to read and write one.
pub fn all<K: SpiderKind>(client: Client) -> Api<Stored<K>> {
    Api::all_with(client, &())
}

/// The objects of a kind in one namespace.
pub fn namespaced<K: SpiderKind>(client: Client, namespace: &str) -> Api<Stored<K>> {
    Api::namespaced_with(client, namespace, &())
}

/// The part of the client's metadata that decisions need.
pub fn plain_meta(metadata: &ObjectMeta) -> meta::ObjectMeta {
    meta::ObjectMeta {
        name: metadata.name.clone().unwrap_or_default(),
        namespace: metadata.namespace.clone().unwrap_or_default(),
        uid: metadata.uid.clone().unwrap_or_default(),
        resource_version: metadata.resource_version.clone(),
        creation_timestamp: metadata.creation_timestamp.as_ref().map(text),
        deletion_timestamp: metadata.deletion_timestamp.as_ref().map(text),
        labels: metadata.labels.clone().unwrap_or_default(),
        annotations: metadata.annotations.clone().unwrap_or_default(),
        owner_references: metadata.owner_references.iter().flatten().map(plain_owner).collect(),
        finalizers: metadata.finalizers.clone().unwrap_or_default(),
    }
}

/// Takes labels, annotations, finalizers and owners from a decision; the rest of the client's metadata stays.
pub fn set_plain_meta(metadata: &mut ObjectMeta, plain: &meta::ObjectMeta) {
    metadata.labels = Some(plain.labels.clone()).filter(|labels| !labels.is_empty());
    metadata.annotations = Some(plain.annotations.clone()).filter(|annotations| !annotations.is_empty());
    metadata.finalizers = Some(plain.finalizers.clone()).filter(|finalizers| !finalizers.is_empty());
    let owners: Vec<OwnerReference> = plain.owner_references.iter().map(owner).collect();
    metadata.owner_references = Some(owners).filter(|owners| !owners.is_empty());
}

fn owner(plain: &meta::OwnerReference) -> OwnerReference {
    OwnerReference {
        api_version: plain.api_version.clone(),
        kind: plain.kind.clone(),
        name: plain.name.clone(),
        uid: plain.uid.clone(),
        controller: plain.controller,
        block_owner_deletion: plain.block_owner_deletion,
    }
}

fn text(time: &Time) -> String {
    time.0.to_string()
}

fn plain_owner(owner: &OwnerReference) -> meta::OwnerReference {
    meta::OwnerReference {
        api_version: owner.api_version.clone(),
        kind: owner.kind.clone(),
        name: owner.name.clone(),
        uid: owner.uid.clone(),
        controller: owner.controller,
        block_owner_deletion: owner.block_owner_deletion,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polynic_api::spider::endpoint::Endpoint;
    use polynic_api::spider::multus_config::MultusConfig;
    use polynic_api::spider::pool::IPPool;
    use serde_json::json;

    #[test]
    fn paths_are_those_of_the_kinds() {
        assert_eq!(
            Stored::<IPPool>::url_path(&(), None),
            "/apis/spiderpool.spidernet.io/v2beta1/spiderippools"
        );
        assert_eq!(
            Stored::<MultusConfig>::url_path(&(), Some("a")),
            "/apis/spiderpool.spidernet.io/v2beta1/namespaces/a/spidermultusconfigs"
        );
    }

    #[test]
    fn an_object_is_written_as_it_was_read_and_plain_for_decisions() {
        let object = json!({
            "apiVersion": API_VERSION, "kind": "SpiderEndpoint",
            "metadata": {"name": "web-0", "namespace": "a", "uid": "u", "resourceVersion": "7", "generation": 3,
                         "deletionTimestamp": "2026-01-02T03:04:05Z", "finalizers": ["f"],
                         "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "web-0", "uid": "p"}]},
            "status": {"current": {"uid": "p", "node": "n", "ips": []}, "ownerControllerType": "Pod", "ownerControllerName": "web-0"},
        });
        let stored: Stored<Endpoint> = serde_json::from_value(object.clone()).unwrap();
        assert_eq!(serde_json::to_value(&stored).unwrap(), object);
        let plain = stored.plain();
        assert!(plain.metadata.is_terminating() && plain.metadata.has_finalizer("f"));
        assert_eq!(plain.metadata.deletion_timestamp.as_deref(), Some("2026-01-02T03:04:05Z"));
        assert_eq!(plain.metadata.owner_references[0].uid, "p");
        let mut written = stored.clone();
        set_plain_meta(&mut written.metadata, &plain.metadata);
        assert_eq!(written, stored);
    }
}
