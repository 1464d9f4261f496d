//! Golden bytes: what `nft` 1.0.6 sends for the same rules, recorded with strace.

use netlink_packet_core::Emitable;
use polynic_net::{FwExpr, FwFamily, FwVerdict, Mac};

use super::encode;

fn hex(family: FwFamily, exprs: &[FwExpr]) -> String {
    let list: Vec<_> = exprs.iter().flat_map(|e| encode(e, family).unwrap()).collect();
    let mut bytes = vec![0; list.as_slice().buffer_len()];
    list.as_slice().emit(&mut bytes);
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Leaves the hexadecimal digits.
fn golden(text: &str) -> String {
    text.split_whitespace().collect()
}

#[test]
fn a_masked_address_with_goto_is_what_nft_sends() {
    let exprs = [
        FwExpr::Dst { net: "10.0.0.0/17".parse().unwrap(), not: false },
        FwExpr::Verdict(FwVerdict::Goto("d".into())),
    ];
    let expected = golden(
        "24000180 09000100 6d657461 00000000 14000280 08000200 0000000f 08000100 00000001
         2c000180 08000100 636d7000 20000280 08000100 00000001 08000200 00000000 0c000380 05000100 02000000
         34000180 0c000100 7061796c 6f616400 24000280 08000100 00000001 08000200 00000001
         08000300 00000010 08000400 00000004
         44000180 0c000100 62697477 69736500 34000280 08000100 00000001 08000200 00000001 08000300 00000004
         0c000480 08000100 ffff8000 0c000580 08000100 00000000
         2c000180 08000100 636d7000 20000280 08000100 00000001 08000200 00000000 0c000380 08000100 0a000000
         38000180 0e000100 696d6d65 64696174 65000000 24000280 08000100 00000000
         18000280 14000280 08000100 fffffffc 06000200 64000000",
    );
    assert_eq!(hex(FwFamily::Inet, &exprs), expected);
}

#[test]
fn a_missing_way_back_with_drop_is_what_nft_sends() {
    let exprs = [FwExpr::NoReturnPath, FwExpr::Verdict(FwVerdict::Drop)];
    let expected = golden(
        "28000180 08000100 66696200 1c000280 08000300 00000029 08000200 00000001 08000100 00000001
         2c000180 08000100 636d7000 20000280 08000100 00000001 08000200 00000000 0c000380 08000100 00000000
         30000180 0e000100 696d6d65 64696174 65000000 1c000280 08000100 00000000
         10000280 0c000280 08000100 00000000",
    );
    assert_eq!(hex(FwFamily::Inet, &exprs), expected);
}

#[test]
fn the_beginning_of_a_links_name_is_what_nft_sends() {
    let expected = golden(
        "24000180 09000100 6d657461 00000000 14000280 08000200 00000006 08000100 00000001
         2c000180 08000100 636d7000 20000280 08000100 00000001 08000200 00000000 0c000380 06000100 76650000",
    );
    assert_eq!(hex(FwFamily::Inet, &[FwExpr::Iif("ve*".into())]), expected);
}

#[test]
fn a_whole_name_is_compared_to_its_last_zero() {
    let text = hex(FwFamily::Ip, &[FwExpr::Oif("eth0".into())]);
    assert!(text.ends_with(&golden("14000100 65746830 00000000 00000000 00000000")), "{text}");
}

#[test]
fn off_a_bridge_an_ethernet_source_is_looked_for_on_ethernet_links_only() {
    let exprs = [FwExpr::EtherSrc(Mac([2, 0, 0, 0, 0, 1]))];
    let (bridged, routed) = (hex(FwFamily::Bridge, &exprs), hex(FwFamily::Inet, &exprs));
    assert!(routed.ends_with(&bridged));
    assert!(routed.len() > bridged.len());
    assert!(bridged.ends_with(&golden("0a000100 02000000 00010000")), "{bridged}");
}

#[test]
fn a_random_new_destination_is_what_nft_sends() {
    let to = "1.2.3.4:80".parse().unwrap();
    let exprs = [FwExpr::Protocol(6), FwExpr::OneIn(2), FwExpr::Dnat(to)];
    let expected = golden(
        "24000180 09000100 6d657461 00000000 14000280 08000200 00000010 08000100 00000001
         2c000180 08000100 636d7000 20000280 08000100 00000001 08000200 00000000 0c000380 05000100 06000000
         34000180 0b000100 6e756d67 656e0000 24000280 08000100 00000001 08000200 00000002 08000300 00000001 08000400 00000000
         2c000180 08000100 636d7000 20000280 08000100 00000001 08000200 00000000 0c000380 08000100 00000000
         2c000180 0e000100 696d6d65 64696174 65000000 18000280 08000100 00000001 0c000280 08000100 01020304
         2c000180 0e000100 696d6d65 64696174 65000000 18000280 08000100 00000002 0c000280 06000100 00500000
         38000180 08000100 6e617400 2c000280 08000100 00000001 08000200 00000002 08000300 00000001
         08000500 00000002 08000700 00000002",
    );
    assert_eq!(hex(FwFamily::Ip, &exprs), expected);
    assert_eq!(hex(FwFamily::Ip, &[FwExpr::OneIn(1)]), "", "every packet needs no dice");
    assert!(encode(&FwExpr::Dnat(to), FwFamily::Ip6).is_err());
}

#[test]
fn a_port_of_this_host_is_what_nft_sends() {
    let exprs = [FwExpr::DstIsLocal, FwExpr::Protocol(17), FwExpr::DstPort(30000)];
    let expected = golden(
        "28000180 08000100 66696200 1c000280 08000300 00000002 08000200 00000003 08000100 00000001
         2c000180 08000100 636d7000 20000280 08000100 00000001 08000200 00000000 0c000380 08000100 02000000
         24000180 09000100 6d657461 00000000 14000280 08000200 00000010 08000100 00000001
         2c000180 08000100 636d7000 20000280 08000100 00000001 08000200 00000000 0c000380 05000100 11000000
         34000180 0c000100 7061796c 6f616400 24000280 08000100 00000001 08000200 00000002
         08000300 00000002 08000400 00000002
         2c000180 08000100 636d7000 20000280 08000100 00000001 08000200 00000000 0c000380 06000100 75300000",
    );
    assert_eq!(hex(FwFamily::Ip, &exprs), expected);
    let reject = golden("24000180 0b000100 72656a65 63740000 14000280 08000100 00000000 05000200 03000000");
    assert_eq!(hex(FwFamily::Ip, &[FwExpr::Reject]), reject);
}

/// Newer `nft` also names the operation of a bitwise expression (`NFTA_BITWISE_OP`), whose default it is.
#[test]
fn some_bits_of_a_mark_are_set_and_matched_as_nft_does() {
    let mark = golden("24000180 09000100 6d657461 00000000 14000280 08000200 00000003 08000100 00000001");
    let bitwise = |mask: &str, xor: &str| {
        golden(
            "44000180 0c000100 62697477 69736500 34000280 08000100 00000001 08000200 00000001 08000300 00000004",
        ) + &golden(&format!("0c000480 08000100 {mask} 0c000580 08000100 {xor}"))
    };
    let set = golden("24000180 09000100 6d657461 00000000 14000280 08000200 00000003 08000300 00000001");
    let (value, mask) = (0x4000, 0x4000);
    let expected = mark.clone() + &bitwise("ffbfffff", "00400000") + &set;
    assert_eq!(hex(FwFamily::Ip, &[FwExpr::SetMark { value, mask }]), expected);
    let equal = golden(
        "2c000180 08000100 636d7000 20000280 08000100 00000001 08000200 00000000 0c000380 08000100 00400000",
    );
    let expected = mark + &bitwise("00400000", "00000000") + &equal;
    assert_eq!(hex(FwFamily::Ip, &[FwExpr::Mark { value, mask }]), expected);
}
