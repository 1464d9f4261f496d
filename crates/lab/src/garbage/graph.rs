//! Who owns whom, and what follows from it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::ApiResource;
use serde_json::{Value, json};

/// The finalizer of an object that waits until what it owns is gone.
const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an object that goes without what it owns.
const ORPHAN: &str = "orphan";

/// A kind by group and name, whatever its version.
pub fn kind_of(group: &str, kind: &str) -> String {
    format!("{group}/{kind}")
}

/// One owner of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its kind, as [`kind_of`] writes it.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The reference as it was.
    reference: Value,
}

impl Owner {
    /// The reference, to be written again.
    pub fn reference(&self) -> Value {
        self.reference.clone()
    }
}

/// An object, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its kind.
    pub kind: String,
    /// Its namespace; empty for cluster-wide kinds.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its owners.
    pub owners: Vec<Owner>,
    /// What holds up its deletion.
    pub finalizers: Vec<String>,
    /// Whether its deletion has begun.
    pub ending: bool,
}

impl Item {
    /// From the metadata of an object of a kind.
    pub fn of(kind: &str, meta: &ObjectMeta) -> Item {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let owners = meta.owner_references.iter().flatten().map(|owner| Owner {
            kind: kind_of(owner.api_version.split_once('/').map_or("", |(group, _)| group), &owner.kind),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
            reference: serde_json::to_value(owner).unwrap_or_else(|_| json!({})),
        });
        Item {
            kind: kind.to_owned(),
            namespace: text(&meta.namespace),
            name: text(&meta.name),
            uid: text(&meta.uid),
            owners: owners.collect(),
            finalizers: meta.finalizers.clone().unwrap_or_default(),
            ending: meta.deletion_timestamp.is_some(),
        }
    }

    fn waits(&self, finalizer: &str) -> bool {
        self.ending && self.finalizers.iter().any(|one| one == finalizer)
    }
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Delete an object that has no owner any more, or (in the foreground) whose owner waits for it.
    Delete {
        /// Which.
        item: Item,
        /// What it owns goes first.
        foreground: bool,
    },
    /// Take a finalizer away.
    Finish {
        /// From which object.
        item: Item,
        /// Which.
        finalizer: &'static str,
    },
    /// Take an owner away.
    Disown {
        /// From which object.
        item: Item,
        /// The owner's uid.
        owner: String,
    },
}

/// How a kind is served, and whether its objects live in namespaces.
type Served = (ApiResource, bool);

/// All objects.
#[derive(Debug, Default)]
pub struct Graph {
    items: BTreeMap<String, Item>,
    kinds: BTreeMap<String, Served>,
    /// Kinds of which all objects have been seen.
    complete: BTreeSet<String>,
    /// Uids seen since a listing of their kind began.
    listed: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// These kinds are served, and no others.
    pub fn serve(&mut self, kinds: impl Iterator<Item = String>) {
        let kinds: BTreeSet<String> = kinds.collect();
        self.kinds.retain(|kind, _| kinds.contains(kind));
        self.complete.retain(|kind| kinds.contains(kind));
        self.items.retain(|_, item| kinds.contains(&item.kind));
    }

    /// How a kind is served.
    pub fn learn(&mut self, kind: &str, resource: ApiResource, namespaced: bool) {
        self.kinds.insert(kind.to_owned(), (resource, namespaced));
    }

    /// How a kind is served.
    pub fn resource(&self, kind: &str) -> Option<Served> {
        self.kinds.get(kind).cloned()
    }

    /// A listing of a kind begins.
    pub fn begin(&mut self, kind: &str) {
        self.listed.insert(kind.to_owned(), BTreeSet::new());
    }

    /// A listing of a kind is complete: what was not in it is not there.
    pub fn complete(&mut self, kind: &str) {
        let listed = self.listed.remove(kind).unwrap_or_default();
        self.items.retain(|uid, item| item.kind != kind || listed.contains(uid));
        self.complete.insert(kind.to_owned());
    }

    /// An object is there.
    pub fn put(&mut self, item: Item) {
        if let Some(listed) = self.listed.get_mut(&item.kind) {
            listed.insert(item.uid.clone());
        }
        self.items.insert(item.uid.clone(), item);
    }

    /// An object is gone.
    pub fn remove(&mut self, uid: &str) {
        self.items.remove(uid);
    }

    /// What follows.
    pub fn decide(&self) -> Vec<Task> {
        self.items.values().flat_map(|item| self.about(item)).collect()
    }

