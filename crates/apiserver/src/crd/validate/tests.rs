use proptest::prelude::*;
use serde_json::{Value, json};

use super::validate;
use crate::schema::Node;

fn complaints(schema: &Value, value: &Value) -> Vec<String> {
    let causes = validate(value, &Node::parse(schema), None, "");
    causes.into_iter().map(|c| format!("{}: {}", c.field, c.message)).collect()
}

/// A property `p` of the type `schema`, with `value`.
fn property(schema: Value, value: Value) -> Vec<String> {
    complaints(&json!({"type": "object", "properties": {"p": schema}}), &json!({"p": value}))
}

#[test]
fn each_word_has_the_real_servers_message() {
    let long = "p: Invalid value: \"ab\": p in body should be at least 3 chars long";
    for (schema, value, message) in [
        (
            json!({"type": "string"}),
            json!(1),
            "p: Invalid value: \"integer\": p in body must be of type string: \"integer\"",
        ),
        (
            json!({"type": "integer"}),
            json!(1.5),
            "p: Invalid value: \"number\": p in body must be of type integer: \"number\"",
        ),
        (
            json!({"type": "integer"}),
            json!("1"),
            "p: Invalid value: \"string\": p in body must be of type integer: \"string\"",
        ),
        (
            json!({"type": "boolean"}),
            Value::Null,
            "p: Invalid value: \"null\": p in body must be of type boolean: \"null\"",
        ),
        (
            json!({"x-kubernetes-int-or-string": true}),
            json!(true),
            "p: Invalid value: \"boolean\": p in body must be of type integer,string: \"boolean\"",
        ),
        (
            json!({"type": "string", "format": "ipv4"}),
            json!("x"),
            "p: Invalid value: \"x\": p in body must be of type ipv4: \"x\"",
        ),
        (json!({"type": "string", "minLength": 3}), json!("ab"), long),
        (json!({"type": "string", "maxLength": 1}), json!("ab"), "p: Too long: may not be more than 1 byte"),
        (
            json!({"type": "string", "pattern": "^a$"}),
            json!("b"),
            "p: Invalid value: \"b\": p in body should match '^a$'",
        ),
        (
            json!({"type": "string", "enum": ["a", "b"]}),
            json!("c"),
            "p: Unsupported value: \"c\": supported values: \"a\", \"b\"",
        ),
        (
            json!({"type": "integer", "minimum": 2}),
            json!(1),
            "p: Invalid value: 1: p in body should be greater than or equal to 2",
        ),
        (
            json!({"type": "number", "maximum": 1.5, "exclusiveMaximum": true}),
            json!(1.5),
            "p: Invalid value: 1.5: p in body should be less than 1.5",
        ),
        (
            json!({"type": "integer", "multipleOf": 3}),
            json!(4),
            "p: Invalid value: 4: p in body should be a multiple of 3",
        ),
        (
            json!({"type": "array", "minItems": 1}),
            json!([]),
            "p: Invalid value: 0: p in body should have at least 1 items",
        ),
        (json!({"type": "array", "maxItems": 1}), json!([1, 2]), "p: Too many: 2: must have at most 1 item"),
        (
            json!({"type": "object", "maxProperties": 0}),
            json!({"a": 1}),
            "p: Too many: 1: must have at most 0 items",
        ),
        (
            json!({"type": "object", "minProperties": 1}),
            json!({}),
            "p: Invalid value: 0: p in body should have at least 1 properties",
        ),
        (json!({"type": "object", "required": ["q"]}), json!({}), "p.q: Required value"),
    ] {
        assert_eq!(property(schema, value), [message]);
    }
}

#[test]
fn what_fits_is_not_complained_about() {
    for (schema, value) in [
        (json!({"type": "integer"}), json!(2.0)),
        (json!({"type": "number"}), json!(2)),
        (json!({"type": "integer", "format": "int32"}), json!(5_000_000_000_i64)),
        (json!({"type": "string", "format": "made-up"}), json!("x")),
        (json!({"type": "string", "nullable": true}), Value::Null),
        (json!({"x-kubernetes-preserve-unknown-fields": true}), json!([{"a": 1}])),
        (json!({"x-kubernetes-int-or-string": true}), json!("5")),
        (json!({"type": "string", "maxLength": 2}), json!("éé")),
    ] {
        assert_eq!(property(schema.clone(), value), Vec::<String>::new(), "{schema}");
    }
}

#[test]
fn combinations_show_the_closest_failure() {
    let schema = json!({"type": "object", "properties": {"p": {"type": "object",
        "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
        "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}}});
    let none = complaints(&schema, &json!({"p": {}}));
    assert_eq!(
        none[0],
        "<nil>: Invalid value: \"\": \"p\" must validate one and only one schema (oneOf). Found none valid"
    );
    assert_eq!(none[1], "p.a: Required value");
    let both = complaints(&schema, &json!({"p": {"a": "", "b": ""}}));
    assert_eq!(
        both,
        [
            "<nil>: Invalid value: \"\": \"p\" must validate one and only one schema (oneOf). Found 2 valid alternatives"
        ]
    );
    let negated = property(json!({"type": "string", "not": {"pattern": "^x"}}), json!("xy"));
    assert_eq!(negated, ["<nil>: Invalid value: \"\": \"p\" must not validate the schema (not)"]);
}

#[test]
fn an_update_is_judged_by_what_it_changes() {
    let schema = Node::parse(&json!({"type": "object", "properties": {
        "a": {"type": "string", "maxLength": 1}, "b": {"type": "string", "maxLength": 1}}}));
    let old = json!({"a": "long", "b": "long"});
    let fields = |new: Value| -> Vec<String> {
        validate(&new, &schema, Some(&old), "").into_iter().map(|c| c.field).collect()
    };
    assert_eq!(fields(old.clone()), Vec::<String>::new());
    assert_eq!(fields(json!({"a": "long", "b": "also long"})), ["b"]);
}

/// Schemas and values of a few levels, neither of them sensible.
fn anything(depth: u32) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z*^$(]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(depth, 24, 4, |inner| {
        let words = "type|properties|items|additionalProperties|enum|pattern|minimum|maxLength|required|oneOf|anyOf|allOf|not|default|nullable|format|multipleOf|maxItems|x-kubernetes-list-type";
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(words, inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_schema_and_no_value_panics(schema in anything(4), value in anything(3)) {
        let _ = complaints(&schema, &value);
        let node = Node::parse(&schema);
        let mut object = value;
        let _ = super::super::prune::prune(&mut object, &node);
        super::super::defaults::remove_nulls(&mut object, Some(&node));
        super::super::defaults::fill(&mut object, &node);
        let once = object.clone();
        super::super::defaults::fill(&mut object, &node);
        prop_assert_eq!(&once, &object);
        let _ = super::super::lists::validate(&object, &node, "");
    }
}
