//! StatefulSets: pods with numbers that keep their names, come in order, go in reverse, and are renewed from the last one down.
//!
//! Volume claims are made and stay unbound: the lab has no storage, and its kubelet mounts nothing.

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, PodTemplateSpec};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::action::{Action, Kind, Note, Target};
use super::revision::History;
use super::snapshot::Snapshot;
use super::{meta, pod_facts, pod_template};

/// The label with the name of a pod's revision.
const REVISION: &str = "controller-revision-hash";

/// What to do about all of them.
pub fn decide(world: &Snapshot) -> Vec<Action> {
    let alive = world.stateful_sets.iter().filter(|set| !meta::is_ending(*set));
    alive
        .filter_map(|set| Some((set, set.spec.as_ref()?)))
        .flat_map(|(set, spec)| one(world, set, spec))
        .collect()
}

/// A set and its pods.
struct Case<'a> {
    world: &'a Snapshot,
    set: &'a StatefulSet,
    spec: &'a StatefulSetSpec,
    history: History<'a>,
    /// Pods by number, lowest first.
    pods: Vec<(i32, &'a Pod)>,
}

fn one(world: &Snapshot, set: &StatefulSet, spec: &StatefulSetSpec) -> Vec<Action> {
    let (pods, mut actions) = meta::claim((Kind::StatefulSet, set), (Kind::Pod, &world.pods), &spec.selector);
    let mut pods: Vec<(i32, &Pod)> =
        pods.into_iter().filter_map(|pod| Some((ordinal(set, pod)?, pod))).collect();
    pods.sort_by_key(|(number, _)| *number);
    let history = History::of(&world.revisions, set, &spec.template);
    let case = Case { world, set, spec, history, pods };
    actions.extend(case.history.record(Kind::StatefulSet, set, &spec.template));
    actions.extend(case.step());
    actions.extend(case.status());
    let used = case.pods.iter().filter_map(|(_, pod)| pod_facts::label(pod, REVISION)).map(str::to_owned);
    let used: Vec<String> = used.chain([case.current()]).collect();
    actions.extend(case.history.clean_up(spec.revision_history_limit, &used));
    actions
}

/// The number at the end of a pod's name.
fn ordinal(set: &StatefulSet, pod: &Pod) -> Option<i32> {
    pod.name_any().strip_prefix(&format!("{}-", set.name_any()))?.parse().ok()
}

