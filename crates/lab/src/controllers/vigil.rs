//! For how long nodes have been silent, in time during which the controllers themselves were awake.
//!
//! A renewal's own time stamp cannot say it: when the API server was away for a minute, or the machine had other things to do, every lease is old,
//! and no node is lost. So a lease counts from when it was last seen to change, and a gap between two looks counts as one look's time.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt;

/// The longest time that one look stands for: passes come once a second if nothing happens.
const LONGEST: Duration = Duration::from_secs(2);
const NAMESPACE: &str = "kube-node-lease";

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Vigil {
    /// When the last look was.
    last: Option<Duration>,
    awake: Duration,
    /// Each node's last renewal, and how long the controllers had been awake when they saw it.
    seen: BTreeMap<String, (Option<String>, Duration)>,
}

impl Vigil {
    /// Takes a look at the leases, at a time on a clock that never goes back. Answers each node's silence.
    pub fn look(&mut self, now: Duration, leases: &[Lease]) -> BTreeMap<String, Duration> {
        let since = now.saturating_sub(self.last.replace(now).unwrap_or(now));
        self.awake += since.min(LONGEST);
        let of_nodes = leases.iter().filter(|lease| lease.metadata.namespace.as_deref() == Some(NAMESPACE));
        let mut seen = BTreeMap::new();
        for lease in of_nodes {
            let renewed =
                lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref()).map(|time| time.0.to_string());
            let known = self.seen.remove(&lease.name_any()).filter(|(known, _)| *known == renewed);
            seen.insert(lease.name_any(), known.unwrap_or((renewed, self.awake)));
        }
        self.seen = seen;
        self.seen.iter().map(|(node, (_, at))| (node.clone(), self.awake.saturating_sub(*at))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lease(node: &str, second: u32) -> Lease {
        let spec = json!({"renewTime": format!("1970-01-01T00:00:{second:02}.000000Z")});
        serde_json::from_value(json!({"metadata": {"name": node, "namespace": NAMESPACE}, "spec": spec}))
            .unwrap()
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_node_is_silent_since_its_lease_was_last_seen_to_change() {
        let mut vigil = Vigil::default();
        for now in 0..=5_u32 {
            vigil.look(seconds(now.into()), &[lease("a", now), lease("b", 0)]);
        }
        let silence = vigil.look(seconds(6), &[lease("a", 5), lease("b", 0)]);
        assert_eq!((silence["a"], silence["b"]), (seconds(1), seconds(6)));
    }

    #[test]
    fn nobody_is_blamed_for_a_time_in_which_nobody_looked() {
        let mut vigil = Vigil::default();
        vigil.look(seconds(0), &[lease("a", 0)]);
        assert_eq!(vigil.look(seconds(70), &[lease("a", 0)])["a"], LONGEST);
    }

    #[test]
    fn a_node_that_comes_back_begins_anew() {
        let mut vigil = Vigil::default();
        vigil.look(seconds(0), &[lease("a", 0)]);
        vigil.look(seconds(1), &[]);
        assert_eq!(vigil.look(seconds(2), &[lease("a", 0)])["a"], Duration::ZERO);
    }
}
