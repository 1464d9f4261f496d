//! How long to wait before trying again.

use std::time::Duration;

/// Exponential back-off: each wait is twice the last one, up to a limit.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
    first: Duration,
    longest: Duration,
}

impl Backoff {
    /// Waits from `first` to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Backoff {
        Backoff { next: first, first, longest }
    }

    /// For sandboxes: quick enough for people who wait, slow enough to read the events.
    pub fn of_sandboxes() -> Backoff {
        Backoff::new(Duration::from_millis(500), Duration::from_secs(5))
    }

    /// For requests to the API server and watches that broke off.
    pub fn of_requests() -> Backoff {
        Backoff::new(Duration::from_millis(100), Duration::from_secs(2))
    }

    /// The wait before the next attempt.
    pub fn wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = (self.next * 2).min(self.longest);
        wait
    }

    /// Begins anew after a success.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sandboxes_wait_half_a_second_and_then_twice_as_long_up_to_five() {
        let mut backoff = Backoff::of_sandboxes();
        let waits: Vec<_> = (0..6).map(|_| backoff.wait().as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 5000, 5000]);
        backoff.reset();
        assert_eq!(backoff.wait().as_millis(), 500);
    }

    proptest! {
        #[test]
        fn waits_never_shrink_nor_pass_the_limit(first in 1u64..1000, longest in 1000u64..10_000, n in 1usize..40) {
            let mut backoff = Backoff::new(Duration::from_millis(first), Duration::from_millis(longest));
            let waits: Vec<_> = (0..n).map(|_| backoff.wait()).collect();
            prop_assert!(waits.is_sorted());
            prop_assert!(waits.iter().all(|w| *w <= Duration::from_millis(longest)));
        }
    }
}
