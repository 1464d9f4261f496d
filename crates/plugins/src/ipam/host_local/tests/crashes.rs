//! A process that is killed at any step it makes in the store: no address has two owners, none is lost, the lock is free.

use std::cell::Cell;
use std::fs::File;
use std::io;

use super::*;

/// A disk under which the process dies: so many steps are made, the next one is not or is torn, and none after it.
struct Dying {
    steps: Cell<u32>,
    /// Whether the last step of writing is half made.
    torn: bool,
    dead: Cell<bool>,
}

impl Dying {
    fn after(steps: u32, torn: bool) -> Self {
        Self { steps: Cell::new(steps), torn, dead: Cell::new(false) }
    }

    fn step(&self) -> io::Result<()> {
        match self.steps.get() {
            0 => {
                self.dead.set(true);
                Err(io::Error::other("the process is dead"))
            }
            left => {
                self.steps.set(left - 1);
                Ok(())
            }
        }
    }

    fn writes(&self, content: &str, write: impl Fn(&str) -> io::Result<()>) -> io::Result<()> {
        let first_that_fails = !self.dead.get();
        self.step().inspect_err(|_| {
            if self.torn && first_that_fails {
                write(&content[..content.len() / 2]).unwrap();
            }
        })?;
        write(content)
    }
}

impl Disk for Dying {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        RealDisk.create_directory(path)
    }

    fn open_lock(&self, path: &Path) -> io::Result<File> {
        self.step()?;
        RealDisk.open_lock(path)
    }

    fn create(&self, path: &Path, content: &str) -> io::Result<()> {
        self.writes(content, |content| RealDisk.create(path, content))
    }

    fn write(&self, path: &Path, content: &str) -> io::Result<()> {
        // An index whose directory is missing is no step.
        if !path.parent().unwrap().exists() {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.writes(content, |content| RealDisk.write(path, content))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        RealDisk.link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        RealDisk.remove(path)
    }

    fn remove_all(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        RealDisk.remove_all(path)
    }
}

/// Whom the crash hits.
const VICTIM: [&str; 2] = ["victim", "net1"];
const NEIGHBOURS: [&str; 2] = ["left", "right"];
/// Six addresses of each family, gateways aside.
const OF_A_FAMILY: usize = 6;

fn both_families(bench: &Bench) -> Value {
    bench.conf(json!({"ranges": [
        [{"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.10", "rangeEnd": "10.0.0.15"}],
        [{"subnet": "fd00::/64", "rangeStart": "fd00::10", "rangeEnd": "fd00::15"}],
    ]}))
}

/// Only the neighbours are valid attachments.
fn without_victim(mut conf: Value) -> Value {
    let valid = NEIGHBOURS.map(|id| json!({"containerID": id, "ifname": "net1"}));
    conf["cni.dev/valid-attachments"] = json!(valid);
    conf
}

/// What is there before the crash.
type Before = fn(&Bench, &Value);

fn neighbours(bench: &Bench, conf: &Value) {
    for id in NEIGHBOURS {
        bench.add(id, "net1", conf).unwrap();
    }
}

fn neighbours_and_victim(bench: &Bench, conf: &Value) {
    neighbours(bench, conf);
    bench.add(VICTIM[0], VICTIM[1], conf).unwrap();
}

/// The replaced plugin died between making a file and writing it; and our index knows nothing yet.
fn an_empty_file(bench: &Bench, conf: &Value) {
    neighbours(bench, conf);
    fs::write(bench.store().join("10.0.0.12"), "").unwrap();
}

/// Somebody else's process gave the victim its addresses, so our index is out of date.
fn foreign_addresses(bench: &Bench, conf: &Value) {
    neighbours(bench, conf);
    for ip in ["10.0.0.14", "fd00::14"] {
        fs::write(bench.store().join(ip), VICTIM.join("\r\n")).unwrap();
    }
}

/// All files of addresses with their owners.
fn owners(bench: &Bench) -> Vec<(String, String)> {
    let is_address = |name: &String| name.parse::<std::net::IpAddr>().is_ok();
    let files = bench.files().into_iter().filter(is_address);
    files.map(|f| (f.clone(), fs::read_to_string(bench.store().join(f)).unwrap())).collect()
}

fn of<'a>(owners: &'a [(String, String)], id: &str) -> Vec<&'a str> {
    owners.iter().filter(|(_, owner)| owner.starts_with(id)).map(|(ip, _)| ip.as_str()).collect()
}

