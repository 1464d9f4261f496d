//! What controllers decide: requests to the API server, as data.

use k8s_openapi::api::{apps, core, discovery};
use kube::Resource;
use kube::core::ApiResource;
use serde_json::Value;

/// A kind that controllers write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// core/v1
    Pod,
    /// core/v1
    Node,
    /// core/v1
    Service,
    /// core/v1
    Endpoints,
    /// core/v1
    ServiceAccount,
    /// core/v1
    PersistentVolumeClaim,
    /// apps/v1
    Deployment,
    /// apps/v1
    ReplicaSet,
    /// apps/v1
    StatefulSet,
    /// apps/v1
    DaemonSet,
    /// apps/v1
    ControllerRevision,
    /// discovery.k8s.io/v1
    EndpointSlice,
}

impl Kind {
    /// How it is served.
    #[allow(deprecated, reason = "clients still read Endpoints")]
    pub fn resource(self) -> ApiResource {
        match self {
            Kind::Pod => ApiResource::erase::<core::v1::Pod>(&()),
            Kind::Node => ApiResource::erase::<core::v1::Node>(&()),
            Kind::Service => ApiResource::erase::<core::v1::Service>(&()),
            Kind::Endpoints => ApiResource::erase::<core::v1::Endpoints>(&()),
            Kind::ServiceAccount => ApiResource::erase::<core::v1::ServiceAccount>(&()),
            Kind::PersistentVolumeClaim => ApiResource::erase::<core::v1::PersistentVolumeClaim>(&()),
            Kind::Deployment => ApiResource::erase::<apps::v1::Deployment>(&()),
            Kind::ReplicaSet => ApiResource::erase::<apps::v1::ReplicaSet>(&()),
            Kind::StatefulSet => ApiResource::erase::<apps::v1::StatefulSet>(&()),
            Kind::DaemonSet => ApiResource::erase::<apps::v1::DaemonSet>(&()),
            Kind::ControllerRevision => ApiResource::erase::<apps::v1::ControllerRevision>(&()),
            Kind::EndpointSlice => ApiResource::erase::<discovery::v1::EndpointSlice>(&()),
        }
    }
}

/// An object by kind, place and uid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty for cluster-wide kinds.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid: another object of that name is not meant.
    pub uid: String,
    /// Its version when it was looked at. A patch is for that one: what was decided about an older one may be wrong by now.
    pub version: String,
}

impl Target {
    /// The target that an object is.
    pub fn of<K: Resource>(kind: Kind, object: &K) -> Target {
        let meta = object.meta();
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        Target {
            kind,
            namespace: text(&meta.namespace),
            name: text(&meta.name),
            uid: text(&meta.uid),
            version: text(&meta.resource_version),
        }
    }
}

/// Which part of an object a patch is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everything but the status.
    Main,
    /// The status.
    Status,
}

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Make an object, in a namespace unless its kind is cluster-wide.
    Create {
        /// Its kind.
        kind: Kind,
        /// Its namespace.
        namespace: String,
        /// The object.
        object: Value,
    },
    /// Change an object by a merge patch.
    Patch {
        /// Which.
        target: Target,
        /// Which part of it.
        part: Part,
        /// The patch.
        patch: Value,
    },
    /// Delete an object.
    Delete {
        /// Which.
        target: Target,
        /// Seconds it is given to end; its own number if absent.
        grace: Option<u32>,
    },
    /// Give a pod its node.
    Bind {
        /// The pod.
        pod: Target,
        /// The node's name.
        node: String,
    },
    /// Write an event.
    Tell(Note),
}

impl Action {
    /// A patch of the status.
    pub fn status(target: Target, status: Value) -> Action {
        Action::Patch { target, part: Part::Status, patch: serde_json::json!({ "status": status }) }
    }

    /// A patch of everything else.
    pub fn patch(target: Target, patch: Value) -> Action {
        Action::Patch { target, part: Part::Main, patch }
    }

    /// A deletion with the object's own grace.
    pub fn delete(target: Target) -> Action {
        Action::Delete { target, grace: None }
    }
}

/// An event about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The object.
    pub about: Target,
    /// `Warning` instead of `Normal`.
    pub warning: bool,
    /// The reason, in one word.
    pub reason: &'static str,
    /// The message.
    pub message: String,
}

impl Note {
    /// An event that tells what was done.
    pub fn normal(about: Target, reason: &'static str, message: String) -> Action {
        Action::Tell(Note { about, warning: false, reason, message })
    }

    /// An event that tells what is wrong.
    pub fn warning(about: Target, reason: &'static str, message: String) -> Action {
        Action::Tell(Note { about, warning: true, reason, message })
    }
}
