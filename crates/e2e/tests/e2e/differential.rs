//! The same input to our plugins and to the reference plugins, on twin machines: exit code, answer and kernel state must be
//! the same, but for what `docs/differences.md` lists with its reason.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use polynic_e2e::differences::{Row, documented};
use polynic_e2e::mask::mask;
use polynic_e2e::{Answer, Call, Node, Pod, State, plugins, reference_plugins};
use serde_json::Value;

mod scenarios;

use scenarios::Scenario;

/// How many scenarios run at a time: many of them wait for duplicate address detection.
const LANES: usize = 4;

/// What one side did: lines that can be compared.
type Trace = BTreeSet<String>;

#[test]
fn ours_and_the_references_agree() {
    let Some(reference) = reference_plugins() else { return };
    if Node::new().is_none() {
        return;
    }
    let scenarios = scenarios::all();
    assert!(scenarios.len() >= 150, "{} scenarios", scenarios.len());
    run(&scenarios, reference, |row| !row.is_about(LACKING));
}

/// With what rows about links begin that not every kernel has.
const LACKING: &str = "lacking ";

#[test]
fn the_same_of_links_that_not_every_kernel_has() {
    let Some(reference) = reference_plugins() else { return };
    let Some(node) = Node::new() else { return };
    if !node.offers(&["type vrf table 9", "link eth0 type vlan id 9", "link eth0 type ipvlan"]) {
        return;
    }
    run(&scenarios::of_lacking_kinds(), reference, |row| row.is_about(LACKING));
}

#[test]
fn what_this_kernel_lacks_is_compared_in_one_that_has_it() {
    polynic_e2e::run_in_vm(&["differential::the_same_of_links"]);
}

/// Lives all scenarios on both sides; every difference must be documented in one of the rows, and every row shown.
fn run(scenarios: &[Scenario], reference: &str, concerns: impl Fn(&Row) -> bool) {
    let differences = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                while let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = compare(scenario, reference);
                    differences.lock().unwrap().extend(found.into_iter().map(|d| (scenario.name.clone(), d)));
                }
            });
        }
    });
    let mut differences = differences.into_inner().unwrap();
    differences.sort();
    let rows: Vec<Row> = documented().into_iter().filter(concerns).collect();
    judge(&differences, &rows);
}

/// Every difference must be documented, and every row must be about something.
fn judge(differences: &[(String, String)], rows: &[Row]) {
    let unknown: Vec<String> = differences
        .iter()
        .filter(|(scenario, difference)| !rows.iter().any(|row| row.covers(scenario, difference)))
        .map(|(scenario, difference)| format!("{scenario} | {difference}"))
        .collect();
    let idle: Vec<&Row> =
        rows.iter().filter(|row| !differences.iter().any(|(s, d)| row.covers(s, d))).collect();
    assert!(
        unknown.is_empty(),
        "{} differences (+ ours, - reference):\n{}",
        unknown.len(),
        unknown.join("\n")
    );
    assert!(idle.is_empty(), "rows of docs/differences.md that nothing shows any more: {idle:#?}");
}

fn compare(scenario: &Scenario, reference: &str) -> Vec<String> {
    let sides = [plugins(), reference];
    let [ours, theirs] = std::thread::scope(|scope| {
        // Each in a thread of its own, because a thread is in one node.
        let running = sides.map(|directory| scope.spawn(move || Side::new(directory).live(scenario)));
        running.map(|side| side.join().unwrap())
    });
    let known = |line: &String, other: &Trace| other.iter().any(|l| l == line || is_worded_alike(line, l));
    let only_ours = ours.iter().filter(|l| !known(l, &theirs)).map(|line| format!("+{line}"));
    let only_theirs = theirs.iter().filter(|l| !known(l, &ours)).map(|line| format!("-{line}"));
    only_ours.chain(only_theirs).collect()
}

/// Two failures of the same step with the same code, where one message is part of the other: users look for the cause in
/// it, not for the reference's chain of wrappings.
fn is_worded_alike(a: &str, b: &str) -> bool {
    let parts = |line: &str| {
        let (head, msg) = line.split_once(" \"")?;
        head.contains(": exit 1 code ").then(|| (head.to_owned(), msg.trim_end_matches('"').to_owned()))
    };
    match (parts(a), parts(b)) {
        (Some((a, x)), Some((b, y))) => a == b && (x.contains(&y) || y.contains(&x)),
        _ => false,
    }
}

