//! Expressions about ports, marks and new destinations.

use std::net::{IpAddr, SocketAddr};

use netlink_packet_core::DefaultNla;
use netlink_packet_netfilter::nftables::{
    Bitwise, DataAttribute, Expressions, Immediate, Meta, MetaKey, Operator, Register,
};
use polynic_net::{Family, FwFamily};

use super::{Expr, bytes, compare, meta, network_protocol, payload, raw, typed};
use crate::Errno;
use crate::netlink::Fault;

/// Payload base (`enum nft_payload_bases`).
const TRANSPORT_HEADER: u32 = 2;
/// Protocol number of ICMPv6.
const IPPROTO_ICMP: u8 = 1;
const IPPROTO_ICMPV6: u8 = 58;

/// The destination port of TCP, UDP and SCTP.
pub(super) fn destination_port(port: u16) -> Vec<Expr> {
    vec![payload(TRANSPORT_HEADER, 2, 2), compare(Operator::Equal, port.to_be_bytes().to_vec())]
}

/// `th dport FIRST-LAST`.
pub(super) fn destination_ports(first: u16, last: u16) -> Vec<Expr> {
    let bytes = |port: u16| port.to_be_bytes().to_vec();
    between(payload(TRANSPORT_HEADER, 2, 2), bytes(first), bytes(last))
}

/// `icmp type FIRST-LAST` and `icmpv6 type FIRST-LAST`.
pub(super) fn icmp_types(table: FwFamily, of: Family, (first, last): (u8, u8)) -> Result<Vec<Expr>, Fault> {
    let protocol = match of {
        Family::V4 => IPPROTO_ICMP,
        Family::V6 => IPPROTO_ICMPV6,
    };
    let mut list = network_protocol(table, of)?;
    list.extend([meta(MetaKey::L4Proto), compare(Operator::Equal, vec![protocol])]);
    list.extend(between(payload(TRANSPORT_HEADER, 0, 1), vec![first], vec![last]));
    Ok(list)
}

/// What `load` puts into register 1 is at least `first` and at most `last`.
fn between(load: Expr, first: Vec<u8>, last: Vec<u8>) -> Vec<Expr> {
    if first == last {
        return vec![load, compare(Operator::Equal, first)];
    }
    vec![load, compare(Operator::GreatherThanEqual, first), compare(Operator::LessThanEqual, last)]
}

/// `fib daddr type local` (`enum nft_fib_attributes`; the type is `RTN_LOCAL`).
pub(super) fn to_this_host() -> Vec<Expr> {
    const DREG: u16 = 1;
    const RESULT: u16 = 2;
    const FLAGS: u16 = 3;
    const RESULT_ADDRESS_TYPE: u32 = 3;
    const DESTINATION: u32 = 1 << 1;
    let fib = vec![number(FLAGS, DESTINATION), number(RESULT, RESULT_ADDRESS_TYPE), number(DREG, 1)];
    let local = u32::from(libc::RTN_LOCAL);
    vec![raw("fib", fib), compare(Operator::Equal, local.to_ne_bytes().to_vec())]
}

/// `numgen random mod N 0` (`enum nft_ng_attributes`).
pub(super) fn one_in(count: u32) -> Vec<Expr> {
    const DREG: u16 = 1;
    const MODULUS: u16 = 2;
    const TYPE: u16 = 3;
    const OFFSET: u16 = 4;
    const RANDOM: u32 = 1;
    if count <= 1 {
        return Vec::new();
    }
    let numgen = vec![number(DREG, 1), number(MODULUS, count), number(TYPE, RANDOM), number(OFFSET, 0)];
    vec![raw("numgen", numgen), compare(Operator::Equal, vec![0; 4])]
}

pub(super) fn mark(value: u32, mask: u32) -> Vec<Expr> {
    vec![meta(MetaKey::Mark), bits(mask, 0), compare(Operator::Equal, (value & mask).to_ne_bytes().to_vec())]
}

pub(super) fn set_mark(value: u32, mask: u32) -> Vec<Expr> {
    let store = Expressions::Meta(vec![Meta::Key(MetaKey::Mark), Meta::Other(number(SOURCE, 1))]);
    vec![meta(MetaKey::Mark), bits(!mask, value & mask), typed("meta", store)]
}

/// Where a meta expression takes its value from (`NFTA_META_SREG`).
const SOURCE: u16 = 3;

/// Register 1 `& mask ^ xor`, in the machine's order.
pub(super) fn bits(mask: u32, xor: u32) -> Expr {
    let value = |number: u32| DataAttribute::Value(number.to_ne_bytes().to_vec());
    typed(
        "bitwise",
        Expressions::Bitwise(vec![
            Bitwise::SourceRegister(Register::Reg1),
            Bitwise::DestinationRegister(Register::Reg1),
            Bitwise::Length(4),
            Bitwise::Mask(value(mask)),
            Bitwise::Xor(value(xor)),
        ]),
    )
}

/// `dnat to ADDRESS:PORT` (`enum nft_nat_attributes`).
pub(super) fn destination(family: FwFamily, to: SocketAddr) -> Result<Vec<Expr>, Fault> {
    const TYPE: u16 = 1;
    const FAMILY: u16 = 2;
    const ADDRESS: u16 = 3;
    const PORT: u16 = 5;
    const FLAGS: u16 = 7;
    /// `NF_NAT_RANGE_PROTO_SPECIFIED`; the other one, for addresses, the kernel sets by itself.
    const WITH_PORT: u32 = 1 << 1;
    const TO_DESTINATION: u32 = 1;
    let protocol = match (family, to.ip()) {
        (FwFamily::Ip | FwFamily::Inet, IpAddr::V4(_)) => libc::NFPROTO_IPV4,
        (FwFamily::Ip6 | FwFamily::Inet, IpAddr::V6(_)) => libc::NFPROTO_IPV6,
        _ => return Err(Fault::refused(Errno::EINVAL, format!("no packet of this table can go to {to}"))),
    };
    let nat = vec![
        number(TYPE, TO_DESTINATION),
        number(FAMILY, protocol.unsigned_abs()),
        number(ADDRESS, 1),
        number(PORT, 2),
        number(FLAGS, WITH_PORT),
    ];
    Ok(vec![
        constant(Register::Reg1, bytes(to.ip())),
        constant(Register::Reg2, to.port().to_be_bytes().to_vec()),
        raw("nat", nat),
    ])
}

fn constant(register: Register, value: Vec<u8>) -> Expr {
    let data = Immediate::Data(DataAttribute::Value(value));
    typed("immediate", Expressions::Immediate(vec![Immediate::DestinationRegister(register), data]))
}

/// `reject with icmp port-unreachable`, or its like for both families (`enum nft_reject_types`, `nft_reject_inet_code`).
pub(super) fn reject(family: FwFamily) -> Expr {
    const TYPE: u16 = 1;
    const CODE: u16 = 2;
    let (kind, code) = match family {
        FwFamily::Ip => (0_u32, 3_u8),
        FwFamily::Ip6 => (0, 4),
        FwFamily::Inet | FwFamily::Bridge => (2, 1),
    };
    raw("reject", vec![number(TYPE, kind), DefaultNla::new(CODE, vec![code])])
}

pub(super) fn number(kind: u16, value: u32) -> DefaultNla {
    DefaultNla::new(kind, value.to_be_bytes().to_vec())
}
