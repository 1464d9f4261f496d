//! What `SpiderIPPool.status.allocatedIPs` says: a JSON text with one record per address (spec/spiderpool.md 2.1).
//!
//! The reader is lenient towards old releases and towards what it does not know: keys of a record that it cannot
//! interpret, and records under keys that are no address, come out again as they went in. A text that is no JSON
//! object at all is an error, so that nobody replaces a damaged status by an empty one.

mod holders;
mod text;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::PodKey;
use holders::Holders;

/// Who holds an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Namespace and name of the pod; the virtual machine's for fixed addresses of KubeVirt.
    pub pod: PodKey,
    /// The pod's UID: releases are guarded by it.
    pub uid: String,
    /// The interface in the pod. Releases 0.9 to 1.2 of the replaced program write none and drop it when they
    /// rewrite a pool; older ones wrote it under this key, `interface`.
    pub nic: Option<String>,
    extra: Option<Box<Map<String, Value>>>,
}

impl Record {
    /// A record of an interface.
    pub fn new(pod: PodKey, uid: impl Into<String>, nic: impl Into<String>) -> Self {
        Self { pod, uid: uid.into(), nic: Some(nic.into()), extra: None }
    }

    /// Whether it is that of this interface of that pod; a record without interface may be any one's.
    pub fn is_of(&self, uid: &str, nic: &str) -> bool {
        self.uid == uid && self.nic.as_deref().is_none_or(|own| own == nic)
    }

    /// Reads what is no plain record: keys that we do not know are kept.
    fn of_value(value: &Value) -> Option<Self> {
        let mut members = value.as_object()?.clone();
        let pod = PodKey::of_text(members.get("pod")?.as_str()?);
        let uid = members.get("podUid").and_then(Value::as_str).unwrap_or_default().to_owned();
        let nic = members.get("interface").and_then(Value::as_str).filter(|nic| !nic.is_empty());
        let nic = nic.map(ToOwned::to_owned);
        for known in ["pod", "podUid", "interface"] {
            members.remove(known);
        }
        let extra = (!members.is_empty()).then(|| Box::new(members));
        Some(Self { pod, uid, nic, extra })
    }

    fn to_value(&self) -> Value {
        let mut members = self.extra.as_deref().cloned().unwrap_or_default();
        members.insert("pod".to_owned(), Value::String(self.pod.to_string()));
        members.insert("podUid".to_owned(), Value::String(self.uid.clone()));
        if let Some(nic) = &self.nic {
            members.insert("interface".to_owned(), Value::String(nic.clone()));
        }
        Value::Object(members)
    }
}

/// A status text that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("status.allocatedIPs is not the JSON object it should be: {0}")]
pub struct RecordsError(String);

/// All records of one pool. Copies share the records.
#[derive(Clone, Debug, Default)]
pub struct Records {
    by_address: BTreeMap<IpAddr, Arc<Record>>,
    foreign: BTreeMap<String, Value>,
    /// Made when somebody first asks, because most versions of a pool are never asked; every change discards it.
    holders: OnceLock<Arc<Holders>>,
}

impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        self.by_address == other.by_address && self.foreign == other.foreign
    }
}

impl Eq for Records {}

impl Records {
    /// Reads the status text; none, empty and `null` are no records.
    ///
    /// # Errors
    /// It is not a JSON object.
    pub fn of_text(text: Option<&str>) -> Result<Self, RecordsError> {
        let text = text.map(str::trim).filter(|text| !text.is_empty()).unwrap_or("null");
        let wrong = |why: serde_json::Error| RecordsError(why.to_string());
        let members: Option<BTreeMap<String, &RawValue>> = serde_json::from_str(text).map_err(wrong)?;
        let mut records = Self::default();
        for (key, member) in members.unwrap_or_default() {
            records.read(key, member).map_err(wrong)?;
        }
        Ok(records)
    }

