//! Golden bytes: what `nft` 1.0.6 sends for the same sets, recorded with strace; and the real kernel.

use std::collections::BTreeSet;
use std::sync::Arc;

use netlink_packet_core::Emitable;
use polynic_net::{
    Family, FwBase, FwBody, FwExpr, FwFamily, FwHook, FwKind, FwRules, FwRuleset, FwVerdict, IntervalSet,
    IpRange, Place,
};

use super::*;
use crate::{Door, RealDoor};

const TABLE: &str = "multi_networkpolicy";

fn table() -> FwTable {
    FwTable::new(FwFamily::Inet, TABLE)
}

/// Attributes of a message in hexadecimal, behind `struct nfgenmsg`.
fn hex(message: &NetfilterMessage) -> String {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes[4..].iter().map(|b| format!("{b:02x}")).collect()
}

fn golden(text: &str) -> String {
    text.split_whitespace().collect()
}

fn intervals(ranges: &[&str]) -> FwSet {
    let ranges: Vec<IpRange> = ranges.iter().map(|r| r.parse().unwrap()).collect();
    FwSet::Intervals(IntervalSet::of_ranges(Family::V4, &ranges))
}

#[test]
fn a_set_of_names_is_what_nft_sends() {
    let content = FwSet::Links(BTreeSet::from(["net1".to_owned(), "net2".to_owned()]));
    let edit = FwEdit::MakeSet { set: "smi".into(), content };
    let messages = messages(&table(), &edit, 0).unwrap();
    let name = "18000100 6d756c74695f6e6574776f726b706f6c69637900 08000200 736d6900";
    let declared = format!(
        "{name} 08000300 00000000 08000400 00000029 08000500 00000010 08000a00 00000001 0a000d00 000401000000 0000"
    );
    assert_eq!(hex(&messages[0].0), golden(&declared));
    let element =
        |digit: &str| format!("1c000180 18000180 14000100 6e6574{digit} 00000000 00000000 00000000");
    let elements = format!("{name} 3c000380 {} {}", element("31"), element("32"));
    // `nft` numbers the elements, the kernel does not look at that.
    assert_eq!(hex(&messages[1].0), golden(&elements));
}

#[test]
fn an_interval_set_is_what_nft_sends() {
    let content = intervals(&["10.0.0.0-10.255.255.255", "240.0.0.0-255.255.255.255"]);
    let edit = FwEdit::MakeSet { set: "c4".into(), content };
    let messages = messages(&table(), &edit, 3).unwrap();
    let name = "18000100 6d756c74695f6e6574776f726b706f6c69637900 07000200 633400 00";
    let declared = format!(
        "{name} 08000300 00000004 08000400 00000007 08000500 00000004 08000a00 00000004 0a000d00 000402000000 0000"
    );
    assert_eq!(hex(&messages[0].0), golden(&declared));
    let end = "08000300 00000001";
    let key = |digits: &str| format!("0c000180 08000100 {digits}");
    let elements = format!(
        "{name} 60000380 18000180 {end} {} 10000180 {} 18000180 {end} {} 1c000180 {} 0a000600 010401000000 0000",
        key("00000000"),
        key("0a000000"),
        key("0b000000"),
        key("f0000000")
    );
    assert_eq!(hex(&messages[1].0), golden(&elements));
}

fn body(exprs: Vec<FwExpr>) -> FwBody {
    FwBody { exprs, comment: "shop/web".into() }
}

fn ruleset(addresses: &[&str], ranges: &[&str]) -> FwRuleset {
    let accept = FwExpr::Verdict(FwVerdict::Accept);
    let addresses: BTreeSet<_> = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
    let from = |set: &str, family| FwExpr::SrcIn { set: set.into(), family };
    let entry = FwBase { kind: FwKind::Filter, hook: FwHook::Input, priority: 0 };
    let jump = FwExpr::Verdict(FwVerdict::Jump("ingress".into()));
    FwRuleset {
        table: table(),
        sets: [
            ("smi".to_owned(), FwSet::Links(BTreeSet::from(["net1".to_owned()]))),
            ("a6".to_owned(), FwSet::Addresses(Family::V6, Arc::new(addresses))),
            ("c4".to_owned(), intervals(ranges)),
        ]
        .into(),
        chains: [
            (
                "input".to_owned(),
                FwRules { base: Some(entry), rules: vec![body(vec![FwExpr::IifIn("smi".into()), jump])] },
            ),
            (
                "ingress".to_owned(),
                FwRules {
                    base: None,
                    rules: vec![
                        body(vec![FwExpr::KnownConnection, accept.clone()]),
                        body(vec![FwExpr::Icmpv6Types { first: 130, last: 137 }, accept.clone()]),
                        body(vec![FwExpr::IcmpTypes { first: 8, last: 8 }, accept.clone()]),
                        body(vec![from("a6", Family::V6), accept.clone()]),
                        body(vec![
                            from("c4", Family::V4),
                            FwExpr::Protocol(6),
                            FwExpr::DstPorts { first: 80, last: 90 },
                            accept,
                        ]),
                        body(vec![FwExpr::Verdict(FwVerdict::Drop)]),
                    ],
                },
            ),
        ]
        .into(),
    }
}

