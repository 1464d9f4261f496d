//! Records: what was done for an attachment, kept where DEL, CHECK and GC find it.
//!
//! One file for each (network, container id, interface, plugin) in `<state>/attachments/<container id>/`, named
//! `<network>:<interface>:<plugin>`; none of the parts can hold a colon or a slash. Chained plugins, of which one type may
//! stand in a chain several times, have one for each configuration: a digest of it follows after another colon. While an attempt is under way the file
//! ends in `.intent`, afterwards in `.json`. The kernel's state dies with the boot, and so may records: no fsync.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use polynic_kernel::NetnsId;
use polynic_net::{IfName, PLAN_FORMAT, Plan};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The format number of [`Record`]. Files with another number are left to whoever wrote them.
pub const RECORD_FORMAT: u32 = 1;

/// What was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`RECORD_FORMAT`] of the writer.
    pub format: u32,
    /// Position among the records of the container, in the order of the chain.
    pub position: u32,
    /// Network name.
    pub network: String,
    /// Interface name.
    pub ifname: String,
    /// Plugin type.
    pub plugin: String,
    /// The pod's namespace, so that a path that now means another one is noticed.
    pub netns: NetnsId,
    /// The path by which it was known.
    pub netns_path: String,
    /// The applied plan.
    pub plan: Plan,
    /// Digest of the prevResult that a chained plugin was given; empty for main plugins.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub given: String,
    /// The result that ADD answered, printed in the newest version.
    pub result: serde_json::Value,
    /// The indexes of the links that the plan made in the pod or brought there: whoever is in the pod may rename them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub indexes: BTreeMap<IfName, u32>,
}

/// What is known of an earlier attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Earlier {
    /// Nothing.
    Nothing,
    /// An attempt began and did not get as far as the kernel; addresses may be reserved.
    Reserving,
    /// An attempt began to change the kernel and did not finish.
    Intended {
        /// What it was about to do.
        attempt: Box<Record>,
        /// What it was to replace, if the attachment was served already: see [`Slot::abandon`].
        replaced: Option<Box<Record>>,
    },
    /// It was completed.
    Applied(Box<Record>),
}

impl Earlier {
    /// The records of what may be left in the kernel, the latest first.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        let (first, second) = match self {
            Self::Nothing | Self::Reserving => (None, None),
            Self::Intended { attempt, replaced } => (Some(attempt), replaced.as_ref()),
            Self::Applied(record) => (Some(record), None),
        };
        first.into_iter().chain(second).map(Box::as_ref)
    }
}

/// Why records could not be kept.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {}", .path.display())]
pub struct RecordError {
    what: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RecordError {
    move |source| RecordError { what, path: path.to_owned(), source }
}

/// The place of one record.
#[derive(Clone, Debug)]
pub struct Slot {
    directory: PathBuf,
    stem: String,
}

impl Slot {
    /// The place of the record of (network, interface, plugin) in a container's directory.
    pub fn new(directory: &Path, network: &str, ifname: &str, plugin: &str) -> Self {
        Self { directory: directory.to_owned(), stem: format!("{network}:{ifname}:{plugin}") }
    }

    /// The place of the record of one configuration of a chained plugin, see [`digest`].
    pub fn chained(directory: &Path, network: &str, ifname: &str, plugin: &str, configuration: &str) -> Self {
        let stem = format!("{network}:{ifname}:{plugin}:{configuration}");
        Self { directory: directory.to_owned(), stem }
    }

    /// The place of the latest record of a chained plugin, whatever its configuration: what DEL undoes first. A network
    /// edited meanwhile must not keep DEL from finding it.
    pub fn latest(directory: &Path, network: &str, ifname: &str, plugin: &str) -> Option<Self> {
        let prefix = format!("{network}:{ifname}:{plugin}:");
        let stems = files(directory).filter_map(|path| {
            let stem = path.file_stem()?.to_str()?.to_owned();
            stem.starts_with(&prefix).then(|| (position(&path), stem))
        });
        // One that cannot be read was never applied: it is last in the order, and first to go.
        let last = stems.max_by_key(|(position, _)| position.unwrap_or(u32::MAX));
        last.map(|(_, stem)| Self { directory: directory.to_owned(), stem })
    }

