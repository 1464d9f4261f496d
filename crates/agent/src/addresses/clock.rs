//! The allocator's clock by tokio's.

use std::time::Duration;

use polynic_ipam::{Clock, Millis};
use tokio::time::{Instant, sleep_until};

/// Milliseconds since the clock was made.
pub(crate) struct TokioClock(Instant);

impl TokioClock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// The moment so much later than now.
    pub(crate) fn after(&self, patience: Duration) -> Millis {
        self.now().plus(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX))
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Millis {
        Millis(u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    async fn sleep_until(&self, then: Millis) {
        sleep_until(self.0 + Duration::from_millis(then.0)).await;
    }
}
