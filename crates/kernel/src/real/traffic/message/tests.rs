//! Golden bytes: what `tc` (iproute2 6.1) and the replaced plugin send for the same, but for what they add without effect.

use polynic_net::{IfName, TrafficFilter};

use super::*;
use crate::netlink::encode;

fn bytes(object: &TrafficObject, index: u32, target: u32) -> Vec<u8> {
    encode(create(object, index, target), 0, 1)
}

#[test]
fn a_bucket_is_asked_for_in_these_bytes() {
    let bucket = TokenBucket { rate: 125_000, buffer: 1_250_000, limit: 13_125 };
    let expected: [&[u8]; 7] = [
        &[88, 0, 0, 0, 36, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], // header: RTM_NEWQDISC
        &[0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 1, 0, 255, 255, 255, 255, 0, 0, 0, 0], // tcmsg: 1: at the root of link 7
        &[8, 0, 1, 0, b't', b'b', b'f', 0],                                    // TCA_KIND
        &[44, 0, 2, 0x80],                                                     // TCA_OPTIONS
        &[40, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x48, 0xe8, 1, 0],              // TCA_TBF_PARMS: rate
        &[0; 12],                                                              // no peak rate
        &[0x45, 0x33, 0, 0, 0xd0, 0x12, 0x13, 0, 0, 0, 0, 0],                  // limit, buffer, mtu
    ];
    assert_eq!(bytes(&TrafficObject::Qdisc(Qdisc::Tbf(bucket)), 7, 0), expected.concat());
}

#[test]
fn a_rate_beyond_32_bits_has_an_attribute_of_its_own() {
    let bucket = TokenBucket { rate: 5_000_000_000, buffer: 1, limit: 1 };
    let bytes = bytes(&TrafficObject::Qdisc(Qdisc::Tbf(bucket)), 7, 0);
    let wide = [&[12, 0, 4, 0][..], &5_000_000_000_u64.to_ne_bytes()].concat();
    assert!(bytes.ends_with(&wide), "{bytes:?}");
}

#[test]
fn a_redirection_is_asked_for_in_these_bytes() {
    let filter = TrafficFilter {
        hook: TrafficHook::Ingress,
        priority: 1,
        matches: TrafficMatch::All,
        action: TrafficAction::Redirect(IfName::loopback()),
    };
    let expected: [&[u8]; 11] = [
        &[148, 0, 0, 0, 44, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], // header: RTM_NEWTFILTER
        &[0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 3, 1, 0], // tcmsg: parent ffff:, priority 1, all
        &[8, 0, 1, 0, b'u', b'3', b'2', 0],                                // TCA_KIND
        &[104, 0, 2, 0x80],                                                // TCA_OPTIONS
        &[8, 0, 1, 0, 1, 0, 1, 0],                                         // TCA_U32_CLASSID 1:1
        &[36, 0, 5, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],    // TCA_U32_SEL: terminal, one key
        &[0; 16],                                                          // which matches all
        &[56, 0, 7, 0x80, 52, 0, 1, 0x80],                                 // TCA_U32_ACT, the first
        &[11, 0, 1, 0, b'm', b'i', b'r', b'r', b'e', b'd', 0, 0],          // TCA_ACT_KIND
        &[36, 0, 2, 0x80, 32, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0], // TCA_MIRRED_PARMS: stolen
        &[0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0],                 // egress redirect to link 9
    ];
    assert_eq!(bytes(&TrafficObject::Filter(filter), 7, 9), expected.concat());
}

#[test]
fn networks_are_matched_word_by_word() {
    let of = |matches: TrafficMatch| selector(&matches)[16..].to_vec();
    assert_eq!(
        of(TrafficMatch::From("10.1.0.0/16".parse().unwrap())),
        [255, 255, 0, 0, 10, 1, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0]
    );
    let v6 = of(TrafficMatch::To("fd00:1::/40".parse().unwrap()));
    assert_eq!(v6.len(), 32, "the words behind the prefix match everything");
    assert_eq!(v6[..16], [255, 255, 255, 255, 0xfd, 0, 0, 1, 24, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(v6[16..], [255, 0, 0, 0, 0, 0, 0, 0, 28, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(of(TrafficMatch::From("::/0".parse().unwrap())).len(), 16);
}

/// Waiting is short by the usual measure, longer only where a packet takes longer by itself, and never without room for one.
#[test]
fn a_queue_behind_a_bucket_is_short() {
    let at = |rate, limit| {
        let bucket = TokenBucket { rate, buffer: 1, limit };
        let Delay { target, interval } = Delay::at(&bucket);
        (target, interval, packets(&bucket), memory(&bucket))
    };
    assert_eq!(at(125_000_000, 400_000), (5_000, 100_000, 781, 800_000));
    assert_eq!(at(10_000, 10_250), (302_800, 695_600, 20, 20_500));
    assert_eq!(at(1, 1), (1_000_000, 2_090_000, 16, 16 << 10));
    assert_eq!(at(u64::MAX, u32::MAX), (5_000, 100_000, 10_240, 32 << 20));
}

#[test]
fn a_fair_queue_is_asked_for_in_these_bytes() {
    let bucket = TokenBucket { rate: 125_000_000, buffer: 1, limit: 400_000 };
    let expected: [&[u8]; 8] = [
        &[88, 0, 0, 0, 36, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], // header: RTM_NEWQDISC
        &[0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 2, 0, 0x30, 0, 1, 0, 0, 0, 0, 0], // tcmsg: 2: of class 1:30 of link 7
        &[13, 0, 1, 0, b'f', b'q', b'_', b'c', b'o', b'd', b'e', b'l', 0, 0, 0, 0], // TCA_KIND
        &[36, 0, 2, 0x80],                                   // TCA_OPTIONS
        &[8, 0, 1, 0, 0x88, 0x13, 0, 0],                     // TCA_FQ_CODEL_TARGET
        &[8, 0, 2, 0, 0x0d, 3, 0, 0],                        // TCA_FQ_CODEL_LIMIT
        &[8, 0, 3, 0, 0xa0, 0x86, 1, 0],                     // TCA_FQ_CODEL_INTERVAL
        &[8, 0, 9, 0, 0, 0x35, 0x0c, 0],                     // TCA_FQ_CODEL_MEMORY_LIMIT
    ];
    assert_eq!(encode(fair_queue(7, 0x30, &bucket), 0, 1), expected.concat());
}
