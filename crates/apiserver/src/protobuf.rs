//! Objects that clients send as protobuf: kubectl creates most built-in kinds so, whatever the server says. Pure. Messages
//! are facts of the built-in types ([`crate::schema`]); what comes out is the JSON of the same object. A field that is not known
//! refuses the body (415) instead of being lost. Answers are JSON.
//!
//! Form: the bytes `k8s\0`, then a message of type and content (`k8s.io/apimachinery/pkg/runtime/generated.proto`, Unknown).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::schema::{self, Definition, Kind, Node};

/// Media type of such bodies.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
const MAGIC: &[u8] = b"k8s\0";
/// Nesting of messages that is followed; types refer to themselves, so a body could go on forever.
const DEPTH: usize = 64;

/// The object in `body`; `None` if it is of an unknown kind, has unknown fields, or is damaged.
pub(crate) fn decode(body: &[u8]) -> Option<Value> {
    let mut envelope = Reader(body.strip_prefix(MAGIC)?);
    let (mut kind, mut raw) = (("", ""), &[][..]);
    while !envelope.0.is_empty() {
        match envelope.field()? {
            (1, Wire::Bytes(bytes)) => kind = type_meta(bytes)?,
            (2, Wire::Bytes(bytes)) => raw = bytes,
            // Encoding and type of the content: empty for what is understood here.
            (3 | 4, Wire::Bytes([])) => {}
            _ => return None,
        }
    }
    let (api_version, kind) = kind;
    let definition = definition(api_version, kind)?;
    let mut object = json!({"apiVersion": api_version, "kind": kind});
    fill(definition.name, Some(definition.node()), raw, object.as_object_mut()?, DEPTH)?;
    Some(object)
}

fn type_meta(bytes: &[u8]) -> Option<(&str, &str)> {
    let (mut reader, mut api_version, mut kind) = (Reader(bytes), "", "");
    while !reader.0.is_empty() {
        match reader.field()? {
            (1, Wire::Bytes(bytes)) => api_version = std::str::from_utf8(bytes).ok()?,
            (2, Wire::Bytes(bytes)) => kind = std::str::from_utf8(bytes).ok()?,
            _ => return None,
        }
    }
    Some((api_version, kind))
}

/// The type of a kind; those of sub-resources and options have no row in discovery and are found by their package.
fn definition(api_version: &str, kind: &str) -> Option<&'static Definition> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if kind == "DeleteOptions" {
        return schema::definition("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions");
    }
    if let Some(definition) = schema::builtin_definition(group, version, kind) {
        return Some(definition);
    }
    let package = Some(group.split('.').next()?).filter(|first| !first.is_empty()).unwrap_or("core");
    let wanted = [package, version, kind].join(".");
    schema::definitions().find(|definition| definition.go_path() == wanted)
}

/// A value as it stands on the wire.
enum Wire<'a> {
    Number(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn field(&mut self) -> Option<(u64, Wire<'a>)> {
        let tag = self.number()?;
        let value = match tag & 7 {
            0 => Wire::Number(self.number()?),
            1 => Wire::Fixed(u64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            2 => {
                let length = usize::try_from(self.number()?).ok()?;
                Wire::Bytes(self.take(length)?)
            }
            _ => return None,
        };
        Some((tag >> 3, value))
    }
}

/// Reads a message of the type `name` into `object`.
fn fill(
    name: &str,
    node: Option<&Node>,
    bytes: &[u8],
    object: &mut Map<String, Value>,
    depth: usize,
) -> Option<()> {
    let mut reader = Reader(bytes);
    let package = name.rsplit_once('.')?.0;
    while !reader.0.is_empty() {
        let (number, wire) = reader.field()?;
        let (_, field, kind) = schema::message(name)?.find(|(known, _, _)| *known == number)?;
        let place = Place { package, depth: depth.checked_sub(1)? };
        let json_name = json_name(node, field);
        let below = json_name.and_then(|name| node?.property(name));
        match (json_name, &wire) {
            // A part of the type that JSON has among its own fields.
            (None, Wire::Bytes(bytes)) if node.is_some() && !is_plain(kind) => {
                fill(&place.full(kind), node, bytes, object, place.depth)?;
            }
            _ => place.insert(object, (json_name.unwrap_or(field), kind), below, wire)?,
        }
    }
    Some(())
}

/// The field's name in JSON, which sometimes has other capitals; `None` if JSON has no such field.
fn json_name<'n>(node: Option<&'n Node>, field: &'n str) -> Option<&'n str> {
    let Some(node) = node else { return Some(field) };
    if node.property(field).is_some() {
        return Some(field);
    }
    node.properties().map(|(name, _)| name).find(|name| name.eq_ignore_ascii_case(field))
}

fn is_plain(kind: &str) -> bool {
    let kind = kind.trim_start_matches("map ").trim_start_matches('*');
    ["string", "bytes", "bool", "int32", "int64", "uint32", "uint64", "double"].contains(&kind)
}

/// Where a field is: the package that short names of types are of, and how deep.
struct Place<'a> {
    package: &'a str,
    depth: usize,
}

