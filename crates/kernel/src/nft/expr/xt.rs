//! Matches in the form of iptables, for chains that iptables reads as well: one expression that it does not know makes it refuse
//! the whole chain. (Its own comments are read in [`comment`].)

use netlink_packet_core::DefaultNla;

use super::{Expr, raw};
use crate::netlink::attrs::{self, Attrs};

/// Attributes of a match (`enum nft_match_attributes`).
const NAME: u16 = 1;
const REVISION: u16 = 2;
const INFO: u16 = 3;
/// Attributes of an expression (`enum nft_expr_attributes`).
const EXPR_NAME: u16 = 1;
const EXPR_DATA: u16 = 2;

/// `-m conntrack --ctstate RELATED,ESTABLISHED`: `struct xt_conntrack_mtinfo3`, padded to eight bytes.
pub(super) fn established() -> Expr {
    const LENGTH: usize = 168;
    const MATCH_FLAGS: usize = 146;
    const STATE_MASK: usize = 150;
    /// `XT_CONNTRACK_STATE`.
    const BY_STATE: u16 = 1;
    /// `XT_CONNTRACK_STATE_BIT` of an established and of a related connection.
    const STATES: u16 = 1 << 1 | 1 << 2;
    let mut info = vec![0; LENGTH];
    info[MATCH_FLAGS..MATCH_FLAGS + 2].copy_from_slice(&BY_STATE.to_ne_bytes());
    info[STATE_MASK..STATE_MASK + 2].copy_from_slice(&STATES.to_ne_bytes());
    let name = b"conntrack\0".to_vec();
    let revision = 3_u32.to_be_bytes().to_vec();
    let attributes =
        vec![DefaultNla::new(NAME, name), DefaultNla::new(REVISION, revision), DefaultNla::new(INFO, info)];
    raw("match", attributes)
}

/// The text of `-m comment --comment` among a rule's expressions.
pub(in crate::nft) fn comment(expressions: Attrs<'_>) -> Option<&str> {
    expressions.into_iter().find_map(|(_, expression)| {
        let expression = Attrs::new(expression);
        let named = |list: Attrs<'_>, kind, name| list.get(kind).and_then(attrs::text) == Some(name);
        let data = expression.get(EXPR_DATA).filter(|_| named(expression, EXPR_NAME, "match"))?;
        let data = Attrs::new(data);
        data.get(INFO).filter(|_| named(data, NAME, "comment")).and_then(attrs::text)
    })
}
