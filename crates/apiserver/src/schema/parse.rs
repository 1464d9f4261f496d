//! From an OpenAPI v3 schema (of a definition, or of the facts) to a [`Node`]. What is unknown or of another form is ignored here:
//! whether a definition's schema is acceptable is decided where definitions are validated.

use serde_json::{Map, Value};

use super::facts::definition;
use super::node::{Additional, Kind, ListType, MapType, Node, PatchStrategy};
use super::rules::{Bound, Rules};

const REFERENCE: &str = "#/components/schemas/";
const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

impl Node {
    /// The type that `schema` describes. References are those of built-in definitions.
    pub fn parse(schema: &Value) -> Self {
        let Some(fields) = schema.as_object() else { return Self::default() };
        let format = text(fields, "format");
        let mut node = Self {
            reference: reference(fields),
            kind: kind(text(fields, "type")),
            properties: properties(fields),
            items: fields
                .get("items")
                .filter(|items| items.is_object())
                .map(|items| Box::new(Self::parse(items))),
            additional: additional(fields.get("additionalProperties")),
            required: strings(fields, "required").map(Into::into).collect(),
            default: fields.get("default").cloned().map(Box::new),
            nullable: flag(fields, "nullable"),
            int_or_string: format == "int-or-string" || flag(fields, "x-kubernetes-int-or-string"),
            preserve_unknown: flag(fields, "x-kubernetes-preserve-unknown-fields"),
            embedded_resource: flag(fields, "x-kubernetes-embedded-resource"),
            format: format.into(),
            list_type: list_type(fields),
            map_type: map_type(fields),
            patch_strategy: patch_strategy(fields),
            patch_merge_key: text(fields, "x-kubernetes-patch-merge-key").into(),
            ..Self::default()
        };
        if node.reference.is_none() {
            node.rules = rules(fields).map(Box::new);
        }
        if node.embedded_resource {
            node.add_object_fields();
        }
        node
    }

    /// The type of a custom kind's objects: what its definition says, and the fields that all objects have.
    pub fn parse_object(schema: &Value) -> Self {
        let mut node = Self::parse(schema);
        node.add_object_fields();
        node
    }

    fn add_object_fields(&mut self) {
        let plain = || Self { kind: Kind::String, ..Self::default() };
        self.kind = Kind::Object;
        self.properties.insert("apiVersion".into(), plain());
        self.properties.insert("kind".into(), plain());
        self.properties
            .insert("metadata".into(), Self { reference: definition(OBJECT_META), ..Self::default() });
    }
}

fn text<'f>(fields: &'f Map<String, Value>, key: &str) -> &'f str {
    fields.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn flag(fields: &Map<String, Value>, key: &str) -> bool {
    fields.get(key) == Some(&Value::Bool(true))
}

fn list<'f>(fields: &'f Map<String, Value>, key: &str) -> &'f [Value] {
    fields.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn strings<'f>(fields: &'f Map<String, Value>, key: &str) -> impl Iterator<Item = &'f str> {
    list(fields, key).iter().filter_map(Value::as_str)
}

/// `$ref`, or an `allOf` of one `$ref`, which is how the real server lets a default stand beside it.
fn reference(fields: &Map<String, Value>) -> Option<&'static super::Definition> {
    let wrapped =
        || Some(list(fields, "allOf")).filter(|all| all.len() == 1).and_then(|all| all[0].get("$ref"));
    let name = fields.get("$ref").or_else(wrapped)?.as_str()?.strip_prefix(REFERENCE)?;
    definition(name)
}

fn kind(name: &str) -> Kind {
    match name {
        "object" => Kind::Object,
        "array" => Kind::Array,
        "string" => Kind::String,
        "integer" => Kind::Integer,
        "number" => Kind::Number,
        "boolean" => Kind::Boolean,
        _ => Kind::Any,
    }
}

fn properties(fields: &Map<String, Value>) -> std::collections::BTreeMap<Box<str>, Node> {
    let properties = fields.get("properties").and_then(Value::as_object).into_iter().flatten();
    properties.map(|(name, schema)| (name.as_str().into(), Node::parse(schema))).collect()
}

fn additional(value: Option<&Value>) -> Additional {
    match value {
        Some(Value::Bool(true)) => Additional::Anything,
        Some(schema @ Value::Object(_)) => Additional::Of(Box::new(Node::parse(schema))),
        _ => Additional::None,
    }
}

fn list_type(fields: &Map<String, Value>) -> Option<ListType> {
    match text(fields, "x-kubernetes-list-type") {
        "atomic" => Some(ListType::Atomic),
        "set" => Some(ListType::Set),
        "map" => {
            Some(ListType::Map(strings(fields, "x-kubernetes-list-map-keys").map(str::to_owned).collect()))
        }
        _ => None,
    }
}

fn map_type(fields: &Map<String, Value>) -> Option<MapType> {
    match text(fields, "x-kubernetes-map-type") {
        "atomic" => Some(MapType::Atomic),
        "granular" => Some(MapType::Granular),
        _ => None,
    }
}

fn patch_strategy(fields: &Map<String, Value>) -> PatchStrategy {
    let words = text(fields, "x-kubernetes-patch-strategy");
    let says = |word: &str| words.split(',').any(|said| said == word);
    PatchStrategy { merge: says("merge"), retain_keys: says("retainKeys") }
}

