//! The configuration.

use polynic_cni::{Error, GoMap, JsonMap};
use polynic_net::{IpNet, TokenBucket};
use serde::Deserialize;

use super::shape::Subnets;
use crate::Call;

/// What a pod may receive and send.
#[derive(Debug)]
pub(super) struct Config {
    /// Towards the pod; absent: as much as there is.
    pub(super) ingress: Option<Flow>,
    /// From the pod.
    pub(super) egress: Option<Flow>,
    pub(super) subnets: Subnets,
}

/// A rate and a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    /// Bytes in a second.
    rate: u64,
    /// Bytes.
    burst: u32,
}

impl Flow {
    pub(super) fn bucket(self) -> TokenBucket {
        TokenBucket::new(self.rate, self.burst)
    }
}

/// In bits a second, and bits.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Entry {
    ingress_rate: u64,
    ingress_burst: u64,
    egress_rate: u64,
    egress_burst: u64,
    shaped_subnets: Vec<String>,
    unshaped_subnets: Vec<String>,
}

/// The keys of which one is enough for the configuration to count instead of what the runtime asks for.
const DECISIVE: [&str; 4] = ["ingressRate", "ingressBurst", "egressRate", "egressBurst"];

impl Config {
    pub(super) fn read(call: &Call<'_>) -> Result<Self, Error> {
        let written: Entry = call.conf.read()?;
        let keys = call.conf.keys();
        let asked = call.runtime_config().object("bandwidth");
        let asked = asked.map_err(|e| call.error(format!("failed to load netconf: {e}")))?;
        let entry = match asked {
            Some(asked) if DECISIVE.iter().all(|key| keys.get(key).is_none()) => {
                over(&written, asked).map_err(|e| call.error(format!("failed to load netconf: {e}")))?
            }
            _ => written,
        };
        Self::of(&entry).map_err(|why| call.error(why))
    }

    fn of(entry: &Entry) -> Result<Self, String> {
        Ok(Self {
            ingress: flow("ingressRate", entry.ingress_rate, entry.ingress_burst)?,
            egress: flow("egressRate", entry.egress_rate, entry.egress_burst)?,
            subnets: subnets(&entry.shaped_subnets, &entry.unshaped_subnets)?,
        })
    }

    /// Whether there is nothing to do.
    pub(super) fn is_idle(&self) -> bool {
        self.ingress.is_none() && self.egress.is_none()
    }
}

/// What the runtime asks for; the networks are the configuration's unless the runtime names some.
fn over(written: &Entry, asked: &JsonMap) -> Result<Entry, polynic_cni::json::JsonError> {
    let mut entry: Entry = polynic_cni::json::from_map(asked)?;
    let named = |key: &str| GoMap(asked).get(key).is_some();
    if !named("shapedSubnets") && !named("unshapedSubnets") {
        entry.shaped_subnets.clone_from(&written.shaped_subnets);
        entry.unshaped_subnets.clone_from(&written.unshaped_subnets);
    }
    Ok(entry)
}

fn flow(key: &str, rate: u64, burst: u64) -> Result<Option<Flow>, String> {
    match (rate, burst) {
        (0, 0) => return Ok(None),
        (_, 0) => return Err("if rate is set, burst must also be set".to_owned()),
        (0, _) => return Err("if burst is set, rate must also be set".to_owned()),
        (1..8, _) => return Err(format!("{key} {rate} is less than a byte (8 bits) a second")),
        _ => {}
    }
    let burst = u32::try_from(burst / 8).ok().filter(|bytes| *bytes < u32::MAX);
    let burst = burst.ok_or_else(|| "burst cannot be more than 4GB".to_owned())?;
    Ok(Some(Flow { rate: rate / 8, burst }))
}

fn subnets(shaped: &[String], unshaped: &[String]) -> Result<Subnets, String> {
    let read = |list: &[String], key: &str| {
        let one = |text: &String| text.parse::<IpNet>().map_err(|_| format!("bad subnet {text:?} in {key}"));
        list.iter().map(one).collect::<Result<Vec<IpNet>, String>>()
    };
    match (shaped.is_empty(), unshaped.is_empty()) {
        (true, true) => Ok(Subnets::All),
        (false, true) => Ok(Subnets::Only(read(shaped, "shapedSubnets")?)),
        (true, false) => Ok(Subnets::AllBut(read(unshaped, "unshapedSubnets")?)),
        (false, false) => {
            Err("unshapedSubnets and shapedSubnets cannot be both specified, one of them should be discarded"
                .to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_bursts_come_in_pairs_of_bits() {
        assert_eq!(flow("r", 1_000_000, 80_000), Ok(Some(Flow { rate: 125_000, burst: 10_000 })));
        assert_eq!(flow("r", 0, 0), Ok(None));
        for (rate, burst, why) in [
            (1000, 0, "burst must also be set"),
            (0, 1000, "rate must also be set"),
            (7, 1000, "less than a byte"),
            (1000, 8 * u64::from(u32::MAX), "burst cannot be more than 4GB"),
            (1000, u64::MAX, "burst cannot be more than 4GB"),
        ] {
            assert!(flow("r", rate, burst).unwrap_err().contains(why), "{rate} {burst}");
        }
        assert!(flow("r", u64::MAX, 8).is_ok());
    }

    #[test]
    fn networks_are_shaped_or_not_but_not_both() {
        let some = ["10.0.0.0/8".to_owned()];
        assert!(matches!(subnets(&some, &[]), Ok(Subnets::Only(_))));
        assert!(matches!(subnets(&[], &some), Ok(Subnets::AllBut(_))));
        assert!(subnets(&some, &some).unwrap_err().contains("cannot be both specified"));
        assert!(subnets(&["x".to_owned()], &[]).unwrap_err().contains("shapedSubnets"));
    }
}
