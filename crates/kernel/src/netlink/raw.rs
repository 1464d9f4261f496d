//! Messages in bytes, for what the typed crates do not cover.

use netlink_packet_core::NetlinkSerializable;

/// Bit of an attribute's type that says that attributes are in it (`NLA_F_NESTED`).
const NESTED: u16 = 0x8000;
/// Length and type of an attribute.
const HEADER: usize = 4;

/// A message: its type, a fixed part and attributes.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    kind: u16,
    bytes: Vec<u8>,
}

impl Raw {
    /// A message of a type, of its fixed part and its attributes.
    pub(crate) fn new(kind: u16, fixed: &[u8], attributes: &[u8]) -> Self {
        Self { kind, bytes: [fixed, attributes].concat() }
    }
}

impl NetlinkSerializable for Raw {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        self.bytes.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer[..self.bytes.len()].copy_from_slice(&self.bytes);
    }
}

/// An attribute, padded to four bytes.
pub(crate) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = HEADER + value.len();
    // Nothing that is made here comes near the 64 KiB of the length.
    let mut bytes = (length as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(length.next_multiple_of(4), 0);
    bytes
}

/// An attribute of attributes.
pub(crate) fn nested(kind: u16, attributes: &[u8]) -> Vec<u8> {
    attribute(kind | NESTED, attributes)
}
