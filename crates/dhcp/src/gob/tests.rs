//! The bytes of Go's documentation, and whatever else may come.

use super::decode::{int, uint};
use super::*;
use proptest::prelude::*;

const POINT: Shape = Shape { name: "Point", fields: &[("X", Type::Int), ("Y", Type::Int)] };
const LINE: Shape = Shape {
    name: "Line",
    fields: &[
        ("Points", Type::List(&Type::Struct(&POINT))),
        ("Label", Type::Text),
        ("Raw", Type::Bytes),
        ("N", Type::Uint),
        ("Nothing", Type::Struct(&Shape { name: "Empty", fields: &[] })),
    ],
};

fn point(x: i64, y: i64) -> Value {
    let fields = [("X", x), ("Y", y)].into_iter().filter(|(_, n)| *n != 0);
    Value::Struct(fields.map(|(name, n)| (name.to_owned(), Value::Int(n))).collect())
}

fn decode(bytes: &[u8]) -> Result<Value, String> {
    Decoder::new().read(&mut &bytes[..]).map_err(|e| e.to_string())
}

#[test]
fn a_struct_has_the_bytes_of_gos_documentation() {
    // `type Point struct { X, Y int }`, `Point{22, 33}`; the documentation's example, whose type is numbered 65.
    let expected: &[u8] = &[
        0x1f, 0xff, 0x81, 0x03, 0x01, 0x01, 0x05, 0x50, 0x6f, 0x69, 0x6e, 0x74, 0x01, 0xff, 0x82, 0x00, 0x01,
        0x02, 0x01, 0x01, 0x58, 0x01, 0x04, 0x00, 0x01, 0x01, 0x59, 0x01, 0x04, 0x00, 0x00, 0x00, 0x07, 0xff,
        0x82, 0x01, 0x2c, 0x01, 0x42, 0x00,
    ];
    let written = Encoder::default().encode(&POINT, &point(22, 33));
    assert_eq!(written, expected);
    assert_eq!(decode(expected).unwrap(), point(22, 33));
}

#[test]
fn a_type_is_described_once() {
    let mut encoder = Encoder::default();
    let first = encoder.encode(&POINT, &point(1, 2));
    let second = encoder.encode(&POINT, &point(3, 0));
    assert_eq!(second, [5, 0xff, 0x82, 1, 6, 0]);
    let mut decoder = Decoder::new();
    let stream = [first, second].concat();
    let mut stream = stream.as_slice();
    assert_eq!(decoder.read(&mut stream).unwrap(), point(1, 2));
    assert_eq!(decoder.read(&mut stream).unwrap(), point(3, 0));
    assert!(decoder.read(&mut stream).is_err());
}

#[test]
fn numbers_have_the_bytes_of_gos_documentation() {
    for (n, bytes) in [
        (0, &[0][..]),
        (7, &[7]),
        (256, &[0xfe, 1, 0]),
        (u64::MAX, &[0xf8, 255, 255, 255, 255, 255, 255, 255, 255]),
    ] {
        let mut out = Vec::new();
        encode::uint(&mut out, n);
        assert_eq!(out, bytes);
        assert_eq!(uint(&mut &bytes[..]), Ok(n));
    }
    for (n, bytes) in [(-129, &[0xfe, 1, 1][..]), (-1, &[1]), (5, &[10])] {
        let mut out = Vec::new();
        encode::int(&mut out, n);
        assert_eq!(out, bytes);
        assert_eq!(int(&mut &bytes[..]), Ok(n));
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(points in prop::collection::vec(any::<(i64, i64)>(), 1..5), label in ".{1,300}", raw in prop::collection::vec(any::<u8>(), 1..300), n in 1..u64::MAX) {
        let points = Value::List(points.iter().map(|(x, y)| point(*x, *y)).collect());
        let line = Value::of([("Points", points), ("Label", Value::Text(label)), ("Raw", Value::Bytes(raw)), ("N", Value::Uint(n)), ("Nothing", Value::of([]))]);
        prop_assert_eq!(decode(&Encoder::default().encode(&LINE, &line)), Ok(line));
    }

    #[test]
    fn damaged_messages_are_read_without_panic(at: usize, with: u8, cut: usize) {
        let points = Value::List(vec![point(1, 2)]);
        let mut bytes = Encoder::default().encode(&LINE, &Value::of([("Points", points), ("N", Value::Uint(9))]));
        let length = bytes.len();
        bytes[at % length] = with;
        bytes.truncate(length - cut % length);
        let _ = decode(&bytes);
    }
}

#[test]
fn nesting_has_an_end() {
    // A list of itself.
    let mut bytes = vec![];
    let mut body = vec![0xff, 0x81, 2, 1, 1, 1, b'L', 1, 0xff, 0x82, 0, 1, 0xff, 0x82, 0, 0];
    bytes.push(body.len() as u8);
    bytes.append(&mut body);
    let mut body = vec![0xff, 0x82, 0];
    body.extend([1; 60]);
    bytes.push(body.len() as u8);
    bytes.append(&mut body);
    assert!(decode(&bytes).unwrap_err().contains("too deeply"));
}
