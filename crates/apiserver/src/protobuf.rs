//! The few bodies that `kubectl create` sends as protobuf and never as JSON: namespaces, config maps, secrets, service
//! accounts. Pure. A field that is not in the tables refuses the body (415) instead of being lost; for everything else
//! this server speaks JSON.
//!
//! Form: the bytes `k8s\0`, then a message of type and text (`k8s.io/apimachinery/pkg/runtime/generated.proto`, Unknown).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// Media type of such bodies.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
const MAGIC: &[u8] = b"k8s\0";

/// What a field holds.
#[derive(Clone, Copy)]
enum Kind {
    /// A string.
    Text,
    /// Strings.
    Texts,
    /// A truth value.
    Flag,
    /// A map from strings to strings.
    TextMap,
    /// A map from strings to bytes, which JSON has in base64.
    BytesMap,
    /// A message.
    Message(&'static [Field]),
    /// Messages.
    Messages(&'static [Field]),
    /// Written by the server only; what clients send does not matter.
    Ignored,
}

/// Number, JSON name, content.
type Field = (u64, &'static str, Kind);

const METADATA: &[Field] = &[
    (1, "name", Kind::Text),
    (2, "generateName", Kind::Text),
    (3, "namespace", Kind::Text),
    (4, "selfLink", Kind::Ignored),
    (5, "uid", Kind::Ignored),
    (6, "resourceVersion", Kind::Text),
    (7, "generation", Kind::Ignored),
    (8, "creationTimestamp", Kind::Ignored),
    (11, "labels", Kind::TextMap),
    (12, "annotations", Kind::TextMap),
    (14, "finalizers", Kind::Texts),
];
const NAMESPACE: &[Field] = &[
    (1, "metadata", Kind::Message(METADATA)),
    (2, "spec", Kind::Message(&[(1, "finalizers", Kind::Texts)])),
    (3, "status", Kind::Ignored),
];
const CONFIG_MAP: &[Field] = &[
    (1, "metadata", Kind::Message(METADATA)),
    (2, "data", Kind::TextMap),
    (3, "binaryData", Kind::BytesMap),
    (4, "immutable", Kind::Flag),
];
const SECRET: &[Field] = &[
    (1, "metadata", Kind::Message(METADATA)),
    (2, "data", Kind::BytesMap),
    (3, "type", Kind::Text),
    (4, "stringData", Kind::TextMap),
    (5, "immutable", Kind::Flag),
];
const NAMED: &[Field] = &[(1, "name", Kind::Text)];
const SERVICE_ACCOUNT: &[Field] = &[
    (1, "metadata", Kind::Message(METADATA)),
    (3, "imagePullSecrets", Kind::Messages(NAMED)),
    (4, "automountServiceAccountToken", Kind::Flag),
];
const TYPE: &[Field] = &[(1, "apiVersion", Kind::Text), (2, "kind", Kind::Text)];

/// The object in `body`; `None` if it is of another kind, has other fields, or is damaged.
pub(crate) fn decode(body: &[u8]) -> Option<Value> {
    let mut envelope = Reader(body.strip_prefix(MAGIC)?);
    let (mut object, mut raw) = (json!({}), None);
    while !envelope.0.is_empty() {
        match envelope.field()? {
            (1, Wire::Bytes(bytes)) => object = message(bytes, TYPE)?,
            (2, Wire::Bytes(bytes)) => raw = Some(bytes),
            // Encoding and type of the content: empty for what is understood here.
            (3 | 4, Wire::Bytes([])) => {}
            _ => return None,
        }
    }
    let fields = match (object["apiVersion"].as_str()?, object["kind"].as_str()?) {
        ("v1", "Namespace") => NAMESPACE,
        ("v1", "ConfigMap") => CONFIG_MAP,
        ("v1", "Secret") => SECRET,
        ("v1", "ServiceAccount") => SERVICE_ACCOUNT,
        _ => return None,
    };
    let content = message(raw?, fields)?;
    object.as_object_mut()?.extend(content.as_object()?.clone());
    Some(object)
}

/// A value as it stands on the wire.
enum Wire<'a> {
    Number(u64),
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

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn field(&mut self) -> Option<(u64, Wire<'a>)> {
        let tag = self.number()?;
        let value = match tag & 7 {
            0 => Wire::Number(self.number()?),
            2 => Wire::Bytes(self.bytes()?),
            _ => return None,
        };
        Some((tag >> 3, value))
    }
}

/// Nesting is bounded by the tables, which hold no cycle.
fn message(bytes: &[u8], fields: &[Field]) -> Option<Value> {
    let (mut reader, mut object) = (Reader(bytes), Map::new());
    while !reader.0.is_empty() {
        let (number, value) = reader.field()?;
        let (_, name, kind) = fields.iter().find(|(known, _, _)| *known == number)?;
        insert(&mut object, name, *kind, value)?;
    }
    Some(Value::Object(object))
}

fn insert(object: &mut Map<String, Value>, name: &str, kind: Kind, value: Wire<'_>) -> Option<()> {
    match (kind, value) {
        (Kind::Ignored, _) => {}
        // Go writes empty strings too; JSON leaves them out.
        (Kind::Text, Wire::Bytes([])) => {}
        (Kind::Text, Wire::Bytes(bytes)) => drop(object.insert(name.into(), text(bytes)?)),
        (Kind::Flag, Wire::Number(flag)) => drop(object.insert(name.into(), json!(flag != 0))),
        (Kind::Message(fields), Wire::Bytes(bytes)) => {
            drop(object.insert(name.into(), message(bytes, fields)?))
        }
        (Kind::Texts, Wire::Bytes(bytes)) => list(object, name)?.push(text(bytes)?),
        (Kind::Messages(fields), Wire::Bytes(bytes)) => list(object, name)?.push(message(bytes, fields)?),
        (Kind::TextMap, Wire::Bytes(bytes)) => entry(object, name, bytes, text)?,
        (Kind::BytesMap, Wire::Bytes(bytes)) => {
            entry(object, name, bytes, |b| Some(json!(STANDARD.encode(b))))?
        }
        _ => return None,
    }
    Some(())
}

fn text(bytes: &[u8]) -> Option<Value> {
    std::str::from_utf8(bytes).ok().map(Value::from)
}

fn list<'o>(object: &'o mut Map<String, Value>, name: &str) -> Option<&'o mut Vec<Value>> {
    object.entry(name).or_insert_with(|| json!([])).as_array_mut()
}