impl Case<'_> {
    fn start(&self) -> i32 {
        self.spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0)
    }

    /// One past the highest number.
    fn end(&self) -> i32 {
        self.start() + self.spec.replicas.unwrap_or(1)
    }

    fn is_parallel(&self) -> bool {
        self.spec.pod_management_policy.as_deref() == Some("Parallel")
    }

    fn pod(&self, number: i32) -> Option<&Pod> {
        self.pods.iter().find(|(n, _)| *n == number).map(|(_, pod)| *pod)
    }

    /// The revision that all pods had when the last rollout was complete.
    fn current(&self) -> String {
        let posted = self.set.status.as_ref().and_then(|status| status.current_revision.clone());
        posted.filter(|name| !name.is_empty()).unwrap_or_else(|| self.history.name.clone())
    }

    /// Numbers from here on are renewed; those below keep the current revision.
    fn partition(&self) -> i32 {
        let strategy =
            self.spec.update_strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
        strategy.and_then(|rolling| rolling.partition).unwrap_or(0)
    }

    fn target(&self) -> Target {
        Target::of(Kind::StatefulSet, self.set)
    }

    /// Makes what is missing, then removes what is too much, then renews what is old: one pod at a time, unless told otherwise.
    fn step(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        for number in self.start()..self.end() {
            match self.pod(number) {
                None => actions.extend(self.create(number)),
                Some(pod) if pod_facts::has_ended(pod) && !meta::is_ending(pod) => {
                    actions.push(Action::delete(Target::of(Kind::Pod, pod)));
                }
                Some(pod) if self.is_parallel() || pod_facts::is_healthy(pod) => continue,
                Some(_) => return actions,
            }
            if !self.is_parallel() {
                return actions;
            }
        }
        actions.extend(self.remove_surplus());
        if actions.is_empty() { self.renew() } else { actions }
    }

    fn remove_surplus(&self) -> Vec<Action> {
        let mut surplus: Vec<&Pod> = self
            .pods
            .iter()
            .rev()
            .filter(|(n, _)| !(self.start()..self.end()).contains(n))
            .map(|(_, pod)| *pod)
            .collect();
        if !self.is_parallel() {
            surplus.truncate(1);
        }
        surplus.into_iter().filter(|pod| !meta::is_ending(*pod)).map(|pod| self.delete(pod)).collect()
    }

    fn renew(&self) -> Vec<Action> {
        let strategy = self.spec.update_strategy.as_ref().and_then(|strategy| strategy.type_.as_deref());
        if strategy == Some("OnDelete") {
            return Vec::new();
        }
        for (number, pod) in self.pods.iter().rev().filter(|(n, _)| *n >= self.partition()) {
            if pod_facts::label(pod, REVISION) != Some(&self.history.name) {
                let already = meta::is_ending(*pod);
                return if already { Vec::new() } else { vec![self.delete(pod)] };
            }
            if !self.serves(pod) {
                tracing::trace!(set = %self.set.name_any(), number, "waits for its pod");
                return Vec::new();
            }
        }
        Vec::new()
    }

    fn serves(&self, pod: &Pod) -> bool {
        pod_facts::is_healthy(pod)
            && pod_facts::is_available(pod, self.spec.min_ready_seconds, self.world.now)
    }

    fn delete(&self, pod: &Pod) -> Action {
        Action::delete(Target::of(Kind::Pod, pod))
    }

    /// The template and revision that a new pod of this number gets.
    fn template(&self, number: i32) -> (PodTemplateSpec, String) {
        let current = self.current();
        if number < self.partition()
            && let Some(template) = self.history.template(&current)
        {
            return (template, current);
        }
        (self.spec.template.clone(), self.history.name.clone())
    }

    /// The claims of a pod, which outlive it, and the pod.
    fn create(&self, number: i32) -> Vec<Action> {
        let templates = self.spec.volume_claim_templates.iter().flatten();
        let mut actions: Vec<Action> = templates.map(|template| self.claim(template, number)).collect();
        actions.push(self.create_pod(number));
        actions
    }

    fn claim(&self, template: &PersistentVolumeClaim, number: i32) -> Action {
        let mut object = json!(template);
        object["metadata"]["name"] = json!(self.claim_name(&template.name_any(), number));
        for (key, value) in self.spec.selector.match_labels.iter().flatten() {
            object["metadata"]["labels"][key] = json!(value);
        }
        let namespace = self.set.namespace().unwrap_or_default();
        Action::Create { kind: Kind::PersistentVolumeClaim, namespace, object }
    }

    fn claim_name(&self, template: &str, number: i32) -> String {
        format!("{template}-{}-{number}", self.set.name_any())
    }

    /// The volumes of a pod: one for each claim, and what else the template has.
    fn volumes(&self, template: &PodTemplateSpec, number: i32) -> Vec<Value> {
        let claims = self.spec.volume_claim_templates.iter().flatten().map(ResourceExt::name_any);
        let claims: Vec<String> = claims.collect();
        let own = claims.iter().map(|name| {
            json!({"name": name, "persistentVolumeClaim": {"claimName": self.claim_name(name, number)}})
        });
        let others = template.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let others = others.filter(|volume| !claims.contains(&volume.name)).map(|volume| json!(volume));
        own.chain(others).collect()
    }

    fn create_pod(&self, number: i32) -> Action {
        let name = format!("{}-{number}", self.set.name_any());
        let (template, revision) = self.template(number);
        let mut object = pod_template::pod(&template, &meta::reference(Kind::StatefulSet, self.set));
        object["metadata"]["name"] = json!(name);
        object["metadata"]["labels"][REVISION] = json!(revision);
        object["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] = json!(name);
        object["metadata"]["labels"]["apps.kubernetes.io/pod-index"] = json!(number.to_string());
        object["spec"]["hostname"] = json!(name);
        if self.spec.volume_claim_templates.as_ref().is_some_and(|claims| !claims.is_empty()) {
            object["spec"]["volumes"] = self.volumes(&template, number).into();
        }
        if let Some(service) = &self.spec.service_name {
            object["spec"]["subdomain"] = json!(service);
        }
        let namespace = self.set.namespace().unwrap_or_default();
        Action::Create { kind: Kind::Pod, namespace, object }
    }

    fn status(&self) -> Vec<Action> {
        let of = |revision: &str| {
            let has =
                |pod: &&&Pod| pod_facts::label(pod, REVISION) == Some(revision) && pod_facts::is_active(pod);
            self.pods.iter().map(|(_, pod)| pod).filter(has).count()
        };
        let count = |fits: &dyn Fn(&Pod) -> bool| self.pods.iter().filter(|(_, pod)| fits(pod)).count();
        let total = count(&|pod| !pod_facts::has_ended(pod));
        let (ready, available) = (count(&pod_facts::is_healthy), count(&|pod| self.serves(pod)));
        let update = self.history.name.clone();
        let wanted = usize::try_from(self.end() - self.start()).unwrap_or(0);
        let complete =
            self.partition() <= self.start() && of(&update) == wanted && ready == wanted && total == wanted;
        let current = if complete { update.clone() } else { self.current() };
        let status = json!({
            "replicas": total, "readyReplicas": ready, "availableReplicas": available,
            "currentReplicas": of(&current), "updatedReplicas": of(&update),
            "currentRevision": current, "updateRevision": update,
            "observedGeneration": self.set.metadata.generation, "collisionCount": 0,
        });
        self.post(&status).into_iter().chain(self.news(complete)).collect()
    }

    fn post(&self, status: &Value) -> Option<Action> {
        let posted =
            self.set.status.as_ref().and_then(|status| serde_json::to_value(status).ok()).unwrap_or_default();
        let plain = |value: &Value| if *value == 0 { Value::Null } else { value.clone() };
        let differs = status.as_object()?.iter().any(|(key, value)| plain(&posted[key]) != plain(value));
        differs.then(|| Action::status(self.target(), status.clone()))
    }

    /// An event when a rollout ends.
    fn news(&self, complete: bool) -> Option<Action> {
        let ended = complete && self.current() != self.history.name;
        ended.then(|| {
            Note::normal(
                self.target(),
                "RolloutComplete",
                format!("all pods have revision {}", self.history.name),
            )
        })
    }
}

#[cfg(test)]
mod tests;
