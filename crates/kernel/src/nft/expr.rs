//! Matches and statements as nf_tables expressions, in the forms that `nft` produces and therefore can print.

use std::net::IpAddr;

use netlink_packet_core::DefaultNla;
use netlink_packet_netfilter::nftables::{
    Bitwise, Cmp, DataAttribute, ExpressionAttribute, Expressions, Immediate, ListAttribute, Lookup, Meta,
    MetaKey, Operator, Payload, Register, Verdict, VerdictAttribute,
};
use polynic_net::{Family, FwExpr, FwFamily, FwVerdict, IpNet, Mac};

use crate::Errno;
use crate::netlink::Fault;

mod connection;
mod transport;
pub(super) mod xt;

/// One expression of a rule.
pub(super) type Expr = ListAttribute<ExpressionAttribute>;

/// Length of a link's name with its terminating zeros (`IFNAMSIZ`).
pub(super) const NAME_LEN: usize = 16;
/// Payload bases (`enum nft_payload_bases`).
const LINK_HEADER: u32 = 0;
const NETWORK_HEADER: u32 = 1;
/// Where an Ethernet header has its source.
const ETHER_SOURCE: u32 = 6;
/// Ethernet, as link type (`ARPHRD_ETHER`).
const ARPHRD_ETHER: u16 = 1;
/// Verdicts that end the evaluation (include/uapi/linux/netfilter.h).
const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;

/// The expressions of one match or statement in a table of `family`.
pub(super) fn encode(expr: &FwExpr, family: FwFamily) -> Result<Vec<Expr>, Fault> {
    Ok(match expr {
        FwExpr::Iif(name) => link_name(MetaKey::Iifname, Operator::Equal, name)?,
        FwExpr::Oif(name) => link_name(MetaKey::Oifname, Operator::Equal, name)?,
        FwExpr::NotIif(name) => link_name(MetaKey::Iifname, Operator::NotEqual, name)?,
        FwExpr::NotOif(name) => link_name(MetaKey::Oifname, Operator::NotEqual, name)?,
        FwExpr::Src { net, not } => address(family, *net, *not, Side::Source)?,
        FwExpr::Dst { net, not } => address(family, *net, *not, Side::Destination)?,
        FwExpr::IifIn(set) => vec![meta(MetaKey::Iifname), in_set(set)],
        FwExpr::OifIn(set) => vec![meta(MetaKey::Oifname), in_set(set)],
        FwExpr::SrcIn { set, family: of } => address_in(family, *of, set, Side::Source)?,
        FwExpr::DstIn { set, family: of } => address_in(family, *of, set, Side::Destination)?,
        FwExpr::EtherSrc(mac) => ether_source(family, *mac),
        FwExpr::NoReturnPath => no_return_path(),
        FwExpr::NewConnection => connection::is_new(),
        FwExpr::DestinationRewritten => connection::is_dnat(),
        FwExpr::OriginalDstPort(port) => connection::original_port(*port),
        FwExpr::XtEstablished => vec![xt::established()],
        FwExpr::KnownConnection => connection::is_known(),
        FwExpr::ConnectionMark { value, mask } => connection::mark(*value, *mask),
        FwExpr::SetConnectionMark { value, mask } => connection::set_mark(*value, *mask),
        FwExpr::Protocol(number) => vec![meta(MetaKey::L4Proto), compare(Operator::Equal, vec![*number])],
        FwExpr::DstPort(port) => transport::destination_port(*port),
        FwExpr::DstPorts { first, last } => transport::destination_ports(*first, *last),
        FwExpr::IcmpTypes { first, last } => transport::icmp_types(family, Family::V4, (*first, *last))?,
        FwExpr::Icmpv6Types { first, last } => transport::icmp_types(family, Family::V6, (*first, *last))?,
        FwExpr::DstIsLocal => transport::to_this_host(),
        FwExpr::OneIn(count) => transport::one_in(*count),
        FwExpr::Mark { value, mask } => transport::mark(*value, *mask),
        FwExpr::SetMark { value, mask } => transport::set_mark(*value, *mask),
        FwExpr::Dnat(to) => transport::destination(family, *to)?,
        FwExpr::Reject => vec![transport::reject(family)],
        FwExpr::Masquerade => vec![raw("masq", Vec::new())],
        FwExpr::MasqueradeRandom => vec![masquerade_random()],
        FwExpr::Verdict(verdict) => vec![end(verdict)],
    })
}

