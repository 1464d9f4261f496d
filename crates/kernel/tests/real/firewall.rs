//! nf_tables.

use std::process::Command;

use polynic_kernel::testing::say_skipped;
use polynic_kernel::{Door, Errno, KernelError, RealDoor};
use polynic_net::{
    Change, Diff, FwBase, FwChain, FwExpr, FwFamily, FwHook, FwKind, FwObject, FwPosition, FwRule, FwTable,
    FwVerdict, Mac, Object, Place,
};

use crate::support::Bench;

const FAMILIES: [FwFamily; 4] = [FwFamily::Ip, FwFamily::Ip6, FwFamily::Inet, FwFamily::Bridge];

fn table(family: FwFamily) -> FwTable {
    FwTable::new(family, "polynic_test")
}

fn chain(table: &FwTable, name: &str) -> FwObject {
    FwObject::Chain(FwChain { table: table.clone(), name: name.into(), base: None })
}

fn base(table: &FwTable, name: &str, kind: FwKind, hook: FwHook) -> FwObject {
    // Address translation comes after connection tracking (priority -200).
    let priority = if kind == FwKind::Nat { -100 } else { -300 };
    let base = Some(FwBase { kind, hook, priority });
    FwObject::Chain(FwChain { table: table.clone(), name: name.into(), base })
}

fn rule(table: &FwTable, chain: &str, comment: &str, exprs: Vec<FwExpr>) -> FwObject {
    let (table, chain, comment) = (table.clone(), chain.into(), comment.into());
    FwObject::Rule(FwRule { table, chain, position: FwPosition::Last, exprs, comment })
}

fn add(object: FwObject) -> Change {
    Change::add_firewall(Place::Pod, object)
}

fn accept() -> FwExpr {
    FwExpr::Verdict(FwVerdict::Accept)
}

fn observed(bench: &mut Bench, table: &FwTable) -> Vec<FwObject> {
    bench.observe(|n| n.pod.firewall.push(table.clone())).pod.unwrap().firewall
}

/// Comments of the rules in a chain, in order.
fn comments(bench: &mut Bench, table: &FwTable, chain: &str) -> Vec<String> {
    let rules = observed(bench, table).into_iter().filter_map(|o| match o {
        FwObject::Rule(rule) if rule.chain == chain => Some(rule.comment),
        _ => None,
    });
    rules.collect()
}

#[test]
fn tables_chains_and_rules_come_and_go_in_every_family() {
    let Some(mut bench) = Bench::new() else { return };
    for family in FAMILIES {
        let table = table(family);
        assert_eq!(observed(&mut bench, &table), []);
        let changes = [
            add(FwObject::Table(table.clone())),
            add(base(&table, "pre", FwKind::Filter, FwHook::Prerouting)),
            add(chain(&table, "mine")),
            add(rule(&table, "pre", "one", vec![FwExpr::Verdict(FwVerdict::Jump("mine".into()))])),
        ];
        bench.kernel.apply_firewall(&changes).unwrap();
        let expected = [
            FwObject::Table(table.clone()),
            base(&table, "pre", FwKind::Filter, FwHook::Prerouting),
            chain(&table, "mine"),
            rule(&table, "pre", "one", vec![]),
        ];
        assert_eq!(observed(&mut bench, &table), expected);
        for change in changes.into_iter().rev() {
            bench.apply(change.inverse().unwrap());
        }
        assert_eq!(observed(&mut bench, &table), []);
    }
}

#[test]
fn base_chains_of_every_kind_and_hook_are_read_back() {
    let Some(mut bench) = Bench::new() else { return };
    let table = table(FwFamily::Inet);
    let chains = [
        base(&table, "a", FwKind::Filter, FwHook::Input),
        base(&table, "b", FwKind::Filter, FwHook::Forward),
        base(&table, "c", FwKind::Nat, FwHook::Postrouting),
        base(&table, "d", FwKind::Nat, FwHook::Prerouting),
        base(&table, "e", FwKind::Route, FwHook::Output),
    ];
    bench.apply(add(FwObject::Table(table.clone())));
    bench.apply_all(chains.clone().map(add));
    assert_eq!(observed(&mut bench, &table)[1..], chains);
}

