//! Reading.

use std::collections::BTreeMap;
use std::io::{self, Read};

use super::{DEEPEST, GobError, Value, builtin};

/// The longest message that is read: no configuration comes near.
const LONGEST: u64 = 1 << 20;
/// How many types a connection may describe.
const MOST_TYPES: usize = 1000;

#[derive(Clone, Debug)]
enum Form {
    List(i64),
    Array(i64),
    Map(i64, i64),
    Struct(Vec<(String, i64)>),
    /// What a type writes of itself.
    Opaque,
}

/// What one side of a connection reads.
#[derive(Debug)]
pub(crate) struct Decoder {
    types: BTreeMap<i64, Form>,
}

impl Decoder {
    pub(crate) fn new() -> Self {
        let fields = |fields: &[(&str, i64)]| {
            Form::Struct(fields.iter().map(|(name, id)| ((*name).to_owned(), *id)).collect())
        };
        let opaque = 24;
        // encoding/gob/type.go: how types are described is itself described by these.
        let types = [
            (
                builtin::WIRE_TYPE,
                fields(&[
                    ("ArrayT", 17),
                    ("SliceT", 19),
                    ("StructT", 20),
                    ("MapT", 23),
                    ("GobEncoderT", opaque),
                    ("BinaryMarshalerT", opaque),
                    ("TextMarshalerT", opaque),
                ]),
            ),
            (17, fields(&[("CommonType", 18), ("Elem", builtin::INT), ("Len", builtin::INT)])),
            (18, fields(&[("Name", builtin::STRING), ("Id", builtin::INT)])),
            (19, fields(&[("CommonType", 18), ("Elem", builtin::INT)])),
            (20, fields(&[("CommonType", 18), ("Field", 22)])),
            (21, fields(&[("Name", builtin::STRING), ("Id", builtin::INT)])),
            (22, Form::List(21)),
            (23, fields(&[("CommonType", 18), ("Key", builtin::INT), ("Elem", builtin::INT)])),
            (opaque, fields(&[("CommonType", 18)])),
        ];
        Self { types: types.into_iter().collect() }
    }

    /// The next value.
    ///
    /// # Errors
    /// The stream ends, or holds something else than gobs.
    pub(crate) fn read(&mut self, stream: &mut impl Read) -> io::Result<Value> {
        let invalid = |e: GobError| io::Error::new(io::ErrorKind::InvalidData, e.to_string());
        loop {
            let length = length(stream)?;
            if length > LONGEST {
                return Err(invalid(GobError("a message is too long")));
            }
            let mut body = vec![0; length as usize];
            stream.read_exact(&mut body)?;
            if let Some(value) = self.message(&mut body.as_slice()).map_err(invalid)? {
                return Ok(value);
            }
        }
    }

    /// A value, or nothing if the message described a type.
    pub(super) fn message(&mut self, body: &mut &[u8]) -> Result<Option<Value>, GobError> {
        let id = int(body)?;
        if id < 0 {
            let description = self.value(builtin::WIRE_TYPE, body, 0)?;
            self.describe(id.checked_neg().ok_or(GobError("a type number"))?, &description)?;
            return Ok(None);
        }
        // What is no struct stands after a zero.
        if !matches!(self.types.get(&id), Some(Form::Struct(_))) && uint(body)? != 0 {
            return Err(GobError("a value without its zero"));
        }
        self.value(id, body, 0).map(Some)
    }

    fn describe(&mut self, id: i64, description: &Value) -> Result<(), GobError> {
        let id_of =
            |value: &Value, name: &str| value.number(name).and_then(|n| i64::try_from(n).ok()).unwrap_or(0);
        let form = match description {
            Value::Struct(fields) => fields.first(),
            _ => None,
        };
        let form = match form.map(|(name, value)| (name.as_str(), value)) {
            Some(("ArrayT", value)) => Form::Array(id_of(value, "Elem")),
            Some(("SliceT", value)) => Form::List(id_of(value, "Elem")),
            Some(("MapT", value)) => Form::Map(id_of(value, "Key"), id_of(value, "Elem")),
            Some(("StructT", value)) => {
                let field = |field: &Value| (field.text("Name").to_owned(), id_of(field, "Id"));
                Form::Struct(value.list("Field").iter().map(field).collect())
            }
            Some(_) => Form::Opaque,
            None => return Err(GobError("a type without description")),
        };
        if id < builtin::FIRST - 1 || self.types.len() >= MOST_TYPES {
            return Err(GobError("a type that must not be described"));
        }
        self.types.insert(id, form);
        Ok(())
    }

