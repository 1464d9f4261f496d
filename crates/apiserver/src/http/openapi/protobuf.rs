//! The v2 document in the protobuf form that client-go asks for (`openapi.v2.Document` of google/gnostic-models). Writes what
//! our own document holds, no more; extensions (`x-...`) travel as YAML texts, and JSON is YAML.

use serde_json::{Map, Value};

/// A message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// A string; an absent or empty one is not written.
    fn text(&mut self, field: u32, value: &Value) {
        if let Some(text) = value.as_str().filter(|text| !text.is_empty()) {
            self.bytes(field, text.as_bytes());
        }
    }

    fn texts(&mut self, field: u32, values: &Value) {
        for text in values.as_array().into_iter().flatten().filter_map(Value::as_str) {
            self.bytes(field, text.as_bytes());
        }
    }

    fn flag(&mut self, field: u32, value: &Value) {
        if *value == true {
            self.varint(u64::from(field) << 3);
            self.varint(1);
        }
    }

    fn count(&mut self, field: u32, value: &Value) {
        if let Some(count) = value.as_u64() {
            self.varint(u64::from(field) << 3);
            self.varint(count);
        }
    }

    fn double(&mut self, field: u32, value: &Value) {
        if let Some(number) = value.as_f64() {
            self.varint(u64::from(field) << 3 | 1);
            self.0.extend_from_slice(&number.to_le_bytes());
        }
    }

    fn message(&mut self, field: u32, inner: Message) {
        self.bytes(field, &inner.0);
    }

    /// A name and a value, as all maps of the document are written.
    fn named(&mut self, field: u32, name: &str, value: Message) {
        let mut pair = Self::default();
        pair.bytes(1, name.as_bytes());
        pair.message(2, value);
        self.message(field, pair);
    }

    fn extensions(&mut self, field: u32, fields: &Map<String, Value>) {
        for (key, value) in fields.iter().filter(|(key, _)| key.starts_with("x-")) {
            self.named(field, key, any(value));
        }
    }
}

/// The bytes of `document`, a v2 document as JSON.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let mut message = Message::default();
    message.text(1, &document["swagger"]);
    let mut info = Message::default();
    info.text(1, &document["info"]["title"]);
    info.text(2, &document["info"]["version"]);
    message.message(2, info);
    let mut paths = Message::default();
    entries(&document["paths"], |path, item| paths.named(2, path, path_item(item)));
    message.message(8, paths);
    message.message(9, schemas(&document["definitions"]));
    for requirement in document["security"].as_array().into_iter().flatten() {
        let mut wanted = Message::default();
        entries(requirement, |name, _| wanted.named(1, name, Message::default()));
        message.message(12, wanted);
    }
    let mut security = Message::default();
    entries(&document["securityDefinitions"], |name, key| security.named(1, name, api_key(key)));
    message.message(13, security);
    message.0
}

fn entries(map: &Value, mut each: impl FnMut(&str, &Map<String, Value>)) {
    for (key, value) in map.as_object().into_iter().flatten() {
        if let Some(fields) = value.as_object() {
            each(key, fields);
        } else {
            each(key, &Map::new());
        }
    }
}

/// Arbitrary values travel as YAML.
fn any(value: &Value) -> Message {
    let mut message = Message::default();
    message.bytes(2, format!("{value}\n").as_bytes());
    message
}

fn of<'v>(fields: &'v Map<String, Value>, key: &str) -> &'v Value {
    fields.get(key).unwrap_or(&Value::Null)
}

fn api_key(fields: &Map<String, Value>) -> Message {
    let mut key = Message::default();
    for (number, name) in [(1, "type"), (2, "name"), (3, "in"), (4, "description")] {
        key.text(number, of(fields, name));
    }
    let mut item = Message::default();
    item.message(2, key);
    item
}

fn path_item(fields: &Map<String, Value>) -> Message {
    let mut item = Message::default();
    for (number, method) in [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (7, "head"), (8, "patch")] {
        if let Some(fields) = of(fields, method).as_object() {
            item.message(number, operation(fields));
        }
    }
    parameters(&mut item, 9, of(fields, "parameters"));
    item
}

fn operation(fields: &Map<String, Value>) -> Message {
    let mut operation = Message::default();
    operation.texts(1, of(fields, "tags"));
    operation.text(3, of(fields, "description"));
    operation.text(5, of(fields, "operationId"));
    operation.texts(6, of(fields, "produces"));
    operation.texts(7, of(fields, "consumes"));
    parameters(&mut operation, 8, of(fields, "parameters"));
    let mut responses = Message::default();
    entries(of(fields, "responses"), |code, answer| {
        let mut value = Message::default();
        value.message(1, response(answer));
        responses.named(1, code, value);
    });
    operation.message(9, responses);
    operation.texts(10, of(fields, "schemes"));
    operation.extensions(13, fields);
    operation
}