#[test]
fn what_exists_is_not_made_again() {
    let Some(mut bench) = Bench::new() else { return };
    let table = table(FwFamily::Ip);
    for object in [FwObject::Table(table.clone()), chain(&table, "mine")] {
        bench.apply(add(object.clone()));
        assert_eq!(bench.errno(add(object)), Errno::EEXIST);
    }
}

#[test]
fn what_is_not_empty_or_not_there_is_not_removed() {
    let Some(mut bench) = Bench::new() else { return };
    let table = table(FwFamily::Ip);
    let objects =
        [FwObject::Table(table.clone()), chain(&table, "mine"), rule(&table, "mine", "one", vec![accept()])];
    for object in objects.clone() {
        assert!(bench.fail(add(object.clone()).inverse().unwrap()).is_absent(), "{object:?}");
    }
    bench.apply_all(objects.clone().map(add));
    for object in &objects[..2] {
        assert_eq!(bench.errno(add(object.clone()).inverse().unwrap()), Errno::EBUSY);
    }
}

#[test]
fn a_batch_is_carried_out_whole_or_not_at_all() {
    let Some(mut bench) = Bench::new() else { return };
    let table = table(FwFamily::Ip);
    let batch = [
        add(FwObject::Table(table.clone())),
        add(chain(&table, "mine")),
        add(rule(&table, "elsewhere", "one", vec![accept()])),
        add(chain(&table, "more")),
    ];
    let error = bench.kernel.apply_firewall(&batch).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::ENOENT));
    assert!(error.to_string().starts_with("add nf_tables rule \"one\" in elsewhere"), "{error}");
    assert_eq!(observed(&mut bench, &table), []);
    bench.kernel.apply_firewall(&batch[..2]).unwrap();
}

#[test]
fn rules_are_found_by_comment_one_at_a_time() {
    let Some(mut bench) = Bench::new() else { return };
    let table = table(FwFamily::Ip);
    let twin = add(rule(&table, "mine", "twin", vec![accept()]));
    bench.apply_all([add(FwObject::Table(table.clone())), add(chain(&table, "mine"))]);
    bench.apply_all([
        twin.clone(),
        add(rule(&table, "mine", "other", vec![accept()])),
        twin.clone(),
        twin.clone(),
    ]);
    let gone = twin.inverse().unwrap();
    bench.apply(gone.clone());
    assert_eq!(comments(&mut bench, &table, "mine"), ["other", "twin", "twin"]);
    bench.kernel.apply_firewall(&[gone.clone(), gone.clone()]).unwrap();
    assert_eq!(comments(&mut bench, &table, "mine"), ["other"]);
    assert!(bench.fail(gone).is_absent());
}

#[test]
fn a_rule_stands_first_or_last_and_is_replaced() {
    let Some(mut bench) = Bench::new() else { return };
    let table = table(FwFamily::Ip);
    bench.apply_all([add(FwObject::Table(table.clone())), add(chain(&table, "mine"))]);
    bench.apply(add(rule(&table, "mine", "last", vec![accept()])));
    let FwObject::Rule(first) = rule(&table, "mine", "first", vec![accept()]) else { unreachable!() };
    let first = FwObject::Rule(FwRule { position: FwPosition::First, ..first });
    bench.apply(add(first.clone()));
    assert_eq!(comments(&mut bench, &table, "mine"), ["first", "last"]);
    let diff = Diff::replace(first, rule(&table, "mine", "new", vec![accept()]));
    bench.apply(Change { place: Place::Pod, object: Object::Firewall(diff) });
    assert_eq!(comments(&mut bench, &table, "mine"), ["last", "new"]);
}

