use proptest::prelude::*;

use super::*;
use crate::{Family, FwBase, FwBody, FwFamily, FwHook, FwKind, FwTable, IntervalSet, IpRange};

fn base(hook: FwHook) -> Option<FwBase> {
    Some(FwBase { kind: FwKind::Filter, hook, priority: 0 })
}

fn rule(exprs: Vec<FwExpr>) -> FwBody {
    FwBody { exprs, comment: "a/b".into() }
}

fn jump(chain: &str) -> FwExpr {
    FwExpr::Verdict(FwVerdict::Jump(chain.into()))
}

/// A small table whose parts differ by the arguments.
fn table(links: &[&str], addresses: &[&str], intervals: &[&str], port: u16) -> FwRuleset {
    let addresses = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
    let ranges: Vec<IpRange> = intervals.iter().map(|range| range.parse().unwrap()).collect();
    let links = links.iter().map(|name| (*name).to_owned()).collect();
    let from = |set: &str| FwExpr::SrcIn { set: set.into(), family: Family::V4 };
    let accept = FwExpr::Verdict(FwVerdict::Accept);
    FwRuleset {
        table: FwTable::new(FwFamily::Inet, "t"),
        sets: [
            ("links".to_owned(), FwSet::Links(links)),
            ("pods".to_owned(), FwSet::Addresses(Family::V4, Arc::new(addresses))),
            ("cidrs".to_owned(), FwSet::Intervals(IntervalSet::of_ranges(Family::V4, &ranges))),
        ]
        .into(),
        chains: [
            (
                "input".to_owned(),
                FwRules {
                    base: base(FwHook::Input),
                    rules: vec![rule(vec![FwExpr::IifIn("links".into()), jump("p")])],
                },
            ),
            (
                "p".to_owned(),
                FwRules {
                    base: None,
                    rules: vec![
                        rule(vec![from("pods"), FwExpr::DstPort(port), accept.clone()]),
                        rule(vec![from("cidrs"), accept]),
                    ],
                },
            ),
        ]
        .into(),
    }
}

