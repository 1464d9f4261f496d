use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn pod() -> Option<&'static Node> {
    crate::schema::builtin("", "v1", "Pod")
}

fn json_patch(object: Value, patch: Value) -> Result<Value, PatchError> {
    apply(PatchType::Json, pod(), &object, &patch)
}

fn merge(object: Value, patch: Value) -> Value {
    apply(PatchType::Merge, pod(), &object, &patch).unwrap()
}

fn strategic(object: Value, patch: Value) -> Value {
    apply(PatchType::Strategic, pod(), &object, &patch).unwrap()
}

fn containers(names: &[&str]) -> Value {
    let list: Vec<Value> = names.iter().map(|n| json!({"name": n, "image": "a"})).collect();
    json!({"spec": {"containers": list}})
}

fn container_names(object: &Value) -> Vec<&str> {
    object["spec"]["containers"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect()
}

#[test]
fn json_patch_does_what_rfc_6902_lists() {
    // Cases of appendix A.
    let cases = [
        (
            json!({"foo": "bar"}),
            json!([{"op": "add", "path": "/baz", "value": "qux"}]),
            json!({"baz": "qux", "foo": "bar"}),
        ),
        (
            json!({"foo": ["bar", "baz"]}),
            json!([{"op": "add", "path": "/foo/1", "value": "qux"}]),
            json!({"foo": ["bar", "qux", "baz"]}),
        ),
        (
            json!({"foo": ["bar", "qux", "baz"]}),
            json!([{"op": "remove", "path": "/foo/1"}]),
            json!({"foo": ["bar", "baz"]}),
        ),
        (
            json!({"baz": "qux"}),
            json!([{"op": "replace", "path": "/baz", "value": "boo"}]),
            json!({"baz": "boo"}),
        ),
        (
            json!({"a": {"b": 1}, "c": {}}),
            json!([{"op": "move", "from": "/a/b", "path": "/c/d"}]),
            json!({"a": {}, "c": {"d": 1}}),
        ),
        (
            json!({"a": {"b": 1}}),
            json!([{"op": "copy", "from": "/a", "path": "/c"}]),
            json!({"a": {"b": 1}, "c": {"b": 1}}),
        ),
        (
            json!({"foo": ["bar"]}),
            json!([{"op": "add", "path": "/foo/-", "value": ["abc"]}]),
            json!({"foo": ["bar", ["abc"]]}),
        ),
        (
            json!({"/": 9, "~1": 10}),
            json!([{"op": "test", "path": "/~01", "value": 10}]),
            json!({"/": 9, "~1": 10}),
        ),
    ];
    for (object, patch, expected) in cases {
        assert_eq!(json_patch(object, patch.clone()).unwrap(), expected, "{patch}");
    }
}

#[test]
fn json_patch_names_what_does_not_fit() {
    let unfit = [
        json!([{"op": "remove", "path": "/b"}]),
        json!([{"op": "test", "path": "/a", "value": 2}]),
        json!([{"op": "add", "path": "/l/5", "value": 2}]),
        json!([{"op": "add", "path": "/l/01", "value": 2}]),
        json!([{"op": "add", "path": "/x/y", "value": 2}]),
        json!([{"op": "move", "from": "/a", "path": "/a/b"}]),
    ];
    for patch in unfit {
        let result = json_patch(json!({"a": 1, "l": []}), patch.clone());
        assert!(matches!(result, Err(PatchError::Unfit(_))), "{patch}");
    }
    for patch in [json!({}), json!([{"op": "add"}]), json!([1])] {
        let result = json_patch(json!({}), patch.clone());
        assert!(matches!(result, Err(PatchError::Malformed(_))), "{patch}");
    }
}

#[test]
fn copies_that_double_the_object_are_stopped() {
    let bomb: Vec<Value> =
        (0..64).map(|n| json!({"op": "copy", "from": "", "path": format!("/c{n}")})).collect();
    assert!(matches!(json_patch(json!({"a": "x"}), json!(bomb)), Err(PatchError::Unfit(_))));
}

#[test]
fn merge_patch_does_what_rfc_7386_lists() {
    let cases = [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
        (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
    ];
    for (object, patch, expected) in cases {
        assert_eq!(merge(object, patch.clone()), expected, "{patch}");
    }
}

#[test]
fn containers_merge_by_name_and_new_ones_are_appended() {
    let patch = json!({"spec": {"containers": [{"name": "b", "image": "new"}, {"name": "c", "image": "c"}]}});
    let result = strategic(containers(&["a", "b"]), patch);
    assert_eq!(container_names(&result), ["a", "b", "c"]);
    assert_eq!(result["spec"]["containers"][1]["image"], "new");
}

#[test]
fn environment_merges_inside_a_container() {
    let object = json!({"spec": {"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}]}]}});
    let patch = json!({"spec": {"containers": [{"name": "a", "env": [{"name": "Y", "value": "2"}]}]}});
    let env = &strategic(object, patch)["spec"]["containers"][0]["env"];
    assert_eq!(
        *env,
        json!([{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}]),
        "what is new comes first"
    );
}

#[test]
fn an_element_with_patch_delete_goes() {
    let patch = json!({"spec": {"containers": [{"name": "a", "$patch": "delete"}]}});
    assert_eq!(container_names(&strategic(containers(&["a", "b"]), patch)), ["b"]);
}

#[test]
fn patch_replace_replaces_lists_and_maps() {
    let patch = json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "z"}]}});
    assert_eq!(container_names(&strategic(containers(&["a", "b"]), patch)), ["z"]);
    let patch = json!({"metadata": {"labels": {"$patch": "replace", "k": "v"}}});
    let object = json!({"metadata": {"labels": {"old": "x"}}});
    assert_eq!(strategic(object, patch)["metadata"]["labels"], json!({"k": "v"}));
}