impl Place<'_> {
    fn full(&self, kind: &str) -> String {
        if kind.contains('.') { kind.to_owned() } else { format!("{}.{kind}", self.package) }
    }

    fn insert(
        &self,
        object: &mut Map<String, Value>,
        (name, kind): (&str, &str),
        node: Option<&Node>,
        wire: Wire<'_>,
    ) -> Option<()> {
        if let Some(value) = kind.strip_prefix("map ") {
            let Wire::Bytes(bytes) = wire else { return None };
            let map = object.entry(name).or_insert_with(|| json!({})).as_object_mut()?;
            return self.entry(map, value, node.and_then(Node::values), bytes);
        }
        if let Some(element) = kind.strip_prefix('*') {
            let value = self.value(element, node.and_then(Node::items), wire)?;
            object.entry(name).or_insert_with(|| json!([])).as_array_mut()?.push(value);
            return Some(());
        }
        object.insert(name.into(), self.value(kind, node, wire)?);
        Some(())
    }

    /// One entry of a map: a message of key (1) and value (2).
    fn entry(
        &self,
        map: &mut Map<String, Value>,
        kind: &str,
        node: Option<&Node>,
        bytes: &[u8],
    ) -> Option<()> {
        let (mut reader, mut key, mut value) = (Reader(bytes), "", Wire::Bytes(&[]));
        while !reader.0.is_empty() {
            match reader.field()? {
                (1, Wire::Bytes(bytes)) => key = std::str::from_utf8(bytes).ok()?,
                (2, wire) => value = wire,
                _ => return None,
            }
        }
        map.insert(key.into(), self.value(kind, node, value)?);
        Some(())
    }

    fn value(&self, kind: &str, node: Option<&Node>, wire: Wire<'_>) -> Option<Value> {
        match (kind, wire) {
            ("string", Wire::Bytes(bytes)) => std::str::from_utf8(bytes).ok().map(Value::from),
            ("bytes", Wire::Bytes(bytes)) => Some(json!(STANDARD.encode(bytes))),
            ("bool", Wire::Number(flag)) => Some(json!(flag != 0)),
            ("int32" | "int64" | "uint32" | "uint64", Wire::Number(number)) => {
                Some(json!(number.cast_signed()))
            }
            ("double", Wire::Fixed(bits)) => Some(json!(f64::from_bits(bits))),
            (kind, Wire::Bytes(bytes)) => self.message(&self.full(kind), node, bytes),
            _ => None,
        }
    }

    fn message(&self, name: &str, node: Option<&Node>, bytes: &[u8]) -> Option<Value> {
        match name.rsplit('.').next()? {
            "Time" | "MicroTime" => return moment(name, bytes),
            "Quantity" => return Some(json!(std::str::from_utf8(first(bytes)?).ok()?)),
            "IntOrString" => return int_or_string(bytes),
            "RawExtension" | "FieldsV1" | "JSON" => return serde_json::from_slice(first(bytes)?).ok(),
            _ => {}
        }
        let mut object = Map::new();
        fill(name, node.map(Node::target), bytes, &mut object, self.depth)?;
        // Lists that have a message of their own.
        if node.is_some_and(|node| node.kind() == Kind::Array) {
            return Some(object.remove("items").unwrap_or_else(|| json!([])));
        }
        Some(Value::Object(object))
    }
}