    fn about(&self, item: &Item) -> Vec<Task> {
        if item.waits(ORPHAN) {
            return self.orphan(item);
        }
        if item.waits(FOREGROUND) {
            return self.after_dependents(item);
        }
        if item.ending || item.owners.is_empty() {
            return Vec::new();
        }
        let gone =
            |owner: &Owner| self.complete.contains(&owner.kind) && !self.items.contains_key(&owner.uid);
        let waiting = |owner: &Owner| self.items.get(&owner.uid).is_some_and(|owner| owner.waits(FOREGROUND));
        if !item.owners.iter().all(|owner| gone(owner) || waiting(owner)) {
            return Vec::new();
        }
        let foreground = item.owners.iter().any(waiting);
        vec![Task::Delete { item: item.clone(), foreground }]
    }

    fn dependents<'a>(&'a self, owner: &'a Item) -> impl Iterator<Item = &'a Item> {
        self.items.values().filter(|item| item.owners.iter().any(|one| one.uid == owner.uid))
    }

    fn orphan(&self, item: &Item) -> Vec<Task> {
        let disown = |dependent: &Item| Task::Disown { item: dependent.clone(), owner: item.uid.clone() };
        let tasks: Vec<Task> = self.dependents(item).map(disown).collect();
        if tasks.is_empty() { vec![Task::Finish { item: item.clone(), finalizer: ORPHAN }] } else { tasks }
    }

    fn after_dependents(&self, item: &Item) -> Vec<Task> {
        if self.dependents(item).next().is_some() {
            return Vec::new();
        }
        vec![Task::Finish { item: item.clone(), finalizer: FOREGROUND }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: &str = "apps/ReplicaSet";

    fn item(kind: &str, name: &str, over: Value) -> Item {
        let mut meta = json!({"name": name, "namespace": "n", "uid": name});
        for (key, value) in over.as_object().unwrap() {
            meta[key] = value.clone();
        }
        Item::of(kind, &serde_json::from_value(meta).unwrap())
    }

    fn owned(name: &str, owners: &[&str]) -> Item {
        let references: Vec<Value> = owners
            .iter()
            .map(|uid| json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": uid, "uid": uid}))
            .collect();
        item("/Pod", name, json!({"ownerReferences": references}))
    }

    fn ending(finalizer: &str) -> Item {
        let over = json!({"deletionTimestamp": "1970-01-01T00:00:00Z", "finalizers": [finalizer]});
        item(SET, "set", over)
    }

    fn graph(items: &[Item]) -> Graph {
        let mut graph = Graph::default();
        for kind in [SET, "/Pod"] {
            graph.begin(kind);
            items.iter().filter(|item| item.kind == kind).for_each(|item| graph.put(item.clone()));
            graph.complete(kind);
        }
        graph
    }

    fn told(graph: &Graph) -> Vec<String> {
        let line = |task: Task| match task {
            Task::Delete { item, foreground } => format!("delete {} {foreground}", item.name),
            Task::Finish { item, finalizer } => format!("finish {} {finalizer}", item.name),
            Task::Disown { item, owner } => format!("disown {} {owner}", item.name),
        };
        graph.decide().into_iter().map(line).collect()
    }

    #[test]
    fn what_has_lost_all_its_owners_goes() {
        let set = item(SET, "set", json!({}));
        let graph =
            graph(&[set, owned("kept", &["set", "gone"]), owned("lost", &["gone"]), owned("free", &[])]);
        assert_eq!(told(&graph), ["delete lost false"]);
    }

    #[test]
    fn an_owner_of_a_kind_that_was_not_listed_counts_as_there() {
        let mut graph = graph(&[owned("pod", &["gone"])]);
        graph.complete.remove(SET);
        assert_eq!(told(&graph), [] as [&str; 0]);
    }

    #[test]
    fn in_the_foreground_what_is_owned_goes_first() {
        let mut graph = graph(&[ending(FOREGROUND), owned("pod", &["set"])]);
        assert_eq!(told(&graph), ["delete pod true"]);
        graph.remove("pod");
        assert_eq!(told(&graph), ["finish set foregroundDeletion"]);
    }

    #[test]
    fn orphans_lose_their_owner_and_stay() {
        let mut graph = graph(&[ending(ORPHAN), owned("pod", &["set"])]);
        assert_eq!(told(&graph), ["disown pod set"]);
        graph.put(owned("pod", &[]));
        assert_eq!(told(&graph), ["finish set orphan"]);
    }

    #[test]
    fn a_new_listing_forgets_what_is_not_in_it() {
        let mut graph = graph(&[item(SET, "set", json!({})), owned("pod", &["set"])]);
        graph.begin(SET);
        graph.complete(SET);
        assert_eq!(told(&graph), ["delete pod false"]);
    }
}