/// What the tool, which knows nothing of our encoding, reads back.
fn listed(scratch: &crate::testing::Scratch) -> String {
    let output =
        scratch.pod.run(|| std::process::Command::new("nft").args(["list", "table", "inet", TABLE]).output());
    let output = output.unwrap().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_kernel_takes_a_table_its_edits_and_its_end() {
    let Some(scratch) = crate::testing::scratch_netns() else { return };
    let mut kernel = RealDoor::default().open(Some(&scratch.path)).unwrap();
    let first = ruleset(&["fd00::1"], &["10.0.0.0-10.255.255.255", "240.0.0.0-255.255.255.255"]);
    kernel.edit_table(Place::Pod, &table(), &first.creation()).unwrap();
    let text = listed(&scratch);
    for line in [
        "elements = { 10.0.0.0/8, 240.0.0.0/4 }",
        "elements = { fd00::1 }",
        "elements = { \"net1\" }",
        "iifname @smi jump ingress comment \"shop/web\"",
        "ct state established,related accept",
        "icmpv6 type 130-137 accept",
        "icmp type echo-request accept",
        "ip6 saddr @a6 accept",
        "ip saddr @c4 tcp dport 80-90 accept",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    let second = ruleset(&["fd00::2", "fd00::3"], &["10.1.0.0-10.1.0.7"]);
    kernel.edit_table(Place::Pod, &table(), &second.edits_from(&first)).unwrap();
    let text = listed(&scratch);
    assert!(text.contains("elements = { fd00::2,") && text.contains("elements = { 10.1.0.0/29 }"), "{text}");
    let there = kernel.inventory(Place::Pod, &table()).unwrap().unwrap();
    assert_eq!(there.sets, BTreeSet::from(["a6", "c4", "smi"].map(str::to_owned)));
    assert_eq!(there.chains["input"], first.chains["input"].base);
    kernel.edit_table(Place::Pod, &table(), &first.replacement(&there)).unwrap();
    assert!(listed(&scratch).contains("10.0.0.0/8, 240.0.0.0/4"));
    kernel.edit_table(Place::Pod, &table(), &[FwEdit::RemoveTable]).unwrap();
    assert_eq!(kernel.inventory(Place::Pod, &table()), Ok(None));
}

#[test]
fn a_refused_edit_is_named_and_changes_nothing() {
    let Some(scratch) = crate::testing::scratch_netns() else { return };
    let mut kernel = RealDoor::default().open(Some(&scratch.path)).unwrap();
    let first = ruleset(&["fd00::1"], &[]);
    kernel.edit_table(Place::Pod, &table(), &first.creation()).unwrap();
    let before = listed(&scratch);
    let edits = [FwEdit::EmptyChain("ingress".into()), FwEdit::RemoveSet("smi".into())];
    let error = kernel.edit_table(Place::Pod, &table(), &edits).unwrap_err();
    assert_eq!(error.errno(), Some(crate::Errno::EBUSY), "{error}");
    assert!(error.to_string().contains("remove set smi"), "{error}");
    assert_eq!(listed(&scratch), before);
}

#[test]
fn ten_thousand_addresses_go_in_one_batch() {
    let Some(scratch) = crate::testing::scratch_netns() else { return };
    let mut kernel = RealDoor::default().open(Some(&scratch.path)).unwrap();
    let mut many = ruleset(&[], &[]);
    let addresses: BTreeSet<std::net::IpAddr> = (0..10_000_u32)
        .map(|n| std::net::Ipv6Addr::from(0xfd00_u128 << 112 | u128::from(n)).into())
        .collect();
    many.sets.insert("a6".into(), FwSet::Addresses(Family::V6, Arc::new(addresses)));
    kernel.edit_table(Place::Pod, &table(), &many.creation()).unwrap();
    let few = ruleset(&["fd00::1"], &[]);
    kernel.edit_table(Place::Pod, &table(), &few.edits_from(&many)).unwrap();
    assert!(listed(&scratch).contains("elements = { fd00::1 }"));
}
