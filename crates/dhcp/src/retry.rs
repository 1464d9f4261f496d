//! How long to wait between attempts to get a lease (spec/plugins.md 2.3).

use std::time::Duration;

use polynic_net::Entropy;

use crate::Time;

/// The first attempts follow each other quickly.
const QUICK_ATTEMPTS: u32 = 4;
const QUICK: Duration = Duration::from_secs(2);
/// The first pause after these; it doubles from time to time.
const SLOW: Duration = Duration::from_secs(8);
/// Each pause is up to so much longer or shorter, so that many clients do not speak at once.
const SPREAD: Duration = Duration::from_secs(1);

/// The limits of attempts; the command line of the daemon sets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long one attempt waits for its answers.
    pub attempt: Duration,
    /// Pauses do not grow beyond the first that is at least so long.
    pub longest_pause: Duration,
    /// When the first lease is given up.
    pub give_up: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            attempt: Duration::from_secs(10),
            longest_pause: Duration::from_secs(62),
            give_up: Duration::from_secs(208),
        }
    }
}

/// A series of attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Retry {
    quick: u32,
    slow: Duration,
    longest: Duration,
    /// When the series ends; absent: never.
    pub(crate) until: Option<Time>,
}

impl Retry {
    /// A series that ends at some time, or never.
    pub(crate) fn new(timing: &Timing, until: Option<Time>) -> Self {
        Self { quick: QUICK_ATTEMPTS, slow: SLOW, longest: timing.longest_pause, until }
    }

    /// The pause after another failed attempt.
    pub(crate) fn pause(&mut self, entropy: &mut Entropy) -> Duration {
        if self.quick > 0 {
            self.quick -= 1;
            return spread(QUICK, entropy);
        }
        let pause = spread(self.slow, entropy);
        if self.slow < self.longest {
            self.slow *= 2;
        }
        pause
    }
}

/// A time, up to a second longer or shorter.
pub(crate) fn spread(time: Duration, entropy: &mut Entropy) -> Duration {
    let within = Duration::from_millis(entropy.bits() % (2 * SPREAD.as_millis() as u64 + 1));
    (time + within).saturating_sub(SPREAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_quick_pauses_and_then_they_double_up_to_the_limit() {
        let mut retry = Retry::new(&Timing::default(), None);
        let mut entropy = Entropy::new(3);
        for expected in [2, 2, 2, 2, 8, 16, 32, 64, 64, 64] {
            let pause = retry.pause(&mut entropy);
            let expected = Duration::from_secs(expected);
            assert!(pause.abs_diff(expected) <= SPREAD, "{pause:?} instead of {expected:?}");
        }
    }
}