fn response(fields: &Map<String, Value>) -> Message {
    let mut response = Message::default();
    response.text(1, of(fields, "description"));
    if let Some(fields) = of(fields, "schema").as_object() {
        let mut item = Message::default();
        item.message(1, schema(fields));
        response.message(2, item);
    }
    response
}

fn parameters(message: &mut Message, field: u32, list: &Value) {
    for fields in list.as_array().into_iter().flatten().filter_map(Value::as_object) {
        let mut parameter = Message::default();
        match of(fields, "in").as_str() {
            Some("body") => parameter.message(1, body(fields)),
            Some(place) => parameter.message(2, plain_parameter(fields, place)),
            None => continue,
        }
        let mut item = Message::default();
        item.message(1, parameter);
        message.message(field, item);
    }
}

fn body(fields: &Map<String, Value>) -> Message {
    let mut body = Message::default();
    body.text(1, of(fields, "description"));
    body.text(2, of(fields, "name"));
    body.text(3, of(fields, "in"));
    body.flag(4, of(fields, "required"));
    if let Some(fields) = of(fields, "schema").as_object() {
        body.message(5, schema(fields));
    }
    body
}

/// A parameter in the query or the path. The numbers of fields differ by one from `type` on.
fn plain_parameter(fields: &Map<String, Value>, place: &str) -> Message {
    let in_path = u32::from(place == "path");
    let mut parameter = Message::default();
    parameter.flag(1, of(fields, "required"));
    parameter.text(2, of(fields, "in"));
    parameter.text(3, of(fields, "description"));
    parameter.text(4, of(fields, "name"));
    parameter.text(6 - in_path, of(fields, "type"));
    parameter.flag(20 - in_path, of(fields, "uniqueItems"));
    let mut outer = Message::default();
    outer.message(3 + in_path, parameter);
    outer
}

fn schemas(map: &Value) -> Message {
    let mut schemas = Message::default();
    entries(map, |name, fields| schemas.named(1, name, schema(fields)));
    schemas
}

fn schema(fields: &Map<String, Value>) -> Message {
    let mut message = Message::default();
    for (number, key) in [(1, "$ref"), (2, "format"), (3, "title"), (4, "description"), (13, "pattern")] {
        message.text(number, of(fields, key));
    }
    for (number, key) in [(6, "multipleOf"), (7, "maximum"), (9, "minimum")] {
        message.double(number, of(fields, key));
    }
    for (number, key) in [(8, "exclusiveMaximum"), (10, "exclusiveMinimum"), (16, "uniqueItems")] {
        message.flag(number, of(fields, key));
    }
    let counts = ["maxLength", "minLength", "", "maxItems", "minItems", "", "maxProperties", "minProperties"];
    for (number, key) in (11..).zip(counts) {
        message.count(number, of(fields, key));
    }
    message.texts(19, of(fields, "required"));
    for value in of(fields, "enum").as_array().into_iter().flatten() {
        message.message(20, any(value));
    }
    structure(&mut message, fields);
    message.extensions(31, fields);
    message
}

fn structure(message: &mut Message, fields: &Map<String, Value>) {
    match of(fields, "additionalProperties") {
        Value::Object(values) => {
            let mut item = Message::default();
            item.message(1, schema(values));
            message.message(21, item);
        }
        Value::Bool(allowed) => {
            let mut item = Message::default();
            item.varint(2 << 3);
            item.varint(u64::from(*allowed));
            message.message(21, item);
        }
        _ => {}
    }
    if let Value::String(kind) = of(fields, "type") {
        let mut item = Message::default();
        item.bytes(1, kind.as_bytes());
        message.message(22, item);
    }
    if let Value::Object(element) = of(fields, "items") {
        let mut item = Message::default();
        item.message(1, schema(element));
        message.message(23, item);
    }
    if of(fields, "properties").is_object() {
        message.message(25, schemas(of(fields, "properties")));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// As `protoc --encode` writes it.
    #[test]
    fn a_schema_is_the_message_that_its_numbers_say() {
        let fields = json!({"type": "string", "required": ["a"], "x-k": 1});
        let message = schema(fields.as_object().unwrap());
        let wanted = [
            &[19 << 3 & 0x7f | 0x80 | 2, 1][..],
            b"\x01a",
            &[(22 << 3 | 2) & 0x7f | 0x80, 1, 8],
            b"\x0a\x06string",
            &[(31 << 3 | 2) & 0x7f | 0x80, 1, 11],
            b"\x0a\x03x-k\x12\x04\x12\x021\n",
        ]
        .concat();
        assert_eq!(message.0, wanted);
    }

    #[test]
    fn numbers_take_seven_bits_a_byte() {
        let mut message = Message::default();
        message.varint(300);
        assert_eq!(message.0, [0xac, 0x02]);
    }
}