/// A name is compared with all its terminating zeros, a prefix with what there is of it.
fn link_name(key: MetaKey, operator: Operator, name: &str) -> Result<Vec<Expr>, Fault> {
    let (bytes, whole) = match name.strip_suffix('*') {
        Some(prefix) => (prefix.as_bytes().to_vec(), false),
        None => (name.as_bytes().to_vec(), true),
    };
    if bytes.len() >= NAME_LEN || (whole && bytes.is_empty()) {
        return Err(Fault::refused(Errno::EINVAL, format!("{name:?} matches no link's name")));
    }
    if bytes.is_empty() {
        // Every name matches; that none does cannot be said of a name.
        return match operator {
            Operator::Equal => Ok(Vec::new()),
            _ => Err(Fault::refused(Errno::EINVAL, format!("{name:?} leaves no link over"))),
        };
    }
    let mut bytes = bytes;
    if whole {
        bytes.resize(NAME_LEN, 0);
    }
    Ok(vec![meta(key), compare(operator, bytes)])
}

#[derive(Clone, Copy)]
enum Side {
    Source,
    Destination,
}

fn address(family: FwFamily, net: IpNet, not: bool, side: Side) -> Result<Vec<Expr>, Fault> {
    let mut list = load_address(family, Family::of(net.addr()), side)?;
    let (network, mask) = (bytes(net.network()), bytes(net.netmask()));
    if net.prefix_len() < net.max_prefix_len() {
        list.push(masked(mask));
    }
    let operator = if not { Operator::NotEqual } else { Operator::Equal };
    list.push(compare(operator, network));
    Ok(list)
}

/// The address at one end, in register 1.
fn load_address(table: FwFamily, family: Family, side: Side) -> Result<Vec<Expr>, Fault> {
    let (offset, length) = match (family, side) {
        (Family::V4, Side::Source) => (12, 4),
        (Family::V4, Side::Destination) => (16, 4),
        (Family::V6, Side::Source) => (8, 16),
        (Family::V6, Side::Destination) => (24, 16),
    };
    let mut list = network_protocol(table, family)?;
    list.push(payload(NETWORK_HEADER, offset, length));
    Ok(list)
}

fn address_in(table: FwFamily, family: Family, set: &str, side: Side) -> Result<Vec<Expr>, Fault> {
    let mut list = load_address(table, family, side)?;
    list.push(in_set(set));
    Ok(list)
}

/// Whether register 1 is in a set.
fn in_set(set: &str) -> Expr {
    let lookup = vec![Lookup::SourceRegister(Register::Reg1), Lookup::Set(set.to_owned())];
    typed("lookup", Expressions::Lookup(lookup))
}

/// Where a table sees packets of several protocols, the protocol must be matched before its header is read.
fn network_protocol(table: FwFamily, family: Family) -> Result<Vec<Expr>, Fault> {
    match (table, family) {
        (FwFamily::Ip, Family::V4) | (FwFamily::Ip6, Family::V6) => Ok(Vec::new()),
        (FwFamily::Inet, _) => {
            let number = if family == Family::V4 { libc::NFPROTO_IPV4 } else { libc::NFPROTO_IPV6 };
            Ok(vec![meta(MetaKey::Nfproto), compare(Operator::Equal, vec![number as u8])])
        }
        (FwFamily::Bridge, _) => {
            let number = if family == Family::V4 { libc::ETH_P_IP } else { libc::ETH_P_IPV6 };
            let number = (number as u16).to_be_bytes().to_vec();
            Ok(vec![meta(MetaKey::EtherTypeProtocol), compare(Operator::Equal, number)])
        }
        (FwFamily::Ip | FwFamily::Ip6, _) => Err(Fault::refused(
            Errno::EINVAL,
            format!("a table for the other family sees no {family} address"),
        )),
    }
}