    fn applied(&self) -> PathBuf {
        self.directory.join(format!("{}.json", self.stem))
    }

    fn intent(&self) -> PathBuf {
        self.directory.join(format!("{}.intent", self.stem))
    }

    fn amended(&self) -> PathBuf {
        self.directory.join(format!("{}.new", self.stem))
    }

    /// What earlier attempts left here. An unreadable or foreign file counts as an attempt that reached nothing.
    pub fn load(&self) -> Earlier {
        let applied = read(&self.applied()).map(Box::new);
        match (read(&self.intent()).map(Box::new), applied) {
            (Some(attempt), replaced) => Earlier::Intended { attempt, replaced },
            (None, Some(record)) => Earlier::Applied(record),
            (None, None) if self.intent().exists() => Earlier::Reserving,
            (None, None) => Earlier::Nothing,
        }
    }

    /// Notes that an attempt begins: from now on addresses may be reserved for it.
    pub fn reserve(&self) -> Result<(), RecordError> {
        let path = self.intent();
        File::create(&path).map(drop).map_err(failed("create record", &path))
    }

    /// Notes what is about to be done to the kernel. A half-written note is read as [`Earlier::Reserving`], which is right:
    /// the kernel is touched only after this returned.
    pub fn intend(&self, record: &Record) -> Result<(), RecordError> {
        let path = self.intent();
        let text = serde_json::to_vec(record).map_err(|e| failed("encode record", &path)(e.into()))?;
        File::create(&path).and_then(|mut f| f.write_all(&text)).map_err(failed("write record", &path))
    }

    /// Notes that it was done.
    pub fn commit(&self) -> Result<(), RecordError> {
        let path = self.intent();
        fs::rename(&path, self.applied()).map_err(failed("commit record", &path))
    }

    /// Replaces the record of what was done by one that knows more.
    pub fn amend(&self, record: &Record) -> Result<(), RecordError> {
        let path = self.amended();
        let text = serde_json::to_vec(record).map_err(|e| failed("encode record", &path)(e.into()))?;
        fs::write(&path, text).map_err(failed("write record", &path))?;
        fs::rename(&path, self.applied()).map_err(failed("replace record", &path))
    }

    /// Gives an attempt up that was to replace what is on record: the record stays.
    pub fn abandon(&self) -> Result<(), RecordError> {
        remove_file(&self.intent())
    }

    /// Forgets everything about the attachment. The container's directory stays, and with it the lock that is held on it.
    pub fn clear(&self) -> Result<(), RecordError> {
        remove_file(&self.applied())?;
        remove_file(&self.amended())?;
        self.abandon()
    }

    /// As [`Slot::clear`], and the container's directory goes if that was its last record: the last thing that a holder of its lock does.
    pub fn forget(&self) -> Result<(), RecordError> {
        self.clear()?;
        // Fails while other records are there, which is the point of not looking first.
        let _ = fs::remove_dir(&self.directory);
        Ok(())
    }
}

/// One that is not there is removed.
fn remove_file(path: &Path) -> Result<(), RecordError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("remove record", path)(e)),
        _ => Ok(()),
    }
}

fn read(path: &Path) -> Option<Record> {
    let record: Record = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    (record.format == RECORD_FORMAT && record.plan.format == PLAN_FORMAT).then_some(record)
}

/// The directory of a container's records.
pub fn directory(state: &Path, container_id: &str) -> PathBuf {
    state.join("attachments").join(container_id)
}

/// The applied records of a container, in the order in which they were made: that of the chain within an attachment.
pub fn applied(directory: &Path) -> Vec<Record> {
    let files = files(directory).filter(|p| p.extension().is_some_and(|e| e == "json"));
    let mut records: Vec<Record> = files.filter_map(|p| read(&p)).collect();
    records.sort_by_key(|r| r.position);
    records
}

/// The records of the container that were made after `record` in the same namespace.
pub fn later(directory: &Path, record: &Record) -> Vec<Record> {
    let mut records = applied(directory);
    records.retain(|r| r.position > record.position && r.netns == record.netns);
    records
}

