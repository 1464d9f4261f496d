//! Pods that are being deleted: a DEL waits for its turn after what came before for the pod, and that does not keep it waiting for an API
//! server that is away.

use std::collections::BTreeMap;
use std::sync::Arc;

use polynic_cluster::GivenUp;
use tokio::sync::watch;

/// How many DELs of each pod wait or run.
#[derive(Clone)]
pub(crate) struct Leaving(Arc<watch::Sender<BTreeMap<String, usize>>>);

/// A DEL that waits or runs, until it is dropped.
pub(crate) struct Going {
    leaving: Leaving,
    pod: String,
}

impl Default for Leaving {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::default()))
    }
}

impl Leaving {
    /// A DEL of a pod came in.
    pub(crate) fn begin(&self, pod: &str) -> Going {
        self.0.send_modify(|dels| *dels.entry(pod.to_owned()).or_default() += 1);
        Going { leaving: self.clone(), pod: pod.to_owned() }
    }

    /// Tells when a DEL of a pod waits.
    pub(crate) fn of(&self, pod: &str) -> GivenUp {
        let (leaving, pod) = (self.clone(), pod.to_owned());
        Box::new(move || {
            let (mut dels, pod) = (leaving.0.subscribe(), pod.clone());
            Box::pin(async move {
                // The other end vanishes only with the endpoint.
                let _ = dels.wait_for(|dels| dels.contains_key(&pod)).await;
            })
        })
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        self.leaving.0.send_modify(|dels| {
            let left = dels.get(&self.pod).map_or(0, |count| count.saturating_sub(1));
            match left {
                0 => drop(dels.remove(&self.pod)),
                left => drop(dels.insert(self.pod.clone(), left)),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn a_pod_is_leaving_while_one_of_its_dels_waits() {
        let leaving = Leaving::default();
        let is_leaving = |pod: &str| leaving.of(pod)().now_or_never().is_some();
        let before = leaving.of("blue/p")();
        let (first, second) = (leaving.begin("blue/p"), leaving.begin("blue/p"));
        assert!(before.now_or_never().is_some(), "who waited is told");
        drop(first);
        assert!(is_leaving("blue/p") && !is_leaving("blue/q"));
        drop(second);
        assert!(!is_leaving("blue/p") && leaving.0.borrow().is_empty());
    }
}