#[test]
fn set_element_order_orders_and_keeps_what_it_does_not_name() {
    let patch = json!({"spec": {
        "$setElementOrder/containers": [{"name": "c"}, {"name": "a"}],
        "containers": [{"name": "c", "image": "c"}],
    }});
    let result = strategic(containers(&["a", "b"]), patch);
    assert_eq!(container_names(&result), ["c", "a", "b"]);
}

#[test]
fn tolerations_are_atomic() {
    let object = json!({"spec": {"tolerations": [{"key": "a"}, {"key": "b"}]}});
    let patch = json!({"spec": {"tolerations": [{"key": "c"}]}});
    assert_eq!(strategic(object, patch)["spec"]["tolerations"], json!([{"key": "c"}]));
}

#[test]
fn finalizers_are_a_set_and_can_be_taken_out() {
    let object = json!({"metadata": {"finalizers": ["a", "b"]}});
    let patch = json!({"metadata": {"finalizers": ["b", "c"], "$deleteFromPrimitiveList/finalizers": ["a"]}});
    assert_eq!(strategic(object, patch)["metadata"]["finalizers"], json!(["b", "c"]));
}

#[test]
fn conditions_merge_by_type() {
    let object = json!({"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "x"}]}});
    let patch = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    let expected = json!([{"type": "Ready", "status": "True", "reason": "x"}]);
    assert_eq!(strategic(object, patch)["status"]["conditions"], expected);
}

#[test]
fn retain_keys_drops_the_alternative_source_of_a_volume() {
    let object = json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}});
    let volume = json!({"name": "v", "hostPath": {"path": "/x"}, "$retainKeys": ["name", "hostPath"]});
    let result = strategic(object, json!({"spec": {"volumes": [volume]}}));
    assert_eq!(result["spec"]["volumes"], json!([{"name": "v", "hostPath": {"path": "/x"}}]));
}

#[test]
fn templates_merge_like_pods() {
    let template = |list: Value| json!({"spec": {"template": {"spec": {"containers": list}}}});
    let object = template(json!([{"name": "a", "image": "1"}]));
    let patch = template(json!([{"name": "a", "image": "2"}]));
    let result =
        apply(PatchType::Strategic, crate::schema::builtin("apps", "v1", "Deployment"), &object, &patch)
            .unwrap();
    assert_eq!(result, patch);
}

#[test]
fn a_list_element_without_its_key_is_an_error() {
    let patch = json!({"spec": {"containers": [{"image": "x"}]}});
    let result = apply(PatchType::Strategic, pod(), &containers(&["a"]), &patch);
    assert!(matches!(result, Err(PatchError::Broken(text)) if text.contains("merge key: name")));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-c$/~]{0,4}".prop_map(Value::from),
    ];
    let key = prop_oneof![
        "[a-c]{1,2}",
        Just("spec".to_owned()),
        Just("containers".to_owned()),
        Just("metadata".to_owned()),
        Just("finalizers".to_owned()),
        Just("name".to_owned()),
        Just("$patch".to_owned()),
        Just("$retainKeys".to_owned()),
        Just("$setElementOrder/containers".to_owned()),
    ];
    leaf.prop_recursive(5, 48, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(map) => map.values().any(has_null),
        _ => false,
    }
}

proptest! {
    #[test]
    fn no_patch_of_any_type_panics(object in any_json(), patch in any_json()) {
        for patch_type in [PatchType::Json, PatchType::Merge, PatchType::Strategic] {
            let _ = apply(patch_type, pod(), &object, &patch);
        }
    }

    #[test]
    fn a_merge_patch_applied_twice_is_applied_once(object in any_json(), patch in any_json()) {
        if let Ok(once) = apply(PatchType::Merge, pod(), &object, &patch) {
            prop_assert_eq!(apply(PatchType::Merge, pod(), &once, &patch).unwrap(), once);
        }
    }

    #[test]
    fn merging_into_nothing_yields_the_patch(patch in any_json()) {
        prop_assume!(patch.is_object() && !has_null(&patch));
        prop_assert_eq!(apply(PatchType::Merge, pod(), &json!({}), &patch).unwrap(), patch);
    }

    #[test]
    fn an_empty_strategic_patch_changes_nothing(object in any_json()) {
        prop_assume!(object.is_object());
        prop_assert_eq!(apply(PatchType::Strategic, pod(), &object, &json!({})).unwrap(), object);
    }

    #[test]
    fn json_patch_add_then_remove_restores(object in any_json(), value in any_json()) {
        prop_assume!(object.is_object());
        let patch = json!([
            {"op": "add", "path": "/not-there", "value": value},
            {"op": "remove", "path": "/not-there"},
        ]);
        prop_assert_eq!(apply(PatchType::Json, pod(), &object, &patch).unwrap(), object);
    }
}
