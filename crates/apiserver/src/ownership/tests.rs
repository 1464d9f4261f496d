use serde_json::{Value, json};

use super::*;
use crate::schema::Node;

const NOW: &str = "2026-01-01T00:00:00Z";
const LATER: &str = "2026-01-01T00:00:09Z";

fn schema() -> Node {
    let container = json!({"properties": {"name": {}, "image": {}, "args": {"items": {}},
        "ports": {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"],
                  "items": {"properties": {"port": {}, "protocol": {"default": "TCP"}}}}}});
    Node::parse(&json!({"properties": {
        "apiVersion": {}, "kind": {},
        "metadata": {"properties": {"name": {}, "labels": {"additionalProperties": {}}, "annotations": {"additionalProperties": {}},
            "finalizers": {"x-kubernetes-list-type": "set", "items": {}}}},
        "spec": {"properties": {"replicas": {}, "selector": {"x-kubernetes-map-type": "atomic", "properties": {"a": {}}},
            "containers": {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": container}}},
        "status": {"properties": {"phase": {}}},
    }}))
}

/// A small world in which managers write one object.
struct World {
    schema: Node,
    object: Value,
    reset: Set,
    now: &'static str,
}

impl World {
    fn new() -> Self {
        Self { schema: schema(), object: json!({"metadata": {}}), reset: Set::of(&["status"]), now: NOW }
    }

    fn write<'a>(&'a self, manager: &'a str) -> Write<'a> {
        Write {
            manager,
            version: "apps/v1",
            subresource: "",
            now: self.now,
            shape: Shape::of(Some(&self.schema)),
            zero: &Value::Null,
            reset: &self.reset,
        }
    }

    fn stored(&mut self, object: Value) {
        self.object = object;
        self.object["metadata"]["uid"] = json!("u");
    }

    fn apply(&mut self, manager: &str, config: Value, force: bool) -> Result<(), ApplyError> {
        let object = apply(&self.object, &config, force, &self.write(manager))?;
        self.stored(object);
        Ok(())
    }

    fn update(&mut self, manager: &str, edit: impl FnOnce(&mut Value)) {
        let mut new = self.object.clone();
        edit(&mut new);
        let object = update(&self.object, new, &self.write(manager));
        self.stored(object);
    }

    fn owned(&self, manager: &str) -> Value {
        let entries = self.object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        entries.iter().find(|e| e["manager"] == manager).map_or(Value::Null, |e| e["fieldsV1"].clone())
    }
}

fn conflicts(result: Result<(), ApplyError>) -> Vec<String> {
    match result {
        Err(ApplyError::Conflicts(found)) => found.iter().map(Conflict::field).collect(),
        other => panic!("no conflicts: {other:?}"),
    }
}

#[test]
fn an_apply_owns_what_it_says_and_no_more() {
    let mut world = World::new();
    let config = json!({"apiVersion": "apps/v1", "metadata": {"name": "a", "labels": {"l": "1"}}, "spec": {
        "replicas": 1, "selector": {"a": 1}, "containers": [{"name": "c", "image": "i", "args": ["x"], "ports": [{"port": 80}]}]}});
    world.apply("m", config, false).unwrap();
    let container = json!({".": {}, "f:name": {}, "f:image": {}, "f:args": {},
        "f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}}});
    let spec = json!({"f:replicas": {}, "f:selector": {}, "f:containers": {"k:{\"name\":\"c\"}": container}});
    assert_eq!(world.owned("m"), json!({"f:metadata": {"f:labels": {"f:l": {}}}, "f:spec": spec}));
    let entry = &world.object["metadata"]["managedFields"][0];
    assert_eq!(
        (&entry["operation"], &entry["apiVersion"], &entry["time"]),
        (&json!("Apply"), &json!("apps/v1"), &json!(NOW))
    );
}

#[test]
fn what_is_not_applied_any_more_goes_unless_somebody_else_wants_it() {
    let mut world = World::new();
    world.apply("m", json!({"metadata": {"labels": {"a": "1", "b": "1", "c": "1"}}}), false).unwrap();
    world.apply("n", json!({"metadata": {"labels": {"b": "1"}}}), false).unwrap();
    world.apply("m", json!({"metadata": {"labels": {"a": "1"}}}), false).unwrap();
    assert_eq!(world.object["metadata"]["labels"], json!({"a": "1", "b": "1"}));
    world.apply("n", json!({"metadata": {}}), false).unwrap();
    world.apply("m", json!({"metadata": {}}), false).unwrap();
    assert!(world.object["metadata"].get("labels").is_none(), "{}", world.object);
    assert!(world.object["metadata"].get("managedFields").is_none());
}

#[test]
fn an_element_goes_with_its_only_applier_whoever_owns_something_in_it() {
    let mut world = World::new();
    let containers = json!([{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]);
    world.apply("m", json!({"spec": {"containers": containers}}), false).unwrap();
    world.apply("n", json!({"spec": {"containers": [{"name": "a"}]}}), false).unwrap();
    world.update("u", |object| object["spec"]["containers"][1]["args"] = json!(["x"]));
    world.apply("m", json!({"spec": {"replicas": 1}}), false).unwrap();
    assert_eq!(world.object["spec"]["containers"], json!([{"name": "a"}]));
    assert_eq!(world.owned("u"), Value::Null);
}

#[test]
fn a_field_of_another_is_a_conflict_until_it_is_taken_by_force() {
    let mut world = World::new();
    world.apply("m", json!({"spec": {"replicas": 1}}), false).unwrap();
    world.apply("n", json!({"spec": {"replicas": 1}}), false).unwrap();
    let result = world.apply("n", json!({"spec": {"replicas": 2}}), false);
    assert_eq!(
        result.clone().unwrap_err().to_string(),
        "Apply failed with 1 conflict: conflict with \"m\": .spec.replicas"
    );
    assert_eq!(conflicts(result), [".spec.replicas"]);
    world.apply("n", json!({"spec": {"replicas": 2}}), true).unwrap();
    assert_eq!((world.owned("m"), &world.object["spec"]["replicas"]), (Value::Null, &json!(2)));
}

#[test]
fn conflicts_with_several_are_listed_by_manager() {
    let mut world = World::new();
    world.apply("m", json!({"spec": {"replicas": 1}}), false).unwrap();
    world.update("u", |object| object["metadata"]["labels"] = json!({"a": "1", "b": "1"}));
    let config = json!({"metadata": {"labels": {"a": "2", "b": "2"}}, "spec": {"replicas": 2}});
    let message = world.apply("n", config, false).unwrap_err().to_string();
    let wanted = "Apply failed with 3 conflicts: conflicts with \"m\":\n- .spec.replicas\n\
        conflicts with \"u\" using apps/v1:\n- .metadata.labels.a\n- .metadata.labels.b";
    assert_eq!(message, wanted);
}

#[test]
fn an_update_takes_what_it_changes_and_leaves_the_rest() {
    let mut world = World::new();
    world.apply("m", json!({"spec": {"replicas": 1}, "metadata": {"labels": {"a": "1"}}}), false).unwrap();
    world.update("u", |object| object["spec"]["replicas"] = json!(5));
    assert_eq!(world.owned("m"), json!({"f:metadata": {"f:labels": {"f:a": {}}}}));
    assert_eq!(world.owned("u"), json!({"f:spec": {"f:replicas": {}}}));
    world.update("u", |object| drop(object["metadata"].as_object_mut().unwrap().remove("labels")));
    assert_eq!(world.owned("m"), Value::Null);
}

#[test]
fn what_the_way_of_writing_puts_back_is_not_owned() {
    let mut world = World::new();
    world.update("u", |object| {
        *object = json!({"metadata": {}, "spec": {"replicas": 1}, "status": {"phase": "x"}})
    });
    assert_eq!(world.owned("u"), json!({"f:spec": {".": {}, "f:replicas": {}}}));
}

#[test]
fn an_empty_list_of_entries_ends_tracking_until_the_next_apply() {
    let mut world = World::new();
    world.update("u", |object| *object = json!({"metadata": {}, "spec": {"replicas": 1}}));
    world.update("u", |object| object["metadata"]["managedFields"] = json!([]));
    assert!(world.object["metadata"].get("managedFields").is_none());
    world.update("u", |object| object["spec"]["replicas"] = json!(2));
    assert!(world.object["metadata"].get("managedFields").is_none());
    let result = world.apply("m", json!({"spec": {"replicas": 3}}), false);
    assert!(result.unwrap_err().to_string().contains("\"before-first-apply\" using apps/v1"));
}

#[test]
fn an_apply_that_changes_nothing_keeps_its_time() {
    let mut world = World::new();
    world.apply("m", json!({"spec": {"replicas": 1}}), false).unwrap();
    let before = world.object.clone();
    world.now = LATER;
    world.apply("m", json!({"spec": {"replicas": 1}}), false).unwrap();
    assert_eq!(world.object, before);
    world.update("u", |object| object["spec"]["replicas"] = json!(1));
    assert_eq!(world.object, before);
    world.apply("m", json!({"spec": {"replicas": 2}}), false).unwrap();
    assert!(!only_times_differ(&world.object, &before));
    assert_eq!(world.object["metadata"]["managedFields"][0]["time"], LATER);
}

#[test]
fn elements_of_a_set_have_owners_of_their_own() {
    let mut world = World::new();
    world.apply("m", json!({"metadata": {"finalizers": ["a/x", "a/y"]}}), false).unwrap();
    world.apply("n", json!({"metadata": {"finalizers": ["a/z"]}}), false).unwrap();
    assert_eq!(world.object["metadata"]["finalizers"], json!(["a/x", "a/y", "a/z"]));
    world.apply("m", json!({"metadata": {"finalizers": ["a/y"]}}), false).unwrap();
    assert_eq!(world.object["metadata"]["finalizers"], json!(["a/y", "a/z"]));
    assert_eq!(world.owned("n"), json!({"f:metadata": {"f:finalizers": {"v:\"a/z\"": {}}}}));
}

#[test]
fn kubectl_may_move_from_its_annotation_to_apply() {
    let mut world = World::new();
    let applied = json!({"apiVersion": "apps/v1", "metadata": {"annotations": {}}, "spec": {"replicas": 1}});
    world.update("kubectl-client-side-apply", |object| {
        *object = applied.clone();
        object["metadata"]["annotations"] =
            json!({"kubectl.kubernetes.io/last-applied-configuration": applied.to_string()});
    });
    world.apply("kubectl", json!({"apiVersion": "apps/v1", "spec": {"replicas": 2}}), false).unwrap();
    let annotation =
        &world.object["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"];
    assert_eq!(*annotation, json!("{\"apiVersion\":\"apps/v1\",\"spec\":{\"replicas\":2}}\n"));
    let mut other = World::new();
    other.update("edit", |object| *object = json!({"metadata": {}, "spec": {"replicas": 1}}));
    assert_eq!(
        conflicts(other.apply("kubectl", json!({"spec": {"replicas": 2}}), false)),
        [".spec.replicas"]
    );
}

#[test]
fn fields_that_the_type_has_not_are_named() {
    let mut world = World::new();
    let config = json!({"spec": {"replica": 1, "containers": [{"name": "c", "imag": "x"}]}});
    let message = world.apply("m", config, false).unwrap_err().to_string();
    let wanted = "errors:\n  .spec.containers[name=\"c\"].imag: field not declared in schema\n  .spec.replica: field not declared in schema";
    assert_eq!(message, wanted);
}
