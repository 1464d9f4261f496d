//! Sandboxes that are being deleted: a DEL waits for its turn after what came before for the sandbox, and that does not keep it waiting for an
//! API server that is away.

use std::collections::BTreeMap;
use std::sync::Arc;

use polynic_cluster::GivenUp;
use tokio::sync::watch;

/// How many DELs of each sandbox wait or run.
#[derive(Clone)]
pub(crate) struct Leaving(Arc<watch::Sender<BTreeMap<String, usize>>>);

/// A DEL that waits or runs, until it is dropped.
pub(crate) struct Going {
    leaving: Leaving,
    sandbox: String,
}

impl Default for Leaving {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::default()))
    }
}

impl Leaving {
    /// A DEL of a sandbox came in.
    pub(crate) fn begin(&self, sandbox: &str) -> Going {
        self.0.send_modify(|dels| *dels.entry(sandbox.to_owned()).or_default() += 1);
        Going { leaving: self.clone(), sandbox: sandbox.to_owned() }
    }

    /// Tells when a DEL of a sandbox waits.
    pub(crate) fn of(&self, sandbox: &str) -> GivenUp {
        let (leaving, sandbox) = (self.clone(), sandbox.to_owned());
        Box::new(move || {
            let (mut dels, sandbox) = (leaving.0.subscribe(), sandbox.clone());
            Box::pin(async move {
                // The other end vanishes only with the endpoint.
                let _ = dels.wait_for(|dels| dels.contains_key(&sandbox)).await;
            })
        })
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        self.leaving.0.send_modify(|dels| {
            let left = dels.get(&self.sandbox).map_or(0, |count| count.saturating_sub(1));
            match left {
                0 => drop(dels.remove(&self.sandbox)),
                left => drop(dels.insert(self.sandbox.clone(), left)),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn a_sandbox_is_leaving_while_one_of_its_dels_waits() {
        let leaving = Leaving::default();
        let is_leaving = |sandbox: &str| leaving.of(sandbox)().now_or_never().is_some();
        let before = leaving.of("one")();
        let (first, second) = (leaving.begin("one"), leaving.begin("one"));
        assert!(before.now_or_never().is_some(), "who waited is told");
        drop(first);
        assert!(is_leaving("one") && !is_leaving("two"));
        drop(second);
        assert!(!is_leaving("one") && leaving.0.borrow().is_empty());
    }
}
