//! How one record is read and printed. Nearly all records say just what we write, and pools may have thousands: those are read and printed
//! without a tree of JSON values between.

use std::borrow::Cow;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::Record;
use crate::PodKey;

/// A record without keys that we do not know. The order is that of the keys' bytes.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Plain<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    interface: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pod: Cow<'a, str>,
    #[serde(borrow, rename = "podUid", default)]
    pod_uid: Cow<'a, str>,
}

/// Reads a record that has nothing but what we know; `None` for any other value.
pub(super) fn plain(member: &RawValue) -> Option<Record> {
    let plain: Plain<'_> = serde_json::from_str(member.get()).ok()?;
    Some(Record {
        pod: PodKey::of_text(&plain.pod),
        uid: plain.pod_uid.into_owned(),
        nic: plain.interface.filter(|nic| !nic.is_empty()).map(Cow::into_owned),
        extra: None,
    })
}

/// A member of the status text.
pub(super) enum Member<'a> {
    Own(&'a Record),
    Foreign(&'a Value),
}

impl Serialize for Member<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Foreign(value) => value.serialize(serializer),
            Self::Own(record) if record.extra.is_some() => record.to_value().serialize(serializer),
            Self::Own(record) => Plain {
                interface: record.nic.as_deref().map(Cow::Borrowed),
                pod: Cow::Owned(record.pod.to_string()),
                pod_uid: Cow::Borrowed(&record.uid),
            }
            .serialize(serializer),
        }
    }
}
