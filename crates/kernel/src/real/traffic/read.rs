//! Answers.

use polynic_net::{IfName, TokenBucket, TrafficFact, TrafficHook, TrafficKey};

use super::{AT_INGRESS, AT_ROOT, INGRESS, ROOT};
use crate::netlink::attrs::{self, Attrs};

/// Fixed part of a message (`struct tcmsg`).
const HEADER: usize = 20;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;

/// What was seen on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) key: TrafficKey,
    bucket: Option<TokenBucket>,
}

impl Seen {
    fn of(key: TrafficKey) -> Self {
        Self { key, bucket: None }
    }

    /// Where it sits, if it is a discipline.
    pub(super) fn hook(&self) -> Option<TrafficHook> {
        match self.key {
            TrafficKey::Qdisc(hook) => Some(hook),
            _ => None,
        }
    }

    pub(super) fn on(self, link: &IfName) -> TrafficFact {
        TrafficFact { link: link.clone(), key: self.key, bucket: self.bucket }
    }
}

/// `struct tcmsg`, of this link only: dumps may be about all links.
struct Header {
    handle: u32,
    parent: u32,
    info: u32,
}

fn header(payload: &[u8], index: u32) -> Option<Header> {
    let word = |at: usize| attrs::u32(payload.get(at..)?);
    let header = Header { handle: word(8)?, parent: word(12)?, info: word(16)? };
    (word(4)? == index).then_some(header)
}

/// A discipline of ours: others have other handles, and the kernel's own have none.
pub(super) fn qdisc(payload: &[u8], index: u32) -> Option<Seen> {
    let header = header(payload, index)?;
    let hook = match (header.parent, header.handle) {
        (AT_ROOT, ROOT) => TrafficHook::Root,
        (AT_INGRESS, INGRESS) => TrafficHook::Ingress,
        _ => return None,
    };
    let list = Attrs::after(payload, HEADER);
    let is_tbf = list.get(TCA_KIND).and_then(attrs::text) == Some("tbf");
    let bucket = if is_tbf { bucket(list.nested(TCA_OPTIONS)) } else { None };
    Some(Seen { key: TrafficKey::Qdisc(hook), bucket })
}

/// `struct tc_tbf_qopt`.
fn bucket(options: Attrs<'_>) -> Option<TokenBucket> {
    const PARMS: u16 = 1;
    const RATE64: u16 = 4;
    let parameters = options.get(PARMS)?;
    let word = |at: usize| attrs::u32(parameters.get(at..)?);
    let wide = options.get(RATE64).and_then(|v| v.first_chunk().copied()).map(u64::from_ne_bytes);
    Some(TokenBucket { rate: wide.unwrap_or(u64::from(word(8)?)), limit: word(24)?, buffer: word(28)? })
}

/// A class that somebody made: other disciplines have some by themselves.
pub(super) fn class(payload: &[u8], index: u32) -> Option<Seen> {
    let header = header(payload, index)?;
    let id = (header.handle & 0xffff) as u16;
    let is_htb = Attrs::after(payload, HEADER).get(TCA_KIND).and_then(attrs::text) == Some("htb");
    (is_htb && header.handle & 0xffff_0000 == ROOT && id != 0).then(|| Seen::of(TrafficKey::Class(id)))
}

/// A filter is shown several times: as such, as its table and as its entry.
pub(super) fn filter(payload: &[u8], index: u32, hook: TrafficHook) -> Option<Seen> {
    let header = header(payload, index)?;
    Some(Seen::of(TrafficKey::Filter(hook, (header.info >> 16) as u16)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let index = attrs::u32(bytes.get(4..).unwrap_or_default()).unwrap_or_default();
            let _ = (qdisc(&bytes, index), class(&bytes, index), filter(&bytes, index, TrafficHook::Root));
        }
    }
}
