//! Errors that pass: too few descriptors, no memory, a namespace that cannot be entered just now. What they kept from being done is done
//! again, soon at first and then less often, and they are told once.

use std::time::Duration;

use crate::Time;

/// The first pause; each following one is twice as long.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// Whether something is tried again, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Trouble {
    pause: Duration,
    again: Option<Time>,
}

impl Trouble {
    /// When it is tried again; none if there is nothing to try.
    pub(super) fn again(&self) -> Option<Time> {
        self.again
    }

    /// Something has to be looked at, and nothing went wrong.
    pub(super) fn look_at(&mut self, at: Time) {
        self.again.get_or_insert(at);
    }

    /// Another try begins.
    pub(super) fn begin(&mut self) {
        self.again = None;
    }

    /// The try failed. Whether it is the first that did.
    pub(super) fn fail(&mut self, now: Time) -> bool {
        let is_first = self.pause.is_zero();
        // Several failures of one try are one.
        if self.again.is_none_or(|again| again <= now) {
            self.pause = if is_first { FIRST } else { (self.pause * 2).min(LONGEST) };
            self.again = Some(now + self.pause);
        }
        is_first
    }

    /// The try ends. Whether that is the end of the trouble.
    pub(super) fn end(&mut self) -> bool {
        let is_over = self.again.is_none() && !self.pause.is_zero();
        if is_over {
            self.pause = Duration::ZERO;
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_the_first_failure_alone_is_told() {
        let mut trouble = Trouble::default();
        let mut now = Duration::from_secs(100);
        for expected in [1, 2, 4, 8, 16, 30, 30] {
            trouble.begin();
            assert_eq!(trouble.fail(now), expected == 1);
            assert!(!trouble.fail(now), "one try fails once");
            assert!(!trouble.end());
            let again = trouble.again().unwrap();
            assert_eq!(again - now, Duration::from_secs(expected));
            now = again;
        }
        trouble.begin();
        assert!(trouble.end(), "told that it is over");
        assert_eq!((trouble.end(), trouble.again()), (false, None));
        assert!(trouble.fail(now), "the next one is told again");
        assert_eq!(trouble.again(), Some(now + FIRST));
    }
}