    fn read(&mut self, key: String, member: &RawValue) -> Result<(), serde_json::Error> {
        let ip: Option<IpAddr> = key.parse().ok();
        if let (Some(ip), Some(record)) = (ip, text::plain(member)) {
            self.by_address.insert(ip, Arc::new(record));
            return Ok(());
        }
        let value: Value = serde_json::from_str(member.get())?;
        match (ip, Record::of_value(&value)) {
            (Some(ip), Some(record)) => drop(self.by_address.insert(ip, Arc::new(record))),
            _ => drop(self.foreign.insert(key, value)),
        }
        Ok(())
    }

    /// The status text, keys in the order of their bytes; `None` when there is nothing to say, which the
    /// replaced program writes as an absent member.
    pub fn to_text(&self) -> Option<String> {
        let own = self.by_address.iter().map(|(ip, record)| (ip.to_string(), text::Member::Own(record)));
        let mut members: BTreeMap<String, text::Member<'_>> = own.collect();
        members.extend(self.foreign.iter().map(|(key, value)| (key.clone(), text::Member::Foreign(value))));
        let text = || serde_json::to_string(&members).ok();
        (!members.is_empty()).then(text).flatten()
    }

    /// The records of a UID, in ascending order of addresses.
    pub fn of_uid<'a>(&'a self, uid: &'a str) -> impl Iterator<Item = (IpAddr, &'a Record)> {
        self.at(self.holders().of_uid(uid)).filter(move |(_, record)| record.uid == uid)
    }

    /// The records under the name of a pod, in ascending order of addresses.
    pub fn of_pod<'a>(&'a self, pod: &'a PodKey) -> impl Iterator<Item = (IpAddr, &'a Record)> {
        self.at(self.holders().of_pod(pod)).filter(move |(_, record)| record.pod == *pod)
    }

    fn at(&self, addresses: impl Iterator<Item = IpAddr>) -> impl Iterator<Item = (IpAddr, &Record)> {
        addresses.filter_map(|ip| self.get(ip).map(|record| (ip, record)))
    }

    fn holders(&self) -> &Holders {
        self.holders.get_or_init(|| Arc::new(Holders::of(self.iter())))
    }

    /// How many there are (`status.allocatedIPCount`), those we cannot interpret included.
    pub fn count(&self) -> usize {
        self.by_address.len() + self.foreign.len()
    }

    /// Whether there is none: a pool that is being deleted may go.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// The record of an address.
    pub fn get(&self, ip: IpAddr) -> Option<&Record> {
        self.by_address.get(&ip).map(Arc::as_ref)
    }

    /// Records an address, in place of what was recorded for it.
    pub fn insert(&mut self, ip: IpAddr, record: Record) {
        self.holders.take();
        self.by_address.insert(ip, Arc::new(record));
    }

    /// Forgets an address.
    pub fn remove(&mut self, ip: IpAddr) -> Option<Arc<Record>> {
        self.holders.take();
        self.by_address.remove(&ip)
    }

    /// All records in ascending order of addresses.
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, &Record)> {
        self.by_address.iter().map(|(ip, record)| (*ip, record.as_ref()))
    }

    /// Changes the record of `ip` without changing what it says, so that a write of it gets the pool a new version: an API
    /// server ignores writes that change nothing. `mark` has to differ from the last one.
    pub fn confirm(&mut self, ip: IpAddr, mark: &str) {
        let Some(record) = self.by_address.get_mut(&ip) else { return };
        let extra = Arc::make_mut(record).extra.get_or_insert_default();
        extra.insert("confirmed".to_owned(), Value::String(mark.to_owned()));
    }

    /// Gives the record of `ip` to another pod or interface, and keeps what else it says.
    pub fn hand_over(&mut self, ip: IpAddr, to: Record) {
        let extra = self.by_address.get(&ip).and_then(|old| old.extra.clone());
        self.insert(ip, Record { extra, ..to });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EXAMPLE: &str = r#"{"10.9.0.7":{"pod":"team-a/web-0","podUid":"6c0f0d0e"}}"#;

    #[test]
    fn the_text_of_a_release_without_interfaces_comes_back_unchanged() {
        let records = Records::of_text(Some(EXAMPLE)).unwrap();
        let record = records.get("10.9.0.7".parse().unwrap()).unwrap();
        assert_eq!((record.pod.namespace.as_str(), record.pod.name.as_str()), ("team-a", "web-0"));
        assert_eq!(record.nic, None);
        assert_eq!(records.to_text().as_deref(), Some(EXAMPLE));
    }

    #[test]
    fn what_we_do_not_know_survives() {
        let text = r#"{"10.9.0.10":{"interface":"net1","node":"n1","pod":"a/b","podUid":"u"},"10.9.0.9":7,"note":{"pod":"x"}}"#;
        let mut records = Records::of_text(Some(text)).unwrap();
        assert_eq!(records.count(), 3);
        assert_eq!(records.to_text().as_deref(), Some(text));
        let ip = "10.9.0.10".parse().unwrap();
        records.hand_over(ip, Record::new(PodKey::new("a", "b"), "v", "net1"));
        assert!(records.to_text().unwrap().contains(r#""node":"n1""#));
    }

    #[test]
    fn nothing_is_an_absent_member() {
        for text in [None, Some(""), Some("null"), Some("{}")] {
            assert_eq!(Records::of_text(text).unwrap().to_text(), None);
        }
    }

    #[test]
    fn a_damaged_text_is_an_error_and_not_an_empty_pool() {
        for text in ["[]", "{", "7", r#""x""#] {
            assert!(Records::of_text(Some(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn keys_stand_in_the_order_of_their_text() {
        let mut records = Records::default();
        for ip in ["10.0.0.9", "10.0.0.10", "fd00::1"] {
            records.insert(ip.parse().unwrap(), Record::new(PodKey::new("n", "p"), "u", "eth0"));
        }
        let text = records.to_text().unwrap();
        let at = |ip: &str| text.find(&format!("\"{ip}\"")).unwrap();
        assert!(at("10.0.0.10") < at("10.0.0.9") && at("10.0.0.9") < at("fd00::1"));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_is_stable(text in ".{0,60}") {
            if let Ok(records) = Records::of_text(Some(&text)) {
                prop_assert_eq!(Records::of_text(records.to_text().as_deref()).unwrap(), records);
            }
        }

        #[test]
        fn who_holds_what_is_found_as_by_looking_at_all(
            steps in prop::collection::vec((0_u8..12, 0_u8..4, 0_u8..4, any::<bool>(), any::<bool>()), 0..40),
        ) {
            let mut records = Records::default();
            for (ip, pod, uid, remove, look) in steps {
                let ip = IpAddr::from([10, 9, 0, ip]);
                let (pod, uid) = (PodKey::new("a", pod.to_string()), uid.to_string());
                match remove {
                    true => drop(records.remove(ip)),
                    false => records.insert(ip, Record::new(pod.clone(), uid.as_str(), "net1")),
                }
                if look {
                    let of_uid = records.iter().filter(|(_, record)| record.uid == uid);
                    prop_assert!(records.of_uid(&uid).eq(of_uid));
                    let of_pod = records.iter().filter(|(_, record)| record.pod == pod);
                    prop_assert!(records.of_pod(&pod).eq(of_pod));
                }
            }
        }

        #[test]
        fn both_readers_of_a_record_agree(
            pod in "[a-z\"\\\\/]{0,6}", uid in prop::option::of("[a-z\\n]{0,3}"), nic in prop::option::of("[a-z]{0,3}"),
        ) {
            let mut member = serde_json::json!({ "pod": pod });
            if let Some(uid) = uid {
                member["podUid"] = Value::String(uid);
            }
            if let Some(nic) = nic {
                member["interface"] = Value::String(nic);
            }
            let raw = RawValue::from_string(member.to_string()).unwrap();
            let record = text::plain(&raw).unwrap();
            prop_assert_eq!(&record, &Record::of_value(&member).unwrap());
            prop_assert_eq!(serde_json::to_string(&text::Member::Own(&record)).unwrap(), record.to_value().to_string());
        }
    }
}