fn ether_source(family: FwFamily, mac: Mac) -> Vec<Expr> {
    // Packets on a bridge have an Ethernet header, others only if their link is an Ethernet one.
    let mut list = match family {
        FwFamily::Bridge => Vec::new(),
        _ => vec![meta(MetaKey::Iftype), compare(Operator::Equal, ARPHRD_ETHER.to_ne_bytes().to_vec())],
    };
    list.push(payload(LINK_HEADER, ETHER_SOURCE, 6));
    list.push(compare(Operator::Equal, mac.0.to_vec()));
    list
}

/// `fib saddr . iif oif missing` (include/uapi/linux/netfilter/nf_tables.h, `enum nft_fib_attributes`): whether there is a
/// link for the way back, and whether that says no.
fn no_return_path() -> Vec<Expr> {
    const DREG: u16 = 1;
    const RESULT: u16 = 2;
    const FLAGS: u16 = 3;
    const RESULT_OIF: u32 = 1;
    const SADDR_IIF_PRESENT: u32 = 1 | 1 << 3 | 1 << 5;
    let number = |kind, value: u32| DefaultNla::new(kind, value.to_be_bytes().to_vec());
    let fib = vec![number(FLAGS, SADDR_IIF_PRESENT), number(RESULT, RESULT_OIF), number(DREG, 1)];
    vec![raw("fib", fib), compare(Operator::Equal, vec![0; 4])]
}

/// `NFTA_MASQ_FLAGS` = `NF_NAT_RANGE_PROTO_RANDOM_FULLY` (include/uapi/linux/netfilter/nf_tables.h and nf_nat.h).
fn masquerade_random() -> Expr {
    const FLAGS: u16 = 1;
    const RANDOM_FULLY: u32 = 1 << 4;
    raw("masq", vec![DefaultNla::new(FLAGS, RANDOM_FULLY.to_be_bytes().to_vec())])
}

fn end(verdict: &FwVerdict) -> Expr {
    let (code, chain) = match verdict {
        FwVerdict::Accept => (Verdict::Other(NF_ACCEPT), None),
        FwVerdict::Drop => (Verdict::Other(NF_DROP), None),
        FwVerdict::Return => (Verdict::Return, None),
        FwVerdict::Jump(chain) => (Verdict::Jump, Some(chain)),
        FwVerdict::Goto(chain) => (Verdict::Goto, Some(chain)),
    };
    let mut attributes = vec![VerdictAttribute::Code(code)];
    attributes.extend(chain.cloned().map(VerdictAttribute::Chain));
    let data = Immediate::Data(DataAttribute::Verdict(attributes));
    typed("immediate", Expressions::Immediate(vec![Immediate::DestinationRegister(Register::Verdict), data]))
}

fn meta(key: MetaKey) -> Expr {
    typed("meta", Expressions::Meta(vec![Meta::Key(key), Meta::DestinationRegister(Register::Reg1)]))
}

fn payload(base: u32, offset: u32, length: u32) -> Expr {
    typed(
        "payload",
        Expressions::Payload(vec![
            Payload::DestinationRegister(Register::Reg1),
            Payload::Base(base),
            Payload::Offset(offset),
            Payload::Len(length),
        ]),
    )
}

fn masked(mask: Vec<u8>) -> Expr {
    let zeros = vec![0; mask.len()];
    typed(
        "bitwise",
        Expressions::Bitwise(vec![
            Bitwise::SourceRegister(Register::Reg1),
            Bitwise::DestinationRegister(Register::Reg1),
            Bitwise::Length(mask.len() as u32),
            Bitwise::Mask(DataAttribute::Value(mask)),
            Bitwise::Xor(DataAttribute::Value(zeros)),
        ]),
    )
}

fn compare(operator: Operator, value: Vec<u8>) -> Expr {
    typed(
        "cmp",
        Expressions::Cmp(vec![
            Cmp::SourceRegister(Register::Reg1),
            Cmp::Op(operator),
            Cmp::Data(DataAttribute::Value(value)),
        ]),
    )
}

fn raw(name: &str, attributes: Vec<DefaultNla>) -> Expr {
    typed(name, Expressions::Other { expression_type: name.to_owned(), attributes })
}

fn typed(name: &str, data: Expressions) -> Expr {
    ListAttribute::Element(vec![ExpressionAttribute::Name(name.to_owned()), ExpressionAttribute::Data(data)])
}

/// An address as it stands in packets.
pub(super) fn bytes(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests;
