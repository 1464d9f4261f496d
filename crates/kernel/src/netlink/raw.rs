//! Requests that no typed message has: a type, a fixed header and attributes.

use netlink_packet_core::NetlinkSerializable;

/// Bit of an attribute's type that says that attributes are in it (`NLA_F_NESTED`).
const NESTED: u16 = 0x8000;
/// Length and type of an attribute.
const HEADER: usize = 4;

/// A request under construction.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    kind: u16,
    bytes: Vec<u8>,
}

impl Raw {
    /// A request of a message type, with its fixed header.
    pub(crate) fn new(kind: u16, header: &[u8]) -> Self {
        Self { kind, bytes: header.to_vec() }
    }

    /// The same with one more attribute.
    pub(crate) fn with(self, kind: u16, value: &[u8]) -> Self {
        self.with_attributes(&attribute(kind, value))
    }

    /// The same with more attributes that are made already.
    pub(crate) fn with_attributes(mut self, attributes: &[u8]) -> Self {
        self.bytes.extend(attributes);
        self
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
    // An attribute of a request is an address, a number, a name or a few of these: far below 64 KiB.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::attrs::Attrs;

    #[test]
    fn attributes_are_padded_and_read_back() {
        let raw = Raw::new(26, &[2, 0, 0, 0]).with(1, b"abc").with(2, &[9; 4]);
        let raw = raw.with_attributes(&nested(3, &attribute(1, b"x")));
        let mut bytes = vec![0; raw.buffer_len()];
        raw.serialize(&mut bytes);
        let list = Attrs::after(&bytes, 4);
        assert_eq!((list.get(1), list.get(2)), (Some(&b"abc"[..]), Some(&[9; 4][..])));
        assert_eq!(list.nested(3).get(1), Some(&b"x"[..]));
    }
}