fn texts(edits: &[FwEdit]) -> Vec<String> {
    edits.iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_to_do_is_no_edit() {
    let same = table(&["net1"], &["10.0.0.1"], &["10.1.0.0-10.1.0.9"], 80);
    assert_eq!(same.edits_from(&same.clone()), []);
}

#[test]
fn other_addresses_touch_elements_only() {
    let old = table(&["net1"], &["10.0.0.1", "10.0.0.2"], &[], 80);
    let new = table(&["net1", "net2"], &["10.0.0.2", "10.0.0.3"], &[], 80);
    let expected =
        ["add 1 elements to set links", "remove 1 elements from set pods", "add 1 elements to set pods"];
    assert_eq!(texts(&new.edits_from(&old)), expected);
}

#[test]
fn another_rule_remakes_its_chain_and_nothing_else() {
    let old = table(&["net1"], &["10.0.0.1"], &[], 80);
    let new = table(&["net1"], &["10.0.0.1"], &[], 81);
    let expected = ["empty chain p", "add rule \"a/b\" to chain p", "add rule \"a/b\" to chain p"];
    assert_eq!(texts(&new.edits_from(&old)), expected);
}

#[test]
fn other_intervals_remake_the_set_with_the_rules_that_use_it() {
    let old = table(&["net1"], &[], &["10.1.0.0-10.1.0.9"], 80);
    let new = table(&["net1"], &[], &["10.1.0.0-10.1.0.8"], 80);
    let expected = [
        "empty chain p",
        "remove set cidrs",
        "make set cidrs of 1 elements",
        "add rule \"a/b\" to chain p",
        "add rule \"a/b\" to chain p",
    ];
    assert_eq!(texts(&new.edits_from(&old)), expected);
}

#[test]
fn a_replacement_keeps_base_chains_with_the_wanted_entry_only() {
    let new = table(&["net1"], &[], &[], 80);
    let there = FwInventory {
        chains: [
            ("input".to_owned(), base(FwHook::Input)),
            ("output".to_owned(), base(FwHook::Output)),
            ("old".to_owned(), None),
        ]
        .into(),
        sets: ["foreign".to_owned()].into(),
    };
    let edits = texts(&new.replacement(&there));
    assert_eq!(
        edits[..6],
        [
            "empty chain input",
            "empty chain old",
            "empty chain output",
            "remove chain old",
            "remove chain output",
            "remove set foreign"
        ]
    );
    assert!(edits.contains(&"make chain p".to_owned()) && !edits.contains(&"make chain input".to_owned()));
    let moved = FwInventory { chains: [("input".to_owned(), base(FwHook::Forward))].into(), ..there };
    assert!(texts(&new.replacement(&moved)).contains(&"make chain input".to_owned()));
}

/// What the edits make of a table, without looking at how.
fn applied(old: &FwRuleset, edits: &[FwEdit]) -> FwRuleset {
    let mut now = old.clone();
    for edit in edits {
        match edit.clone() {
            FwEdit::MakeTable | FwEdit::RemoveTable => panic!("the table stays"),
            FwEdit::MakeChain { chain, base } => {
                assert!(now.chains.insert(chain, FwRules { base, rules: Vec::new() }).is_none());
            }
            FwEdit::EmptyChain(chain) => now.chains.get_mut(&chain).unwrap().rules.clear(),
            FwEdit::RemoveChain(chain) => assert!(now.chains.remove(&chain).unwrap().rules.is_empty()),
            FwEdit::MakeSet { set, content } => assert!(now.sets.insert(set, content).is_none()),
            FwEdit::RemoveSet(set) => {
                assert!(now.chains.values().flat_map(sets_of).all(|used| *used != set), "{set} is in use");
                now.sets.remove(&set).unwrap();
            }
            FwEdit::AddElements { set, elements } => change(now.sets.get_mut(&set).unwrap(), &elements, true),
            FwEdit::RemoveElements { set, elements } => {
                change(now.sets.get_mut(&set).unwrap(), &elements, false);
            }
            FwEdit::AddRule { chain, body } => now.chains.get_mut(&chain).unwrap().rules.push(body),
        }
    }
    now
}

fn change(set: &mut FwSet, by: &FwSet, add: bool) {
    match (set, by) {
        (FwSet::Links(all), FwSet::Links(by)) => {
            *all = if add { &*all | by } else { &*all - by };
        }
        (FwSet::Addresses(_, all), FwSet::Addresses(_, by)) => {
            *all = Arc::new(if add { &**all | &**by } else { &**all - &**by });
        }
        _ => panic!("elements of another kind"),
    }
}

fn some_table() -> impl Strategy<Value = FwRuleset> {
    let addresses =
        prop::collection::vec(prop::sample::select(vec!["10.0.0.1", "10.0.0.2", "10.0.0.3"]), 0..3);
    let intervals = prop::collection::vec(prop::sample::select(vec!["10.1.0.0-10.1.0.9", "10.2.0.0"]), 0..2);
    let links = prop::collection::vec(prop::sample::select(vec!["net1", "net2"]), 0..2);
    (links, addresses, intervals, 80_u16..82, any::<bool>()).prop_map(
        |(links, addresses, intervals, port, less)| {
            let mut made = table(&links, &addresses, &intervals, port);
            if less {
                made.chains.remove("p");
                made.chains.get_mut("input").unwrap().rules.clear();
                made.sets.remove("cidrs");
            }
            made
        },
    )
}

proptest! {
    #[test]
    fn edits_lead_from_any_table_to_any_other(old in some_table(), new in some_table()) {
        prop_assert_eq!(applied(&old, &new.edits_from(&old)), new);
    }

    #[test]
    fn a_replacement_leads_there_by_names_alone(old in some_table(), new in some_table()) {
        let chains = old.chains.iter().map(|(name, chain)| (name.clone(), chain.base.clone())).collect();
        let there = FwInventory { chains, sets: old.sets.keys().cloned().collect() };
        prop_assert_eq!(applied(&old, &new.replacement(&there)), new);
    }
}
