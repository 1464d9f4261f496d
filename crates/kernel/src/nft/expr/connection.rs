//! Expressions about the connection that a packet belongs to (`ct`).

use netlink_packet_core::DefaultNla;
use netlink_packet_netfilter::nftables::Operator;

use super::transport::{bits, number};
use super::{Expr, compare, masked, raw};

/// Attributes and keys (`enum nft_ct_attributes`, `enum nft_ct_keys`).
const DESTINATION: u16 = 1;
const KEY: u16 = 2;
const DIRECTION: u16 = 3;
const SOURCE: u16 = 4;
const STATE: u32 = 0;
const STATUS: u32 = 2;
const MARK: u32 = 3;
const DESTINATION_PORT: u32 = 12;
/// The status of a connection whose destination was rewritten (`IPS_DST_NAT`).
const DST_NAT: u32 = 1 << 5;
/// The direction of a connection's first packet (`IP_CT_DIR_ORIGINAL`).
const ORIGINAL: u8 = 0;
/// The bit of a connection that is new (`NF_CT_STATE_BIT(IP_CT_NEW)`).
const NEW: u32 = 8;
/// The same for one that was answered (`IP_CT_ESTABLISHED`), and one that another connection announced (`IP_CT_RELATED`).
const ESTABLISHED: u32 = 2;
const RELATED: u32 = 4;

/// `ct state new`.
pub(super) fn is_new() -> Vec<Expr> {
    vec![load(STATE), masked(NEW.to_ne_bytes().to_vec()), compare(Operator::NotEqual, vec![0; 4])]
}

/// `ct status dnat`.
pub(super) fn is_dnat() -> Vec<Expr> {
    vec![load(STATUS), masked(DST_NAT.to_ne_bytes().to_vec()), compare(Operator::NotEqual, vec![0; 4])]
}

/// `ct original proto-dst PORT`.
pub(super) fn original_port(port: u16) -> Vec<Expr> {
    let direction = DefaultNla::new(DIRECTION, vec![ORIGINAL]);
    let load = raw("ct", vec![number(DESTINATION, 1), number(KEY, DESTINATION_PORT), direction]);
    vec![load, compare(Operator::Equal, port.to_be_bytes().to_vec())]
}

/// `ct state established,related`.
pub(super) fn is_known() -> Vec<Expr> {
    let known = ESTABLISHED | RELATED;
    vec![load(STATE), masked(known.to_ne_bytes().to_vec()), compare(Operator::NotEqual, vec![0; 4])]
}

/// `ct mark & MASK == VALUE`.
pub(super) fn mark(value: u32, mask: u32) -> Vec<Expr> {
    vec![load(MARK), bits(mask, 0), compare(Operator::Equal, (value & mask).to_ne_bytes().to_vec())]
}

/// `ct mark set ct mark & ~MASK ^ VALUE`.
pub(super) fn set_mark(value: u32, mask: u32) -> Vec<Expr> {
    vec![load(MARK), bits(!mask, value & mask), raw("ct", vec![number(KEY, MARK), number(SOURCE, 1)])]
}

fn load(key: u32) -> Expr {
    raw("ct", vec![number(DESTINATION, 1), number(KEY, key)])
}
