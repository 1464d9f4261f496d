//! Firewall objects.

use polynic_net::{
    FwBase, FwChain, FwExpr, FwFamily, FwHook, FwKind, FwObject, FwPosition, FwRule, FwTable, FwVerdict,
};

use super::*;

fn table() -> FwTable {
    FwTable::new(FwFamily::Inet, "t")
}

fn add(object: FwObject) -> Change {
    Change::add_firewall(Place::Host, object)
}

fn chain(name: &str) -> Change {
    add(FwObject::Chain(FwChain { table: table(), name: name.into(), base: None }))
}

fn rule(chain: &str, comment: &str, expr: FwExpr) -> Change {
    let position = FwPosition::Last;
    let (chain, comment) = (chain.to_owned(), comment.to_owned());
    add(FwObject::Rule(FwRule { table: table(), chain, position, exprs: vec![expr], comment }))
}

fn jump(from: &str, to: &str) -> Change {
    rule(from, "jump", FwExpr::Verdict(FwVerdict::Jump(to.into())))
}

fn accept(comment: &str) -> Change {
    rule("a", comment, FwExpr::Verdict(FwVerdict::Accept))
}

fn with_chains() -> Machine {
    let base = FwBase { kind: FwKind::Filter, hook: FwHook::Forward, priority: 0 };
    let base = FwObject::Chain(FwChain { table: table(), name: "base".into(), base: Some(base) });
    let mut m = Machine::new();
    m.kernel.apply_firewall(&[add(FwObject::Table(table())), chain("a"), chain("b"), add(base)]).unwrap();
    m
}

fn comments(m: &mut Machine) -> Vec<String> {
    let mut needs = Needs::default();
    needs.host.firewall = vec![table()];
    let objects = m.kernel.observe(&needs).unwrap().host.firewall;
    let rules = objects.into_iter().filter_map(|o| match o {
        FwObject::Rule(rule) => Some(rule),
        _ => None,
    });
    rules.inspect(|r| assert_eq!(r.exprs, [])).map(|r| r.comment).collect()
}

#[test]
fn objects_are_made_once_and_deleted_once() {
    let mut m = with_chains();
    m.ok(accept("x"));
    for change in [add(FwObject::Table(table())), chain("a"), accept("x")] {
        assert_eq!(m.refused(change), 17);
    }
    m.ok(delete(accept("x")));
    assert_eq!(m.refused(delete(accept("x"))), 2);
    m.ok(delete(chain("b")));
    assert_eq!(m.refused(delete(chain("b"))), 2);
    let absent = FwTable::new(FwFamily::Ip, "t");
    assert_eq!(m.refused(delete(add(FwObject::Table(absent)))), 2);
}

#[test]
fn rules_lead_to_chains_that_exist_and_are_no_entries() {
    let mut m = with_chains();
    assert_eq!(m.refused(jump("a", "missing")), 2);
    assert_eq!(m.refused(jump("missing", "a")), 2);
    assert_eq!(m.refused(jump("a", "base")), 95);
    assert_eq!(m.refused(rule("base", "m", FwExpr::Masquerade)), 95);
}

#[test]
fn a_chain_in_use_stays() {
    let mut m = with_chains();
    m.ok(jump("base", "a")).ok(jump("a", "b"));
    assert_eq!(m.refused(delete(chain("b"))), 16);
    assert_eq!(m.refused(delete(add(FwObject::Table(table())))), 16);
    let batch = [delete(jump("base", "a")), delete(chain("a")), delete(chain("b"))];
    m.kernel.apply_firewall(&batch).unwrap();
}

#[test]
fn a_batch_happens_wholly_or_not_at_all() {
    let mut m = with_chains();
    let before = m.door.snapshot();
    let error = m.kernel.apply_firewall(&[accept("x"), chain("c"), chain("a")]).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::EEXIST));
    assert_eq!(before, m.door.snapshot());
    let mixed = m.kernel.apply_firewall(&[accept("x"), up(Place::Pod, "lo")]);
    assert_eq!(mixed.unwrap_err().errno(), Some(Errno::EINVAL));
}

#[test]
fn rules_that_share_a_comment_come_and_go_together() {
    let mut m = with_chains();
    let pair = [rule("a", "c", FwExpr::Iif("eth0".into())), accept("c")];
    m.kernel.apply_firewall(&pair).unwrap();
    assert_eq!(comments(&mut m), ["c", "c"]);
    assert_eq!(m.refused(accept("c")), 17);
    m.kernel.apply_firewall(&pair.map(delete)).unwrap();
    assert_eq!(comments(&mut m), Vec::<String>::new());
}

#[test]
fn a_batch_may_replace_what_it_deletes() {
    let mut m = with_chains();
    m.ok(accept("x"));
    m.kernel.apply_firewall(&[delete(accept("x")), accept("x"), accept("y")]).unwrap();
    assert_eq!(comments(&mut m), ["x", "y"]);
}

#[test]
fn comments_have_a_longest_length() {
    let mut m = with_chains();
    m.ok(accept(&"x".repeat(128)));
    assert_eq!(m.refused(accept(&"x".repeat(129))), 22);
}