    fn value(&self, id: i64, body: &mut &[u8], depth: usize) -> Result<Value, GobError> {
        if depth > DEEPEST {
            return Err(GobError("nested too deeply"));
        }
        match id {
            builtin::BOOL => return uint(body).map(|n| Value::Bool(n != 0)),
            builtin::INT => return int(body).map(Value::Int),
            builtin::UINT => return uint(body).map(Value::Uint),
            builtin::FLOAT => return uint(body).map(|_| Value::Other),
            builtin::COMPLEX => return uint(body).and_then(|_| uint(body)).map(|_| Value::Other),
            builtin::BYTES => return bytes(body).map(|b| Value::Bytes(b.to_vec())),
            builtin::STRING => {
                return bytes(body).map(|b| Value::Text(String::from_utf8_lossy(b).into_owned()));
            }
            _ => {}
        }
        match self.types.get(&id).ok_or(GobError("a type that was not described"))? {
            Form::Opaque => bytes(body).map(|b| Value::Bytes(b.to_vec())),
            Form::List(element) | Form::Array(element) => self.list(&[*element], body, depth),
            Form::Map(key, element) => self.list(&[*key, *element], body, depth),
            Form::Struct(fields) => self.fields(fields, body, depth),
        }
    }

    /// So many times these types one after another.
    fn list(&self, elements: &[i64], body: &mut &[u8], depth: usize) -> Result<Value, GobError> {
        let count = uint(body)?;
        // An element has at least one byte.
        if count > body.len() as u64 {
            return Err(GobError("a list is longer than its message"));
        }
        let mut list = Vec::new();
        for _ in 0..count {
            for id in elements {
                list.push(self.value(*id, body, depth + 1)?);
            }
        }
        Ok(Value::List(list))
    }

    fn fields(&self, fields: &[(String, i64)], body: &mut &[u8], depth: usize) -> Result<Value, GobError> {
        let mut read = Vec::new();
        let mut next = 0usize;
        loop {
            let distance = usize::try_from(uint(body)?).map_err(|_| GobError("a field's number"))?;
            if distance == 0 {
                return Ok(Value::Struct(read));
            }
            next = next.checked_add(distance).ok_or(GobError("a field's number"))?;
            let (name, id) = fields.get(next - 1).ok_or(GobError("a field that was not described"))?;
            read.push((name.clone(), self.value(*id, body, depth + 1)?));
        }
    }
}

/// The length in front of a message.
fn length(stream: &mut impl Read) -> io::Result<u64> {
    let mut first = [0];
    stream.read_exact(&mut first)?;
    let mut number = vec![first[0]];
    if first[0] >= 128 {
        let count = (256 - usize::from(first[0])).min(8);
        number.resize(1 + count, 0);
        stream.read_exact(&mut number[1..])?;
    }
    uint(&mut number.as_slice()).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))
}

pub(super) fn uint(body: &mut &[u8]) -> Result<u64, GobError> {
    const CUT: GobError = GobError("a message ends early");
    let (&first, rest) = body.split_first().ok_or(CUT)?;
    *body = rest;
    if first < 128 {
        return Ok(first.into());
    }
    let count = 256 - usize::from(first);
    if count > 8 {
        return Err(GobError("a number of more than 8 bytes"));
    }
    let (number, rest) = body.split_at_checked(count).ok_or(CUT)?;
    *body = rest;
    Ok(number.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)))
}

pub(super) fn int(body: &mut &[u8]) -> Result<i64, GobError> {
    let n = uint(body)?;
    let magnitude = (n >> 1) as i64;
    Ok(if n & 1 == 1 { !magnitude } else { magnitude })
}

fn bytes<'a>(body: &mut &'a [u8]) -> Result<&'a [u8], GobError> {
    let length = usize::try_from(uint(body)?).map_err(|_| GobError("a length"))?;
    let (value, rest) = body.split_at_checked(length).ok_or(GobError("a message ends early"))?;
    *body = rest;
    Ok(value)
}
