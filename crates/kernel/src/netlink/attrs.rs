//! Reading netlink attributes leniently: what is malformed or unknown is passed over, longer values than expected are fine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The attribute type without the "nested" and "network byte order" bits (include/uapi/linux/netlink.h, `NLA_TYPE_MASK`).
const TYPE_MASK: u16 = 0x3fff;

/// The attributes of a message or of a nested attribute, as (type, value).
#[derive(Clone, Copy)]
pub(crate) struct Attrs<'a>(&'a [u8]);

impl<'a> Attrs<'a> {
    /// The attributes in `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The attributes after a fixed header of `length` bytes; none if the message is shorter.
    pub(crate) fn after(payload: &'a [u8], length: usize) -> Self {
        Self(payload.get(length..).unwrap_or_default())
    }

    /// The value of the first attribute of a type.
    pub(crate) fn get(mut self, kind: u16) -> Option<&'a [u8]> {
        self.find(|(k, _)| *k == kind).map(|(_, value)| value)
    }

    /// The attributes nested in the first attribute of a type; none if there is no such attribute.
    pub(crate) fn nested(self, kind: u16) -> Attrs<'a> {
        Attrs(self.get(kind).unwrap_or_default())
    }
}

impl<'a> Iterator for Attrs<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16(self.0)?);
        let kind = u16(self.0.get(2..)?)? & TYPE_MASK;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// A 16-bit number in the machine's order.
pub(crate) fn u16(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().copied().map(u16::from_ne_bytes)
}

/// A 32-bit number in the machine's order.
pub(crate) fn u32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().copied().map(u32::from_ne_bytes)
}

/// A signed 32-bit number in the machine's order.
pub(crate) fn i32(bytes: &[u8]) -> Option<i32> {
    bytes.first_chunk().copied().map(i32::from_ne_bytes)
}

/// A truth value in one byte.
pub(crate) fn flag(bytes: &[u8]) -> Option<bool> {
    bytes.first().map(|b| *b != 0)
}

/// Text up to the terminating zero, if it is UTF-8.
pub(crate) fn text(bytes: &[u8]) -> Option<&str> {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    std::str::from_utf8(&bytes[..end]).ok()
}

/// An address of either family, told by its length.
pub(crate) fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(*bytes.first_chunk::<4>()?).into()),
        16 => Some(Ipv6Addr::from(*bytes.first_chunk::<16>()?).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_behind_padding_and_without_flag_bits() {
        let mut bytes = vec![5, 0, 3, 0, b'x', 0, 0, 0];
        bytes.extend([8, 0, 4, 0x80, 1, 0, 0, 0]);
        assert_eq!(Attrs::new(&bytes).get(3).and_then(text), Some("x"));
        assert_eq!(Attrs::new(&bytes).get(4).and_then(u32), Some(u32::from_ne_bytes([1, 0, 0, 0])));
        assert_eq!(Attrs::new(&bytes).get(5), None);
    }

    #[test]
    fn a_length_that_lies_ends_the_list() {
        for bytes in [vec![0, 0, 1, 0], vec![3, 0, 1, 0], vec![9, 0, 1, 0, 0, 0, 0, 0], vec![1]] {
            assert_eq!(Attrs::new(&bytes).count(), 0, "{bytes:?}");
        }
    }

    #[test]
    fn short_values_are_absent_and_long_ones_fine() {
        assert_eq!(u32(&[1, 2, 3]), None);
        assert_eq!(u32(&[0; 8]), Some(0));
        assert_eq!(ip(&[10, 0, 0, 1]), Some("10.0.0.1".parse().unwrap()));
        assert_eq!(ip(&[10, 0, 0]), None);
    }
}
