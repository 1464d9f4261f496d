//! Policy rules with all their selectors.

use polynic_net::stack::{PolicyRule, RuleAction};
use polynic_net::{Family, IpNet};

use super::Surveyor;
use crate::netlink::Fault;
use crate::netlink::attrs::{self, Attrs};
use crate::netlink::raw::Raw;

/// Fixed part of a rule's message (`struct fib_rule_hdr`).
const HEADER: usize = 12;
/// The rule matches what its selectors do not (`FIB_RULE_INVERT`).
const INVERT: u32 = 2;

/// Attributes of include/uapi/linux/fib_rules.h.
mod fra {
    pub const DST: u16 = 1;
    pub const SRC: u16 = 2;
    pub const IIFNAME: u16 = 3;
    pub const GOTO: u16 = 4;
    pub const PRIORITY: u16 = 6;
    pub const FWMARK: u16 = 10;
    pub const SUPPRESS_IFGROUP: u16 = 13;
    pub const SUPPRESS_PREFIXLEN: u16 = 14;
    pub const TABLE: u16 = 15;
    pub const FWMASK: u16 = 16;
    pub const OIFNAME: u16 = 17;
    pub const L3MDEV: u16 = 19;
    pub const UID_RANGE: u16 = 20;
    pub const PROTOCOL: u16 = 21;
    pub const IP_PROTO: u16 = 22;
    pub const SPORT_RANGE: u16 = 23;
    pub const DPORT_RANGE: u16 = 24;
    pub const UNDERSTOOD: [u16; 17] = [
        DST,
        SRC,
        IIFNAME,
        GOTO,
        PRIORITY,
        FWMARK,
        SUPPRESS_IFGROUP,
        SUPPRESS_PREFIXLEN,
        TABLE,
        FWMASK,
        OIFNAME,
        L3MDEV,
        UID_RANGE,
        PROTOCOL,
        IP_PROTO,
        SPORT_RANGE,
        DPORT_RANGE,
    ];
    /// Padding, and masks of ports, which say nothing new where they cover all bits.
    pub const PADDING: u16 = 18;
    pub const SPORT_MASK: u16 = 28;
    pub const DPORT_MASK: u16 = 29;
}

impl Surveyor {
    pub(super) fn rules(&mut self) -> Result<Vec<PolicyRule>, Fault> {
        let mut found = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let mut header = [0; HEADER];
            header[0] = family as u8;
            found.extend(self.route.dump(Raw::new(libc::RTM_GETRULE, &header), rule)?);
        }
        Ok(found)
    }
}

fn rule(payload: &[u8]) -> Option<PolicyRule> {
    let &[family, dst_len, src_len, tos, table, _, _, action] = payload.first_chunk()?;
    let flags = attrs::u32(payload.get(8..)?)?;
    let list = Attrs::after(payload, HEADER);
    let family = if i32::from(family) == libc::AF_INET { Family::V4 } else { Family::V6 };
    let number = |kind| list.get(kind).and_then(attrs::u32);
    let table = number(fra::TABLE).unwrap_or(u32::from(table));
    let action = action_of(action, table, number(fra::GOTO).unwrap_or_default());
    let mut rule = PolicyRule::new(family, number(fra::PRIORITY).unwrap_or_default(), action);
    rule.invert = flags & INVERT != 0;
    rule.tos = tos;
    let net = |kind, length| list.get(kind).and_then(attrs::ip).and_then(|ip| IpNet::new(ip, length).ok());
    (rule.from, rule.to) = (net(fra::SRC, src_len), net(fra::DST, dst_len));
    let text = |kind| list.get(kind).and_then(attrs::text).map(str::to_owned);
    (rule.iif, rule.oif) = (text(fra::IIFNAME), text(fra::OIFNAME));
    rule.mark = mark(number(fra::FWMARK), number(fra::FWMASK));
    rule.protocol = list.get(fra::IP_PROTO).and_then(|bytes| bytes.first().copied());
    rule.source_ports = ports(list.get(fra::SPORT_RANGE));
    rule.ports = ports(list.get(fra::DPORT_RANGE));
    rule.users = list.get(fra::UID_RANGE).and_then(|b| Some((attrs::u32(b)?, attrs::u32(b.get(4..)?)?)));
    rule.l3mdev = list.get(fra::L3MDEV).and_then(attrs::flag).unwrap_or_default();
    let limit = |kind| number(kind).filter(|n| *n != u32::MAX);
    (rule.suppress_prefixlen, rule.suppress_group) =
        (limit(fra::SUPPRESS_PREFIXLEN), limit(fra::SUPPRESS_IFGROUP));
    rule.unknown = list.filter(|(kind, value)| !is_understood(*kind, value)).map(|(kind, _)| kind).collect();
    Some(rule)
}

/// Numbers of include/uapi/linux/fib_rules.h.
fn action_of(action: u8, table: u32, target: u32) -> RuleAction {
    match action {
        1 => RuleAction::Table(table),
        2 => RuleAction::Goto(target),
        7 => RuleAction::Unreachable,
        8 => RuleAction::Prohibit,
        6 => RuleAction::Blackhole,
        _ => RuleAction::Nop,
    }
}

/// The kernel leaves out a mark of 0, and a mask of 0 with it.
fn mark(mark: Option<u32>, mask: Option<u32>) -> Option<(u32, u32)> {
    let mark = mark.unwrap_or_default();
    let mask = mask.unwrap_or(if mark == 0 { 0 } else { u32::MAX });
    (mask != 0).then_some((mark, mask))
}

fn ports(bytes: Option<&[u8]>) -> Option<(u16, u16)> {
    let bytes = bytes?;
    Some((attrs::u16(bytes)?, attrs::u16(bytes.get(2..)?)?))
}

fn is_understood(kind: u16, value: &[u8]) -> bool {
    match kind {
        fra::PADDING => true,
        fra::SPORT_MASK | fra::DPORT_MASK => value.iter().all(|byte| *byte == 0xff),
        kind => fra::UNDERSTOOD.contains(&kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_selector_is_read_and_a_strange_one_is_named() {
        let mut message = vec![libc::AF_INET as u8, 0, 24, 0, 254, 0, 0, 1, 2, 0, 0, 0];
        message.extend([8, 0, 2, 0, 10, 0, 0, 0]);
        message.extend([8, 0, 14, 0, 0, 0, 0, 0]);
        message.extend([8, 0, 10, 0, 5, 0, 0, 0]);
        message.extend([8, 0, 24, 0, 80, 0, 90, 0]);
        message.extend([5, 0, 25, 0, 7, 0, 0, 0]);
        let rule = rule(&message).unwrap();
        assert_eq!(
            rule.to_string(),
            "0: not from 10.0.0.0/24 fwmark 0x5/0xffffffff dport 80-90 lookup main suppress_prefixlength 0"
        );
        assert_eq!(rule.unknown, [25]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = rule(&bytes);
        }
    }
}
