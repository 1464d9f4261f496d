//! Writing.

use super::{Shape, Type, Value, builtin};

/// What one side of a connection writes. Each type is described once, before its first value.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    described: Vec<String>,
}

impl Encoder {
    /// The messages that carry a struct.
    pub(crate) fn encode(&mut self, shape: &'static Shape, value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        let id = self.id(Type::Struct(shape), &mut out);
        let mut body = Vec::new();
        int(&mut body, id);
        put_struct(&mut body, shape, value);
        message(&mut out, &body);
        out
    }

    /// The number of a type; a new one is described first.
    fn id(&mut self, of: Type, out: &mut Vec<u8>) -> i64 {
        let name = match of {
            Type::Int => return builtin::INT,
            Type::Uint => return builtin::UINT,
            Type::Bytes => return builtin::BYTES,
            Type::Text => return builtin::STRING,
            Type::List(_) | Type::Struct(_) => name(of),
        };
        if let Some(at) = self.described.iter().position(|known| *known == name) {
            return number(at);
        }
        self.described.push(name.clone());
        let id = number(self.described.len() - 1);
        let description = match of {
            Type::List(element) => list_description(&name, id, self.id(*element, out)),
            Type::Struct(shape) => {
                let fields: Vec<(&str, i64)> =
                    shape.fields.iter().map(|(name, of)| (*name, self.id(*of, out))).collect();
                struct_description(&name, id, &fields)
            }
            _ => Vec::new(),
        };
        let mut body = Vec::new();
        int(&mut body, -id);
        body.extend(description);
        message(out, &body);
        id
    }
}

fn number(at: usize) -> i64 {
    builtin::FIRST + at as i64
}

fn name(of: Type) -> String {
    match of {
        Type::Int => "int".to_owned(),
        Type::Uint => "uint".to_owned(),
        Type::Bytes => "[]uint8".to_owned(),
        Type::Text => "string".to_owned(),
        Type::List(element) => format!("[]{}", name(*element)),
        Type::Struct(shape) => shape.name.to_owned(),
    }
}

/// `wireType{SliceT: &sliceType{CommonType{name, id}, element}}`.
fn list_description(name: &str, id: i64, element: i64) -> Vec<u8> {
    let mut out = vec![2, 1];
    common(&mut out, name, id);
    out.push(1);
    int(&mut out, element);
    out.extend([0, 0]);
    out
}

/// `wireType{StructT: &structType{CommonType{name, id}, fields}}`.
fn struct_description(name: &str, id: i64, fields: &[(&str, i64)]) -> Vec<u8> {
    let mut out = vec![3, 1];
    common(&mut out, name, id);
    if !fields.is_empty() {
        out.push(1);
        uint(&mut out, fields.len() as u64);
        for (name, id) in fields {
            common(&mut out, name, *id);
        }
    }
    out.extend([0, 0]);
    out
}

/// A struct of a name and a number.
fn common(out: &mut Vec<u8>, name: &str, id: i64) {
    out.push(1);
    bytes(out, name.as_bytes());
    out.push(1);
    int(out, id);
    out.push(0);
}

fn put(out: &mut Vec<u8>, of: Type, value: &Value) {
    match (of, value) {
        (Type::Struct(shape), value) => put_struct(out, shape, value),
        (Type::List(element), Value::List(list)) => {
            uint(out, list.len() as u64);
            list.iter().for_each(|value| put(out, *element, value));
        }
        (_, Value::Bool(on)) => uint(out, u64::from(*on)),
        (_, Value::Int(n)) => int(out, *n),
        (_, Value::Uint(n)) => uint(out, *n),
        (_, Value::Bytes(value)) => bytes(out, value),
        (_, Value::Text(text)) => bytes(out, text.as_bytes()),
        // An empty one.
        _ => uint(out, 0),
    }
}

/// Fields that are not zero, each after the distance from the one before.
fn put_struct(out: &mut Vec<u8>, shape: &Shape, value: &Value) {
    let mut distance = 1;
    for (name, of) in shape.fields {
        match value.field(name).filter(|value| !value.is_zero()) {
            Some(value) => {
                uint(out, distance);
                put(out, *of, value);
                distance = 1;
            }
            None => distance += 1,
        }
    }
    out.push(0);
}

fn message(out: &mut Vec<u8>, body: &[u8]) {
    uint(out, body.len() as u64);
    out.extend(body);
}

fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    uint(out, value.len() as u64);
    out.extend(value);
}

/// Small ones as they are; others after the negated count of their bytes.
pub(super) fn uint(out: &mut Vec<u8>, n: u64) {
    if n < 128 {
        out.push(n as u8);
        return;
    }
    let skipped = n.leading_zeros() as usize / 8;
    let significant = n.to_be_bytes();
    out.push((256 - (8 - skipped)) as u8);
    out.extend(&significant[skipped..]);
}

/// The sign is the lowest bit.
pub(super) fn int(out: &mut Vec<u8>, n: i64) {
    uint(out, if n < 0 { (!n as u64) << 1 | 1 } else { (n as u64) << 1 });
}