/// A rule in the filter that is shared with iptables, without its counter and its comment: no packet is told by them.
fn plain(line: &str) -> String {
    if !["nft table ip filter ", "nft table ip6 filter "].iter().any(|table| line.contains(table)) {
        return line.to_owned();
    }
    let uncommented = match line.split_once(" comment \"") {
        Some((head, tail)) => format!("{head}{}", tail.split_once('"').map_or("", |(_, rest)| rest)),
        None => line.to_owned(),
    };
    let words: Vec<&str> = uncommented.split_whitespace().filter(|word| *word != "counter").collect();
    words.join(" ")
}

/// One of the twins.
struct Side {
    directory: &'static str,
    node: Node,
    pod: Pod,
    trace: Trace,
    /// The addresses that a plugin before this one holds.
    held: Vec<String>,
}

impl Side {
    fn new(directory: &str) -> Self {
        let node = Node::new().expect("an earlier one could be made");
        Self {
            directory: directory.to_owned().leak(),
            node,
            pod: Pod::new(),
            trace: Trace::new(),
            held: Vec::new(),
        }
    }

    /// ADD, CHECK, DEL and DEL again; what is there after each step.
    fn live(mut self, scenario: &Scenario) -> Trace {
        scenario.prepare(&self.node, &self.pod);
        let first = scenario.first(&self.node, &self.pod).map(|call| call.from_directory(self.directory));
        let prev = first.as_ref().map(Call::add);
        let mut call = scenario.call(&self.node, &self.pod).from_directory(self.directory);
        if let Some(prev) = &prev {
            call = call.key("prevResult", prev.clone());
        }
        self.held = self.node.addresses_held("net");
        let before = self.look();
        let added = call.run("ADD");
        self.answer("ADD", &added);
        match added.code {
            0 => self.state("ADD", &before),
            // The reference leaves things behind; ours must not.
            _ => self.assert_untouched(&before, &scenario.name),
        }
        if let Ok(result) = serde_json::from_str::<Value>(&added.stdout)
            && added.code == 0
        {
            let checked = call.check(&result);
            self.note("CHECK", &format!("exit {}", checked.code));
            if prev.is_some() {
                call = call.key("prevResult", result);
            }
        }
        for step in ["DEL", "DEL again"] {
            let deleted = call.run("DEL");
            self.answer(step, &deleted);
            self.state(step, &before);
        }
        first.iter().for_each(Call::del);
        self.trace
    }

    fn assert_untouched(&self, before: &(State, State), scenario: &str) {
        if self.directory == plugins() {
            let now = self.look();
            now.0.assert_same(&before.0, &format!("{scenario}: the node after a failed ADD"));
            now.1.assert_same(&before.1, &format!("{scenario}: the pod after a failed ADD"));
            assert_eq!(self.node.addresses_held("net"), self.held, "{scenario}");
        }
    }

    fn look(&self) -> (State, State) {
        (self.node.state(), self.pod.state())
    }

    fn note(&mut self, step: &str, line: &str) {
        let line = plain(line)
            .replace(self.directory, "PLUGINS")
            .replace(self.node.directory(), "DIR")
            .replace(&self.pod.id, "ID");
        self.trace.insert(format!("{step}: {}", mask(&line, &self.pod.path)));
    }

    /// A success is compared to the letter up to version 0.4.0; later ones decoded, because the order of keys changed after
    /// the reference's version. Of a failure, code and message (details are our own).
    fn answer(&mut self, step: &str, answer: &Answer) {
        match serde_json::from_str::<Value>(&answer.stdout) {
            Ok(error) if answer.code != 0 => {
                self.note(step, &format!("exit {} code {} {}", answer.code, error["code"], error["msg"]));
            }
            Ok(result) if result["cniVersion"] == "1.0.0" => {
                // The reference printed an empty `dns` in those days.
                self.note(step, &format!("exit 0 {result}").replace(r#","dns":{}"#, ""));
            }
            _ => self.note(step, &format!("exit {} {:?}", answer.code, answer.stdout)),
        }
    }

    /// What the step made or unmade, in both namespaces.
    fn state(&mut self, step: &str, before: &(State, State)) {
        let now = self.look();
        for (place, now, before) in [("node", &now.0, &before.0), ("pod", &now.1, &before.1)] {
            for line in now.diff(before) {
                self.note(step, &format!("{place} {line}"));
            }
        }
        for file in self.node.addresses_held("net") {
            self.note(step, &format!("address file {file}"));
        }
    }
}
