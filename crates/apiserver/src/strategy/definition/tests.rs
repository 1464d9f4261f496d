use super::*;

fn definition() -> Value {
    let mut object = json!({
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com", "scope": "Cluster", "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}],
        },
    });
    Definition.default(&mut object);
    Definition.begin(&mut object, true, Timestamp::UNIX_EPOCH);
    object
}

fn fields(object: &Value) -> Vec<String> {
    let mut causes = Definition.validate_new(object);
    causes.extend(Definition.validate(object));
    causes.into_iter().map(|c| c.field).collect()
}

#[test]
fn names_have_defaults_and_storage_is_remembered() {
    let object = definition();
    assert_eq!(fields(&object), Vec::<String>::new());
    assert_eq!(object["spec"]["names"]["listKind"], "ThingList");
    assert_eq!(object["spec"]["names"]["singular"], "thing");
    assert_eq!(object["status"]["storedVersions"], json!(["v1"]));
}

#[test]
fn what_is_wrong_is_named_by_its_field() {
    let mut object = definition();
    object["metadata"]["name"] = json!("other");
    object["spec"]["versions"][0]["storage"] = json!(false);
    object["spec"]["versions"][0]["additionalPrinterColumns"] =
        json!([{"name": "a", "type": "string", "jsonPath": "a"}]);
    let wrong = ["metadata.name", "spec.versions", "spec.additionalPrinterColumns[0].JSONPath"];
    assert_eq!(fields(&object), wrong);
}

#[test]
fn a_group_without_a_dot_could_be_taken_for_a_built_in_one() {
    let mut object = definition();
    object["spec"]["group"] = json!("core");
    object["metadata"]["name"] = json!("things.core");
    assert_eq!(fields(&object), ["spec.group"]);
}

#[test]
fn group_scope_and_names_are_fixed_once_they_are_served() {
    let mut old = definition();
    old["status"]["conditions"] = json!([{"type": "Established", "status": "True"}]);
    let mut new = old.clone();
    new["spec"]["scope"] = json!("Namespaced");
    assert_eq!(Definition.validate_update(&new, &old)[0].field, "spec.scope");
    old["status"]["conditions"] = json!([]);
    assert_eq!(Definition.validate_update(&new, &old), []);
}

#[test]
fn different_versions_are_told_apart() {
    let mut object = definition();
    let versions = object["spec"]["versions"].as_array_mut().unwrap();
    versions.push(json!({"name": "v2", "served": true, "storage": false, "schema": {"openAPIV3Schema": {"type": "string"}}}));
    assert_eq!(fields(&object), ["spec.versions[1].schema.openAPIV3Schema.type"]);
}