/// The position of the next record of a container.
pub fn next_position(directory: &Path) -> u32 {
    let positions = files(directory).filter_map(|p| position(&p));
    positions.map(|position| position.saturating_add(1)).max().unwrap_or_default()
}

/// The position of a record, without reading what was planned.
fn position(path: &Path) -> Option<u32> {
    #[derive(Deserialize)]
    struct Place {
        format: u32,
        position: u32,
        plan: PlanFormat,
    }
    #[derive(Deserialize)]
    struct PlanFormat {
        format: u32,
    }
    let place: Place = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    (place.format == RECORD_FORMAT && place.plan.format == PLAN_FORMAT).then_some(place.position)
}

/// A short digest of a JSON value, whatever the order of its keys. Two configurations of one plugin in one chain must differ
/// in it; it protects nothing.
pub fn digest(value: &serde_json::Value) -> String {
    let hash = Sha256::digest(value.to_string());
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Every attachment of a network by one plugin that the node has a record of, as (container id, interface).
pub fn attachments(state: &Path, network: &str, plugin: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = files(&state.join("attachments"))
        .filter_map(|dir| Some((dir.file_name()?.to_str()?.to_owned(), dir)))
        .flat_map(|(id, dir)| files(&dir).map(move |file| (id.clone(), file)).collect::<Vec<_>>())
        .filter_map(|(id, file)| {
            let mut parts = file.file_stem()?.to_str()?.split(':');
            let ours = parts.next() == Some(network);
            let ifname = parts.next()?.to_owned();
            (ours && parts.next() == Some(plugin)).then_some((id, ifname))
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

fn files(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(directory).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(position: u32, plugin: &str) -> Record {
        Record {
            format: RECORD_FORMAT,
            position,
            network: "lab".into(),
            ifname: "net1".into(),
            plugin: plugin.into(),
            netns: NetnsId { device: 4, inode: 7 },
            netns_path: "/run/netns/a".into(),
            plan: Plan::default(),
            given: String::new(),
            result: serde_json::json!({"cniVersion": "1.1.0"}),
            indexes: BTreeMap::new(),
        }
    }

    fn scratch() -> (tempfile::TempDir, PathBuf) {
        let state = tempfile::tempdir().unwrap();
        let dir = directory(state.path(), "c1");
        fs::create_dir_all(&dir).unwrap();
        (state, dir)
    }

    #[test]
    fn a_record_goes_from_reserving_to_applied_to_nothing() {
        let (state, dir) = scratch();
        let slot = Slot::new(&dir, "lab", "net1", "macvlan");
        assert_eq!(slot.load(), Earlier::Nothing);
        slot.reserve().unwrap();
        assert_eq!(slot.load(), Earlier::Reserving);
        slot.intend(&record(0, "macvlan")).unwrap();
        assert_eq!(slot.load(), intended(record(0, "macvlan"), None));
        slot.commit().unwrap();
        assert_eq!(slot.load(), Earlier::Applied(Box::new(record(0, "macvlan"))));
        slot.forget().unwrap();
        slot.forget().unwrap();
        assert_eq!(slot.load(), Earlier::Nothing);
        assert!(!dir.exists() && state.path().exists());
    }

    #[test]
    fn a_record_that_was_being_amended_is_the_old_or_the_new_one_and_goes_as_a_whole() {
        let (_state, dir) = scratch();
        let slot = Slot::new(&dir, "lab", "net1", "macvlan");
        slot.intend(&record(0, "macvlan")).unwrap();
        slot.commit().unwrap();
        fs::write(slot.amended(), "{").unwrap();
        assert_eq!(slot.load(), Earlier::Applied(Box::new(record(0, "macvlan"))));
        let indexes = BTreeMap::from([(IfName::loopback(), 1)]);
        let amended = Record { indexes, ..record(0, "macvlan") };
        slot.amend(&amended).unwrap();
        assert_eq!(slot.load(), Earlier::Applied(Box::new(amended)));
        fs::write(slot.amended(), "{").unwrap();
        slot.forget().unwrap();
        assert!(!dir.exists());
    }

    fn intended(attempt: Record, replaced: Option<Record>) -> Earlier {
        Earlier::Intended { attempt: Box::new(attempt), replaced: replaced.map(Box::new) }
    }

    #[test]
    fn a_record_stands_until_what_replaces_it_is_applied() {
        let (_state, dir) = scratch();
        let slot = Slot::new(&dir, "lab", "net1", "sbr");
        let (first, second) = (record(0, "sbr"), record(1, "sbr"));
        slot.intend(&first).unwrap();
        slot.commit().unwrap();
        slot.reserve().unwrap();
        assert_eq!(slot.load(), Earlier::Applied(Box::new(first.clone())));
        slot.intend(&second).unwrap();
        assert_eq!(slot.load(), intended(second.clone(), Some(first.clone())));
        assert_eq!(slot.load().records().map(|r| r.position).collect::<Vec<_>>(), [1, 0]);
        slot.abandon().unwrap();
        assert_eq!(slot.load(), Earlier::Applied(Box::new(first)));
        slot.intend(&second).unwrap();
        slot.commit().unwrap();
        assert_eq!(slot.load(), Earlier::Applied(Box::new(second)));
    }

    #[test]
    fn a_torn_intent_means_that_the_kernel_was_not_touched() {
        let (_state, dir) = scratch();
        let slot = Slot::new(&dir, "lab", "net1", "macvlan");
        slot.intend(&record(0, "macvlan")).unwrap();
        let whole = fs::read(slot.intent()).unwrap();
        for cut in [0, 1, whole.len() / 2, whole.len() - 1] {
            fs::write(slot.intent(), &whole[..cut]).unwrap();
            assert_eq!(slot.load(), Earlier::Reserving, "{cut}");
        }
    }

    #[test]
    fn records_of_other_formats_are_not_interpreted() {
        let (_state, dir) = scratch();
        let slot = Slot::new(&dir, "lab", "net1", "macvlan");
        slot.intend(&Record { format: RECORD_FORMAT + 1, ..record(0, "macvlan") }).unwrap();
        slot.commit().unwrap();
        assert_eq!(slot.load(), Earlier::Nothing);
    }

    #[test]
    fn records_stand_in_the_order_in_which_they_were_made() {
        let (state, dir) = scratch();
        for (position, plugin) in [(4, "tuning"), (0, "macvlan")] {
            let slot = Slot::new(&dir, "lab", "net1", plugin);
            slot.intend(&record(position, plugin)).unwrap();
            slot.commit().unwrap();
        }
        Slot::new(&dir, "lab", "net10", "macvlan").reserve().unwrap();
        let plugins: Vec<String> = applied(&dir).into_iter().map(|r| r.plugin).collect();
        assert_eq!(plugins, ["macvlan", "tuning"]);
        assert_eq!(next_position(&dir), 5);
        let all = [("c1".to_owned(), "net1".to_owned()), ("c1".to_owned(), "net10".to_owned())];
        assert_eq!(attachments(state.path(), "lab", "macvlan"), all);
        assert_eq!(attachments(state.path(), "other", "macvlan"), []);
    }

    #[test]
    fn of_a_chained_plugin_the_latest_record_goes_first() {
        let (_state, dir) = scratch();
        let digests = [serde_json::json!({"a": 1, "b": 2}), serde_json::json!({"a": 2})].map(|v| digest(&v));
        assert_eq!(digests[0], digest(&serde_json::from_str(r#"{"b": 2, "a": 1}"#).unwrap()));
        for (position, digest) in digests.iter().enumerate() {
            let slot = Slot::chained(&dir, "lab", "net1", "tuning", digest);
            slot.intend(&record(position as u32, "tuning")).unwrap();
            slot.commit().unwrap();
        }
        for position in [1, 0] {
            let slot = Slot::latest(&dir, "lab", "net1", "tuning").unwrap();
            assert!(matches!(slot.load(), Earlier::Applied(r) if r.position == position));
            slot.forget().unwrap();
        }
        assert!(Slot::latest(&dir, "lab", "net1", "tuning").is_none());
    }
}