/// The bytes of field 1; empty if it is absent.
fn first(bytes: &[u8]) -> Option<&[u8]> {
    let (mut reader, mut found) = (Reader(bytes), &[][..]);
    while !reader.0.is_empty() {
        if let (1, Wire::Bytes(bytes)) = reader.field()? {
            found = bytes;
        }
    }
    Some(found)
}

/// Seconds and nanoseconds since 1970; nothing for the zero of the sender's type, which lies in the year 1.
fn moment(name: &str, bytes: &[u8]) -> Option<Value> {
    let (mut reader, mut seconds, mut nanos) = (Reader(bytes), 0, 0);
    while !reader.0.is_empty() {
        match reader.field()? {
            (1, Wire::Number(number)) => seconds = number.cast_signed(),
            (2, Wire::Number(number)) => nanos = i32::try_from(number).ok()?,
            _ => return None,
        }
    }
    if bytes.is_empty() || seconds < -62_000_000_000 {
        return Some(Value::Null);
    }
    let format = if name.ends_with("MicroTime") { "%Y-%m-%dT%H:%M:%S.%6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    Some(json!(Timestamp::new(seconds, nanos).ok()?.strftime(format).to_string()))
}

fn int_or_string(bytes: &[u8]) -> Option<Value> {
    let (mut reader, mut is_text, mut number, mut text) = (Reader(bytes), false, 0, "");
    while !reader.0.is_empty() {
        match reader.field()? {
            (1, Wire::Number(kind)) => is_text = kind == 1,
            (2, Wire::Number(value)) => number = value.cast_signed(),
            (3, Wire::Bytes(bytes)) => text = std::str::from_utf8(bytes).ok()?,
            _ => return None,
        }
    }
    Some(if is_text { json!(text) } else { json!(number) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
        bytes.extend_from_slice(content);
        bytes
    }

    fn body(api_version: &str, kind: &str, content: &[Vec<u8>]) -> Vec<u8> {
        let header = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), field(1, &header), field(2, &content.concat()), field(3, b""), field(4, b"")]
            .concat()
    }

    #[test]
    fn a_config_map_is_understood() {
        let metadata = field(1, &[field(1, b"a"), field(2, b""), field(8, b"")].concat());
        let data = field(2, &[field(1, b"k"), field(2, b"v")].concat());
        let immutable = vec![4 << 3, 1];
        let expected = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"k": "v"}, "immutable": true,
            "metadata": {"name": "a", "generateName": "", "creationTimestamp": null},
        });
        assert_eq!(decode(&body("v1", "ConfigMap", &[metadata, data, immutable])), Some(expected));
    }

    #[test]
    fn a_secrets_bytes_are_base64() {
        let data = field(2, &[field(1, b"k"), field(2, &[0xff])].concat());
        assert_eq!(decode(&body("v1", "Secret", &[data])).unwrap()["data"]["k"], "/w==");
    }

    #[test]
    fn parts_that_json_has_among_its_own_fields_are_inlined() {
        let volume = [field(1, b"v"), field(2, &field(2, b""))].concat();
        let spec = field(2, &field(1, &volume));
        let pod = decode(&body("v1", "Pod", &[spec])).unwrap();
        assert_eq!(pod["spec"]["volumes"], json!([{"name": "v", "emptyDir": {}}]));
    }

    #[test]
    fn numbers_or_texts_and_amounts_are_plain_in_json() {
        let port = [vec![3 << 3, 80], field(4, &[1 << 3, 1, 3 << 3 | 2, 3, b'w', b'e', b'b'])].concat();
        let service = decode(&body("v1", "Service", &[field(2, &field(1, &port))])).unwrap();
        assert_eq!(service["spec"]["ports"], json!([{"port": 80, "targetPort": "web"}]));
    }

    #[test]
    fn what_is_not_known_is_refused_rather_than_lost() {
        assert_eq!(decode(&body("v1", "Nothing", &[])), None);
        assert_eq!(decode(&body("v1", "ConfigMap", &[field(9, b"x")])), None);
        assert_eq!(decode(b"k8s\0"), None);
        assert_eq!(decode(b"{}"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&[MAGIC, &bytes].concat());
            let _ = decode(&body("v1", "Pod", std::slice::from_ref(&bytes)));
            let _ = decode(&body("apps/v1", "Deployment", &[field(2, &bytes)]));
        }
    }
}