/// One entry of a map: a message of key (1) and value (2).
fn entry(
    object: &mut Map<String, Value>,
    name: &str,
    bytes: &[u8],
    read: impl Fn(&[u8]) -> Option<Value>,
) -> Option<()> {
    let (mut reader, mut key, mut value) = (Reader(bytes), "", &[][..]);
    while !reader.0.is_empty() {
        match reader.field()? {
            (1, Wire::Bytes(bytes)) => key = std::str::from_utf8(bytes).ok()?,
            (2, Wire::Bytes(bytes)) => value = bytes,
            _ => return None,
        }
    }
    let map = object.entry(name).or_insert_with(|| json!({})).as_object_mut()?;
    map.insert(key.into(), read(value)?);
    Some(())
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

    fn body(kind: &str, content: &[Vec<u8>]) -> Vec<u8> {
        let header = [field(1, b"v1"), field(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), field(1, &header), field(2, &content.concat()), field(3, b""), field(4, b"")]
            .concat()
    }

    #[test]
    fn a_config_map_is_understood() {
        let metadata = field(1, &[field(1, b"a"), field(2, b""), field(8, b"")].concat());
        let data = field(2, &[field(1, b"k"), field(2, b"v")].concat());
        let immutable = vec![4 << 3, 1];
        let expected = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}, "immutable": true,
        });
        assert_eq!(decode(&body("ConfigMap", &[metadata, data, immutable])), Some(expected));
    }

    #[test]
    fn a_secrets_bytes_are_base64() {
        let data = field(2, &[field(1, b"k"), field(2, &[0xff])].concat());
        assert_eq!(decode(&body("Secret", &[data])).unwrap()["data"]["k"], "/w==");
    }

    #[test]
    fn what_is_not_known_is_refused_rather_than_lost() {
        assert_eq!(decode(&body("Pod", &[])), None);
        assert_eq!(decode(&body("ConfigMap", &[field(9, b"x")])), None);
        assert_eq!(decode(b"k8s\0"), None);
        assert_eq!(decode(b"{}"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&[MAGIC, &bytes].concat());
            let _ = message(&bytes, SECRET);
        }
    }
}
