//! Requests that no typed message has: a type, a fixed header and attributes.

use netlink_packet_core::NetlinkSerializable;

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
    pub(crate) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        // An attribute of a request is an address, a number or a name: far below 64 KiB.
        let length = (4 + value.len()) as u16;
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::attrs::Attrs;

    #[test]
    fn attributes_are_padded_and_read_back() {
        let raw = Raw::new(26, &[2, 0, 0, 0]).with(1, b"abc").with(2, &[9; 4]);
        let mut bytes = vec![0; raw.buffer_len()];
        raw.serialize(&mut bytes);
        let list = Attrs::after(&bytes, 4);
        assert_eq!((list.get(1), list.get(2)), (Some(&b"abc"[..]), Some(&[9; 4][..])));
    }
}
