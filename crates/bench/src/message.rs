//! Netlink messages by hand, for the measure that nothing of ours may be part of (include/uapi/linux/netlink.h).

/// Bytes before a message's own header.
const HEADER: usize = 16;
const NLM_F_REQUEST: u16 = 1;
/// The kernel acknowledges.
pub(crate) const ACK: u16 = 4;
/// Make it; it must not exist.
pub(crate) const CREATE: u16 = 0x600;
/// The message type of acknowledgements.
const NLMSG_ERROR: u16 = 2;

/// A message under construction.
pub(crate) struct Message(Vec<u8>);

impl Message {
    /// A request of a type with its family's header.
    pub(crate) fn new(kind: u16, flags: u16, header: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        bytes.extend(header);
        Self(bytes)
    }

    /// Adds an attribute.
    pub(crate) fn attr(mut self, kind: u16, value: &[u8]) -> Self {
        self.0.extend(attribute(kind, value));
        self
    }

    /// The finished message.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let length = self.0.len() as u32;
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0
    }
}

/// An attribute's bytes, padded to the next multiple of four.
pub(crate) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = ((value.len() + 4) as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The error number of an acknowledgement, 0 for success; nothing if the answer is another message.
pub(crate) fn errno(answer: &[u8]) -> Option<i32> {
    let kind = answer.get(4..)?.first_chunk().copied().map(u16::from_ne_bytes)?;
    let code = answer.get(HEADER..)?.first_chunk().copied().map(i32::from_ne_bytes)?;
    (kind == NLMSG_ERROR).then_some(-code)
}

/// The index in the answer to a question for a link (`struct ifinfomsg`).
pub(crate) fn link_index(answer: &[u8]) -> Option<u32> {
    answer.get(HEADER + 4..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_knows_its_length_and_pads_its_attributes() {
        let bytes = Message::new(16, ACK, &[0; 16]).attr(3, b"net1\0").finish();
        assert_eq!(bytes.len(), 16 + 16 + 12);
        assert_eq!(bytes[..8], [44, 0, 0, 0, 16, 0, 5, 0]);
        assert_eq!(bytes[32..], [9, 0, 3, 0, b'n', b'e', b't', b'1', 0, 0, 0, 0]);
    }

    #[test]
    fn only_acknowledgements_carry_an_error_number() {
        let mut answer = vec![0; 20];
        answer[4] = 2;
        assert_eq!(errno(&answer), Some(0));
        answer[16..20].copy_from_slice(&(-17i32).to_ne_bytes());
        assert_eq!(errno(&answer), Some(17));
        answer[4] = 16;
        assert_eq!(errno(&answer), None);
        assert_eq!(errno(&answer[..10]), None);
    }
}