#[test]
fn impossible_rules_are_refused_before_anything_is_sent() {
    let Some(mut bench) = Bench::new() else { return };
    let table = table(FwFamily::Ip);
    bench.apply_all([add(FwObject::Table(table.clone())), add(chain(&table, "mine"))]);
    let v6 = FwExpr::Src { net: "fd00::/8".parse().unwrap(), not: false };
    for exprs in [vec![v6], vec![FwExpr::Iif("sixteen-bytes-xy".into())], vec![FwExpr::Oif(String::new())]] {
        assert_eq!(bench.errno(add(rule(&table, "mine", "x", exprs))), Errno::EINVAL);
    }
    assert_eq!(bench.errno(add(rule(&table, "mine", &"x".repeat(129), vec![]))), Errno::EINVAL);
}

#[test]
fn a_batch_is_about_one_place() {
    let Some(mut bench) = Bench::new() else { return };
    let table = FwObject::Table(table(FwFamily::Ip));
    let mixed = [add(table.clone()), Change::add_firewall(Place::Host, table)];
    assert!(matches!(bench.kernel.apply_firewall(&mixed), Err(KernelError::Talk { .. })));
    bench.kernel.apply_firewall(&[]).unwrap();
}

#[test]
fn one_attachment_after_another_changes_the_hosts_firewall() {
    let Some(_bench) = Bench::new() else { return };
    let door = RealDoor::default();
    let change = Change::add_firewall(Place::Host, FwObject::Table(table(FwFamily::Inet)));
    for _ in 0..3 {
        door.open(None).unwrap().apply(&change).unwrap();
        door.open(None).unwrap().apply(&change.clone().inverse().unwrap()).unwrap();
    }
}

/// What the administrator sees. Where `nft` is not installed the kernel's acceptance has to do.
#[test]
fn rules_read_in_nft_as_they_were_meant() {
    let Some(mut bench) = Bench::new() else { return };
    let inet = table(FwFamily::Inet);
    let bridge = table(FwFamily::Bridge);
    let net = |text: &str| text.parse().unwrap();
    let src = |text: &str, not| FwExpr::Src { net: net(text), not };
    let dst = |text: &str, not| FwExpr::Dst { net: net(text), not };
    let mac = FwExpr::EtherSrc(Mac([2, 0, 0, 0, 0, 1]));
    let drop = FwExpr::Verdict(FwVerdict::Drop);
    let cases = [
        (&inet, "post", vec![src("10.0.0.2/32", false), dst("10.0.0.0/17", true), FwExpr::Masquerade]),
        (&inet, "post", vec![src("10.1.0.0/16", false), FwExpr::MasqueradeRandom]),
        (&inet, "post", vec![dst("ff00::/8", false), FwExpr::Verdict(FwVerdict::Return)]),
        (&inet, "post", vec![FwExpr::Oif("eth0".into()), FwExpr::Verdict(FwVerdict::Goto("mine".into()))]),
        (&inet, "pre", vec![FwExpr::NoReturnPath, drop.clone()]),
        (&inet, "pre", vec![FwExpr::Iif("veth*".into()), mac.clone(), accept()]),
        (&inet, "pre", vec![FwExpr::Iif("*".into()), FwExpr::Verdict(FwVerdict::Jump("mine".into()))]),
        (&inet, "pre", vec![FwExpr::NewConnection, FwExpr::SetMark { value: 1, mask: 1 }]),
        (
            &inet,
            "pre",
            vec![FwExpr::Mark { value: 1, mask: 1 }, FwExpr::SetConnectionMark { value: 1, mask: 1 }],
        ),
        (
            &inet,
            "pre",
            vec![FwExpr::ConnectionMark { value: 1, mask: 1 }, FwExpr::SetMark { value: 1, mask: 1 }],
        ),
        (&bridge, "pre", vec![mac, FwExpr::Verdict(FwVerdict::Return)]),
        (&bridge, "pre", vec![src("10.0.0.1/32", true), drop]),
    ];
    for table in [&inet, &bridge] {
        bench.apply(add(FwObject::Table(table.clone())));
        bench.apply(add(chain(table, "mine")));
        bench.apply(add(base(table, "pre", FwKind::Filter, FwHook::Prerouting)));
    }
    bench.apply(add(base(&inet, "post", FwKind::Nat, FwHook::Postrouting)));
    for (table, chain, exprs) in cases {
        bench.apply(add(rule(table, chain, "c", exprs)));
    }
    let listing = bench.scratch.pod.run(|| Command::new("nft").args(["list", "ruleset"]).output());
    let Ok(Ok(listing)) = listing else {
        return say_skipped("the listing cannot be compared, nft is not installed");
    };
    let listing = String::from_utf8(listing.stdout).unwrap();
    let rules: Vec<_> = listing.lines().filter_map(|l| l.trim().strip_suffix(" comment \"c\"")).collect();
    let expected = [
        "fib saddr . iif oif missing drop",
        "iifname \"veth*\" ether saddr 02:00:00:00:00:01 accept",
        "jump mine",
        "ct state new meta mark set meta mark | 0x00000001",
        "meta mark & 0x00000001 == 0x00000001 ct mark set ct mark | 0x00000001",
        "ct mark & 0x00000001 == 0x00000001 meta mark set meta mark | 0x00000001",
        "ip saddr 10.0.0.2 ip daddr != 10.0.0.0/17 masquerade",
        "ip saddr 10.1.0.0/16 masquerade fully-random",
        "ip6 daddr ff00::/8 return",
        "oifname \"eth0\" goto mine",
        "ether saddr 02:00:00:00:00:01 return",
        "ip saddr != 10.0.0.1 drop",
    ];
    assert_eq!(rules, expected, "{listing}");
}

