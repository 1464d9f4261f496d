//! ControllerRevisions: the templates that a StatefulSet or DaemonSet has had, for `kubectl rollout history` and `undo`.

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use super::action::{Action, Kind, Target};
use super::{meta, pod_template};

/// The label with the hash of a revision's template.
const HASH: &str = "controller.kubernetes.io/hash";

/// The revisions of one owner.
pub struct History<'a> {
    /// All of them, oldest first.
    all: Vec<&'a ControllerRevision>,
    /// The hash of the present template.
    pub hash: String,
    /// The name of its revision.
    pub name: String,
}

impl<'a> History<'a> {
    /// The history of `owner`, whose template is `template` now.
    pub fn of<O: Resource<DynamicType = ()>>(
        all: &'a [ControllerRevision],
        owner: &O,
        template: &PodTemplateSpec,
    ) -> History<'a> {
        let mut own: Vec<&ControllerRevision> =
            all.iter().filter(|revision| meta::is_controlled_by(*revision, owner)).collect();
        own.sort_by_key(|revision| (revision.revision, revision.name_any()));
        let hash = pod_template::hash(template);
        let name = format!("{}-{hash}", owner.meta().name.as_deref().unwrap_or_default());
        History { all: own, hash, name }
    }

    fn present(&self) -> Option<&'a ControllerRevision> {
        self.all.iter().copied().find(|revision| revision.name_any() == self.name)
    }

    /// Makes sure that the present template has the highest number.
    pub fn record<O: Resource<DynamicType = ()>>(
        &self,
        kind: Kind,
        owner: &O,
        template: &PodTemplateSpec,
    ) -> Option<Action> {
        let next = self.all.last().map_or(0, |revision| revision.revision) + 1;
        let Some(present) = self.present() else { return Some(self.create(kind, owner, template, next)) };
        if self.all.last().is_some_and(|last| last.name_any() == self.name) {
            return None;
        }
        Some(Action::patch(Target::of(Kind::ControllerRevision, present), json!({"revision": next})))
    }

    fn create<O: Resource<DynamicType = ()>>(
        &self,
        kind: Kind,
        owner: &O,
        template: &PodTemplateSpec,
        number: i64,
    ) -> Action {
        let mut labels = template.metadata.as_ref().and_then(|meta| meta.labels.clone()).unwrap_or_default();
        labels.insert(HASH.into(), self.hash.clone());
        let mut content = serde_json::to_value(template).unwrap_or_default();
        content["$patch"] = json!("replace");
        let object = json!({
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": {"name": self.name, "labels": labels, "ownerReferences": [meta::reference(kind, owner)]},
            "revision": number,
            "data": {"spec": {"template": content}},
        });
        let namespace = owner.meta().namespace.clone().unwrap_or_default();
        Action::Create { kind: Kind::ControllerRevision, namespace, object }
    }

    /// The template of the revision `name`.
    pub fn template(&self, name: &str) -> Option<PodTemplateSpec> {
        let revision = self.all.iter().find(|revision| revision.name_any() == name)?;
        let mut content: Value = revision.data.as_ref()?.0.pointer("/spec/template")?.clone();
        content.as_object_mut()?.remove("$patch");
        serde_json::from_value(content).ok()
    }

    /// Deletes the oldest revisions above `limit` that no pod has and that are not the present one. `used` are their names.
    pub fn clean_up(&self, limit: Option<i32>, used: &[String]) -> Vec<Action> {
        let limit = usize::try_from(limit.unwrap_or(10)).unwrap_or(0);
        let idle: Vec<_> =
            self.all.iter().filter(|r| r.name_any() != self.name && !used.contains(&r.name_any())).collect();
        let surplus = idle.len().saturating_sub(limit);
        idle.into_iter()
            .take(surplus)
            .map(|r| Action::delete(Target::of(Kind::ControllerRevision, *r)))
            .collect()
    }
}
