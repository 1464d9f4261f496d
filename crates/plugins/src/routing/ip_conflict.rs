//! `ip_conflict` of `router` and `veth` (spec/coordinator.md 5.1): whether somebody else has an address of the interface.

use polynic_net::{IfName, IpNet, Probe, Seek};
use serde::Deserialize;

use polynic_cni::go_duration;

const DEFAULT_INTERVAL_MS: u64 = 1000;
const DEFAULT_RETRIES: u32 = 3;

/// The object as written.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Keys {
    enabled: bool,
    interval: Option<String>,
    retries: i64,
}

/// How to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IpConflict {
    pub(super) interval_ms: u64,
    pub(super) retries: u32,
}

impl IpConflict {
    /// None unless switched on. The replaced plugins read the interval of a switched-off object, too, and fail without one.
    pub(super) fn read(keys: Option<Keys>) -> Result<Option<Self>, String> {
        let Some(keys) = keys.filter(|k| k.enabled) else { return Ok(None) };
        let interval_ms = match keys.interval.as_deref() {
            None | Some("") => DEFAULT_INTERVAL_MS,
            Some(text) => {
                let read = go_duration::milliseconds(text);
                read.ok_or_else(|| {
                    format!("invalid interval {text}: it must be a duration like 300ms or 1s")
                })?
            }
        };
        let retries = u32::try_from(keys.retries).ok().filter(|n| *n > 0).unwrap_or(DEFAULT_RETRIES);
        Ok(Some(Self { interval_ms, retries }))
    }

    /// The questions about all addresses, to be asked at the same time.
    pub(super) fn probes(self, link: &IfName, addresses: &[IpNet]) -> Vec<Probe> {
        let probe = |net: &IpNet| Probe {
            link: link.clone(),
            ip: net.addr(),
            seek: Seek::Nobody,
            interval_ms: self.interval_ms,
            count: self.retries,
        };
        addresses.iter().map(probe).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(value: Value) -> Result<Option<IpConflict>, String> {
        IpConflict::read(Some(serde_json::from_value(value).unwrap()))
    }

    #[test]
    fn it_is_off_unless_switched_on_and_then_has_defaults() {
        assert_eq!(IpConflict::read(None), Ok(None));
        assert_eq!(read(json!({"enabled": false, "interval": "nonsense"})), Ok(None));
        assert_eq!(read(json!({"enabled": true})), Ok(Some(IpConflict { interval_ms: 1000, retries: 3 })));
        let given = read(json!({"enabled": true, "interval": "300ms", "retries": 5}));
        assert_eq!(given, Ok(Some(IpConflict { interval_ms: 300, retries: 5 })));
        assert_eq!(read(json!({"enabled": true, "retries": -1})).unwrap().unwrap().retries, 3);
        assert!(read(json!({"enabled": true, "interval": "1"})).unwrap_err().contains("invalid interval 1"));
    }
}