/// Whatever is left after the crash: the neighbours have what they had, the victim gets all of an attachment or nothing, and in
/// the end every address can be had again.
fn assert_sound(bench: &Bench, conf: &Value, neighbours: &[Vec<String>], recover: Verb) {
    let case = || format!("{recover:?}: {:?}", owners(bench));
    match recover {
        Verb::Gc => drop(bench.call_conf(Verb::Gc, "", "", &without_victim(conf.clone())).unwrap()),
        verb => drop(bench.call_conf(verb, VICTIM[0], VICTIM[1], conf).unwrap()),
    }
    let now = owners(bench);
    for (id, had) in NEIGHBOURS.iter().zip(neighbours) {
        assert_eq!(of(&now, id), *had, "{}", case());
    }
    assert_eq!(of(&now, VICTIM[0]), [""; 0], "{}", case());
    assert!(!bench.store().join(".new").exists());
    let free = OF_A_FAMILY - NEIGHBOURS.len();
    for number in 0..free {
        bench.add(&format!("new-{number}"), "net1", conf).unwrap_or_else(|e| panic!("{e:?}: {}", case()));
    }
    assert_eq!(owners(bench).len(), 2 * OF_A_FAMILY, "{}", case());
    assert!(bench.add("one-too-many", "net1", conf).is_err());
    for number in 0..free {
        bench.del(&format!("new-{number}"), "net1");
    }
    assert_eq!(owners(bench).len(), 2 * NEIGHBOURS.len(), "{}", case());
}

/// Kills the verb at each of its steps, and has DEL or GC clean up. Answers how many steps there were.
fn die_at_each_step(before: Before, verb: Verb) -> u32 {
    for steps in 0.. {
        let mut survived = true;
        for (recover, torn) in [(Verb::Del, false), (Verb::Del, true), (Verb::Gc, false), (Verb::Gc, true)] {
            let bench = Bench::new();
            let conf = both_families(&bench);
            before(&bench, &conf);
            let had = owners(&bench);
            let had: Vec<Vec<String>> =
                NEIGHBOURS.iter().map(|id| of(&had, id).into_iter().map(str::to_owned).collect()).collect();
            let disk = Dying::after(steps, torn);
            let whose = if verb == Verb::Gc { ["", ""] } else { VICTIM };
            let given = if verb == Verb::Gc { without_victim(conf.clone()) } else { conf.clone() };
            let _ = bench.call_on(&disk, verb, whose, &given);
            survived &= !disk.dead.get();
            assert_sound(&bench, &conf, &had, recover);
        }
        if survived {
            return steps;
        }
    }
    unreachable!("a call has an end")
}

#[test]
fn an_add_that_dies_at_any_step_loses_and_doubles_nothing() {
    for before in [neighbours as Before, an_empty_file] {
        // The lock, two addresses with what was handed out last, and the index: some twenty steps.
        let steps = die_at_each_step(before, Verb::Add);
        assert!(steps > 15, "{steps}");
    }
}

#[test]
fn a_del_that_dies_at_any_step_is_finished_by_the_next() {
    for before in [neighbours_and_victim as Before, foreign_addresses] {
        let steps = die_at_each_step(before, Verb::Del);
        assert!(steps > 4, "{steps}");
    }
}

#[test]
fn a_gc_that_dies_at_any_step_is_finished_by_the_next() {
    for before in [neighbours_and_victim as Before, foreign_addresses] {
        let steps = die_at_each_step(before, Verb::Gc);
        assert!(steps > 4, "{steps}");
    }
}

#[test]
fn the_note_of_completeness_is_away_while_the_store_changes() {
    let bench = Bench::new();
    let conf = both_families(&bench);
    neighbours(&bench, &conf);
    for steps in 0.. {
        let modified = fs::metadata(bench.store()).unwrap().modified().unwrap();
        let disk = Dying::after(steps, false);
        let _ = bench.call_on(&disk, Verb::Add, VICTIM, &conf);
        if !disk.dead.get() {
            break;
        }
        // As if no time had passed: the store looks as the process before left it.
        File::open(bench.store()).unwrap().set_modified(modified).unwrap();
        bench.del(VICTIM[0], VICTIM[1]);
        assert_eq!(of(&owners(&bench), VICTIM[0]), [""; 0], "{steps}");
    }
}