#[test]
fn chains_of_others_go_with_what_leads_to_them_and_nothing_else() {
    let Some(mut bench) = Bench::new() else { return };
    let jump = |to: &str| vec![FwExpr::Verdict(FwVerdict::Jump(to.into()))];
    let meant = &mut |name: &str| name.starts_with("OLD");
    for family in [FwFamily::Ip, FwFamily::Ip6] {
        let table = table(family);
        assert_eq!(bench.kernel.remove_chains(Place::Pod, &table, meant).unwrap(), 0, "there is no table");
        let mut changes = vec![
            add(FwObject::Table(table.clone())),
            add(base(&table, "OLDEST", FwKind::Filter, FwHook::Input)),
        ];
        changes.extend(["OLD-A", "OLD-B", "NEW"].map(|name| add(chain(&table, name))));
        let rules = [
            ("OLDEST", "first", jump("OLD-A")),
            ("OLDEST", "same", jump("NEW")),
            ("OLDEST", "same", jump("OLD-B")),
            ("OLD-A", "on", jump("OLD-B")),
            ("OLD-B", "end", vec![accept()]),
            ("NEW", "end", vec![accept()]),
        ];
        changes.extend(rules.map(|(chain, comment, exprs)| add(rule(&table, chain, comment, exprs))));
        bench.kernel.apply_firewall(&changes).unwrap();
        assert_eq!(bench.kernel.remove_chains(Place::Pod, &table, meant).unwrap(), 2);
        let expected = [
            FwObject::Table(table.clone()),
            base(&table, "OLDEST", FwKind::Filter, FwHook::Input),
            chain(&table, "NEW"),
            rule(&table, "OLDEST", "same", vec![]),
            rule(&table, "NEW", "end", vec![]),
        ];
        assert_eq!(observed(&mut bench, &table), expected);
        assert_eq!(bench.kernel.remove_chains(Place::Pod, &table, meant).unwrap(), 0);
    }
}