fn bound(fields: &Map<String, Value>, key: &str, exclusive: &str) -> Option<Bound> {
    let value = fields.get(key)?.as_f64()?;
    Some(Bound { value, exclusive: flag(fields, exclusive) })
}

/// `None` if no rule is there: most nodes have none.
fn rules(fields: &Map<String, Value>) -> Option<Rules> {
    let number = |key: &str| fields.get(key).and_then(Value::as_u64);
    let nodes = |key: &str| list(fields, key).iter().map(Node::parse).collect();
    let rules = Rules {
        enumeration: list(fields, "enum").to_vec(),
        minimum: bound(fields, "minimum", "exclusiveMinimum"),
        maximum: bound(fields, "maximum", "exclusiveMaximum"),
        multiple_of: fields.get("multipleOf").and_then(Value::as_f64),
        min_length: number("minLength"),
        max_length: number("maxLength"),
        pattern: fields.get("pattern").and_then(Value::as_str).map(str::to_owned),
        min_items: number("minItems"),
        max_items: number("maxItems"),
        unique_items: flag(fields, "uniqueItems"),
        min_properties: number("minProperties"),
        max_properties: number("maxProperties"),
        all_of: nodes("allOf"),
        any_of: nodes("anyOf"),
        one_of: nodes("oneOf"),
        not: fields.get("not").map(Node::parse),
        validations: list(fields, "x-kubernetes-validations").to_vec(),
    };
    (rules != Rules::default()).then_some(rules)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::{Field, builtin};
    use super::*;

    #[test]
    fn a_custom_type_has_what_its_definition_says_and_metadata() {
        let node = Node::parse_object(&json!({
            "type": "object", "required": ["spec"],
            "properties": {"spec": {
                "type": "object",
                "properties": {
                    "port": {"x-kubernetes-int-or-string": true},
                    "size": {"type": "integer", "minimum": 1, "exclusiveMinimum": true, "default": 3},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    "map": {"type": "object", "additionalProperties": {"type": "string"}},
                    "rows": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a", "b"],
                             "items": {"type": "object", "properties": {"a": {"type": "string", "enum": ["x"]}}}},
                },
            }},
        }));
        let spec = node.property("spec").unwrap();
        assert!(node.requires("spec") && spec.property("port").unwrap().is_int_or_string());
        let size = spec.property("size").unwrap();
        assert_eq!((size.default_value(), size.kind()), (Some(&json!(3)), Kind::Integer));
        assert_eq!(size.rules().unwrap().minimum, Some(Bound { value: 1.0, exclusive: true }));
        assert_eq!(spec.property("free").unwrap().field("x"), Field::Free);
        assert_eq!(spec.property("map").unwrap().values().unwrap().kind(), Kind::String);
        assert_eq!(spec.field("nope"), Field::Unknown);
        let rows = spec.property("rows").unwrap();
        assert_eq!(rows.list_map_keys(), ["a", "b"]);
        assert_eq!(rows.items().unwrap().property("a").unwrap().rules().unwrap().enumeration, [json!("x")]);
        assert_eq!(
            node.property("metadata").unwrap().property("finalizers").unwrap().list_type(),
            Some(&ListType::Set)
        );
    }

    #[test]
    fn an_embedded_resource_has_the_fields_of_objects() {
        let node = Node::parse(&json!({"type": "object", "x-kubernetes-embedded-resource": true}));
        assert!(
            node.is_embedded_resource() && node.property("metadata").unwrap().property("labels").is_some()
        );
    }

    #[test]
    fn built_in_types_follow_references() {
        let pod = builtin("", "v1", "Pod").unwrap();
        let containers = pod.property("spec").unwrap().property("containers").unwrap();
        assert_eq!((containers.patch_merge_key(), containers.patch_strategy().merge), ("name", true));
        let ports = containers.items().unwrap().property("ports").unwrap();
        assert_eq!(ports.list_map_keys(), ["containerPort", "protocol"]);
        assert_eq!(ports.items().unwrap().property("protocol").unwrap().default_value(), Some(&json!("TCP")));
        let volumes = pod.property("spec").unwrap().property("volumes").unwrap();
        assert!(volumes.patch_strategy().retain_keys && volumes.patch_strategy().merge);
        assert_eq!(pod.property("spec").unwrap().field("foo"), Field::Unknown);
    }

    #[test]
    fn recursive_types_are_walked_as_deep_as_objects_go() {
        let crd = builtin("apiextensions.k8s.io", "v1", "CustomResourceDefinition").unwrap();
        let versions = crd.property("spec").unwrap().property("versions").unwrap().items().unwrap();
        let mut schema = versions.property("schema").unwrap().property("openAPIV3Schema").unwrap();
        for _ in 0..10 {
            schema = schema.property("not").unwrap();
        }
        assert_eq!(schema.property("pattern").unwrap().kind(), Kind::String);
    }

    proptest! {
        #[test]
        fn no_schema_panics(text in "[{}\\[\\]\":,a-z$]{0,60}") {
            if let Ok(value) = serde_json::from_str::<Value>(&text) {
                let _ = Node::parse_object(&value);
            }
        }
    }
}
