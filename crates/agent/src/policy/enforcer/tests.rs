use std::collections::BTreeMap;

use polynic_kernel::FakeDoor;
use polynic_net::{FwBase, FwBody, FwExpr, FwHook, FwKind, FwRules, FwRuleset, FwVerdict};

use super::*;

fn ruleset(comment: &str) -> FwRuleset {
    let base = FwBase { kind: FwKind::Filter, hook: FwHook::Input, priority: 0 };
    let body = FwBody { exprs: vec![FwExpr::Verdict(FwVerdict::Drop)], comment: comment.to_owned() };
    let chain = FwRules { base: Some(base), rules: vec![body] };
    FwRuleset { table: table(), sets: BTreeMap::new(), chains: [("input".to_owned(), chain)].into() }
}

struct World {
    door: FakeDoor,
    netns: String,
    worker: Worker,
    _directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let netns = directory.path().join("netns").display().to_string();
        std::fs::write(&netns, "").unwrap();
        let door = FakeDoor::new();
        door.add_netns(&netns);
        let sandboxes = Sandboxes::open(directory.path().join("state"), Vec::new());
        let worker = Worker {
            door: Arc::new(door.clone()),
            sandboxes: Arc::new(Mutex::new(sandboxes)),
            applied: HashMap::new(),
            uncut: HashSet::new(),
        };
        Self { door, netns, worker, _directory: directory }
    }

    fn enforce(&mut self, wanted: Option<FwRuleset>, look: bool) -> Result<(), String> {
        let job = self.job(wanted);
        self.worker.enforce(&Job { look, ..job })
    }

    fn job(&self, wanted: Option<FwRuleset>) -> Job {
        Job {
            pod: PodKey::new("shop", "web"),
            wanted: wanted.map(PodTable::from),
            must_have: true,
            netns: Some(self.netns.clone()),
            look: false,
            is_final: true,
            done: Box::new(|_| {}),
        }
    }

    fn there(&self) -> Option<FwRuleset> {
        self.door.ruleset(&self.netns, &table())
    }
}

#[test]
fn a_table_comes_changes_and_goes() {
    let mut world = World::new();
    for wanted in [Some(ruleset("a")), Some(ruleset("b")), None] {
        world.enforce(wanted.clone(), false).unwrap();
        assert_eq!(world.there(), wanted);
    }
    let operations = world.door.operations();
    world.enforce(None, false).unwrap();
    assert_eq!(world.door.operations(), operations, "nothing to do is no edit");
}

/// An agent that has just started knows some of the peers: who is missing may be allowed all the same.
#[test]
fn connections_are_compared_with_the_table_once_all_is_known() {
    let mut world = World::new();
    let early = Job { is_final: false, ..world.job(Some(ruleset("a"))) };
    world.worker.enforce(&early).unwrap();
    assert_eq!(world.worker.uncut.len(), 1);
    world.enforce(Some(ruleset("a")), false).unwrap();
    assert_eq!(world.worker.uncut.len(), 0);
}

#[test]
fn chains_of_the_retired_iptables_agent_go_once_and_no_others() {
    let mut world = World::new();
    let filter = FwTable::new(FwFamily::Ip, "filter");
    let names = ["INPUT", "MULTI-INGRESS", "MULTI-0-INGRESS", "OWN"];
    let chain = |base: Option<FwBase>| FwRules { base, rules: Vec::new() };
    let input = FwBase { kind: FwKind::Filter, hook: FwHook::Input, priority: 0 };
    let chains = names.map(|name| (name.to_owned(), chain((name == "INPUT").then_some(input.clone()))));
    let there = FwRuleset { table: filter.clone(), sets: BTreeMap::new(), chains: chains.into() };
    let mut kernel = world.door.open(Some(&world.netns)).unwrap();
    kernel.edit_table(Place::Pod, &filter, &there.creation()).unwrap();
    world.enforce(Some(ruleset("a")), false).unwrap();
    let left = world.door.ruleset(&world.netns, &filter).unwrap().chains;
    assert_eq!(left.keys().map(String::as_str).collect::<Vec<_>>(), ["INPUT", "OWN"]);
    let operations = world.door.operations();
    world.enforce(Some(ruleset("a")), true).unwrap();
    assert_eq!(world.door.operations(), operations, "a second look finds nothing to do");
}

#[test]
fn a_restarted_agent_takes_over_what_it_finds() {
    let mut world = World::new();
    world.enforce(Some(ruleset("a")), false).unwrap();
    world.worker.applied.clear();
    world.enforce(Some(ruleset("b")), false).unwrap();
    assert_eq!(world.there(), Some(ruleset("b")));
    world.worker.applied.clear();
    world.enforce(None, false).unwrap();
    assert_eq!(world.there(), None);
}

#[test]
fn an_edit_that_fails_leaves_the_old_rules_and_the_next_one_succeeds() {
    let mut world = World::new();
    world.enforce(Some(ruleset("a")), false).unwrap();
    // The first try, and the one after another look.
    world.door.crash_at(1);
    let error = world.enforce(Some(ruleset("b")), false).unwrap_err();
    assert!(error.contains("multi_networkpolicy"), "{error}");
    assert_eq!(world.there(), Some(ruleset("a")));
    world.door.heal();
    world.enforce(Some(ruleset("b")), false).unwrap();
    assert_eq!(world.there(), Some(ruleset("b")));
}

#[test]
fn what_somebody_else_removed_comes_back_at_the_next_look() {
    let mut world = World::new();
    world.enforce(Some(ruleset("a")), false).unwrap();
    let mut kernel = world.door.open(Some(&world.netns)).unwrap();
    kernel.edit_table(Place::Pod, &table(), &[FwEdit::RemoveTable]).unwrap();
    world.enforce(Some(ruleset("a")), true).unwrap();
    assert_eq!(world.there(), Some(ruleset("a")));
    let operations = world.door.operations();
    world.enforce(Some(ruleset("a")), true).unwrap();
    assert_eq!(world.door.operations(), operations, "what is as it should be is left alone");
}

#[test]
fn a_namespace_that_is_gone_needs_no_rules_but_an_attachment_does() {
    let mut world = World::new();
    world.door.remove_netns(&world.netns);
    assert!(world.enforce(Some(ruleset("a")), false).is_err());
    world.netns = "/nowhere".into();
    assert!(world.enforce(Some(ruleset("a")), false).is_err());
}

#[test]
fn a_pod_of_which_no_namespace_is_known_is_an_error_if_it_needs_rules() {
    let mut world = World::new();
    let mut enforce = |wanted: Option<FwRuleset>, must_have| {
        let wanted = wanted.map(PodTable::from);
        let done = Box::new(|_| {});
        let pod = PodKey::new("shop", "other");
        let is_final = true;
        world.worker.enforce(&Job { pod, wanted, must_have, netns: None, look: false, is_final, done })
    };
    assert!(enforce(Some(ruleset("a")), true).unwrap_err().contains("no network namespace"));
    assert_eq!(enforce(Some(ruleset("a")), false), Ok(()));
    assert_eq!(enforce(None, true), Ok(()));
}
