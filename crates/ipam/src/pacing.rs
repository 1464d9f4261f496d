//! How an agent spreads its writes to a pool that other agents write too.
//!
//! Every successful write of one agent makes the pending writes of all others fail. So with N agents at it, the best
//! is that about one of them tries at any time. An agent cannot know N. What it sees is its own conflicts, and through
//! its watch the writes of others. So it waits at random within a window. A conflict widens the window fourfold: too
//! wide costs time, too narrow costs everybody a write. Time in which nobody writes halves it, and the wait that is left
//! with it: then the window was too wide, and no write was lost to find out. `chance` is 64 random bits.

use crate::{Millis, Pacing};

/// The narrowest window that is kept, in milliseconds: about one round trip to the API server.
const ROUND_TRIP: u64 = 10;

/// The widest window.
const WIDEST: u64 = 30_000;

/// How long nobody has to write for the pool to count as quiet.
const QUIET: u64 = 40;

/// Pause after the API server did not answer, doubled up to the longest.
const OBSTACLE: u64 = 100;
const LONGEST_OBSTACLE: u64 = 5_000;

/// The pace of one pool on one agent.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    pacing: Pacing,
    /// Conflicts since the last success.
    conflicts: u32,
    /// Obstacles since the last success.
    obstacles: u32,
    /// Width of the window; 0 while nobody is in the way.
    window: u64,
    /// When the next write is to go out, if that is decided.
    due: Option<Millis>,
    /// When somebody else's write was last noticed, or the window last looked at.
    stirred: Millis,
}

impl Pace {
    pub(crate) fn new(pacing: Pacing) -> Self {
        Self { pacing, conflicts: 0, obstacles: 0, window: 0, due: None, stirred: Millis(0) }
    }

    /// Whether others are at the pool: then a state from a cache is too old to be written on.
    pub(crate) fn is_contended(&self) -> bool {
        self.window > 0
    }

    /// How long to wait before a write, if at all. Asked again after each wait.
    pub(crate) fn before_write(&mut self, now: Millis, chance: u64) -> Option<u64> {
        let halvings = self.look(now);
        let left = match self.due {
            Some(due) => due.since(now) >> halvings.min(63),
            None if self.window == 0 => 0,
            None => within(self.window, chance),
        };
        self.wait(now, left)
    }

    /// Somebody else wrote the pool.
    pub(crate) fn foreign_write(&mut self, now: Millis) {
        self.stirred = now;
    }

    /// Our write has met a conflict; answers how long to wait.
    pub(crate) fn conflict(&mut self, now: Millis, chance: u64) -> u64 {
        self.conflicts = self.conflicts.saturating_add(1);
        self.stirred = now;
        let left = match self.pacing {
            Pacing::Geometric(first) => return geometric(first, self.conflicts, chance),
            Pacing::Adaptive => {
                self.window = (self.window * 4).clamp(ROUND_TRIP * 2, WIDEST);
                within(self.window, chance)
            }
        };
        self.wait(now, left).unwrap_or(1)
    }

    /// The API server did not answer; answers how long to wait.
    pub(crate) fn obstacle(&mut self, chance: u64) -> u64 {
        let pause = (OBSTACLE << self.obstacles.min(6)).min(LONGEST_OBSTACLE);
        self.obstacles = self.obstacles.saturating_add(1);
        pause / 2 + within(pause / 2, chance)
    }

    /// Our write was done.
    pub(crate) fn success(&mut self) {
        self.conflicts = 0;
        self.obstacles = 0;
    }

    /// Decides to wait so long, and answers for how long before the next look.
    fn wait(&mut self, now: Millis, left: u64) -> Option<u64> {
        self.due = (left > 0).then(|| now.plus(left));
        (left > 0).then(|| left.min(QUIET))
    }

    /// Narrows the window for every quiet time since somebody stirred; answers how often.
    fn look(&mut self, now: Millis) -> u64 {
        let halvings = now.since(self.stirred) / QUIET;
        if halvings > 0 {
            self.stirred = now;
            self.window >>= halvings.min(63);
            if self.window < ROUND_TRIP {
                self.window = 0;
            }
        }
        halvings
    }
}

fn within(window: u64, chance: u64) -> u64 {
    chance % window.max(1) + 1
}

/// `first` times 1.5 for each retry before, give or take a tenth.
fn geometric(first: u64, retry: u32, chance: u64) -> u64 {
    let pause = (1..retry.min(20)).fold(first, |pause, _| pause.saturating_add(pause / 2)).min(WIDEST);
    pause - pause / 10 + within(pause / 5, chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits until the write goes out, while somebody else writes every `busy` milliseconds; answers how long it took.
    fn wait(pace: &mut Pace, start: Millis, busy: u64) -> u64 {
        let mut now = start;
        let mut pause = Some(pace.conflict(now, u64::MAX));
        while let Some(millis) = pause {
            for _ in 0..millis {
                now = now.plus(1);
                if now.0.is_multiple_of(busy) {
                    pace.foreign_write(now);
                }
            }
            pause = pace.before_write(now, u64::MAX);
        }
        now.since(start)
    }

    #[test]
    fn nobody_waits_for_nobody() {
        assert_eq!(Pace::new(Pacing::Adaptive).before_write(Millis(5), 7), None);
    }

    #[test]
    fn conflicts_widen_the_window_and_quiet_narrows_it() {
        let mut busy = Pace::new(Pacing::Adaptive);
        let mut quiet = Pace::new(Pacing::Adaptive);
        for round in 0..5 {
            let (long, short) = (wait(&mut busy, Millis(0), 10), wait(&mut quiet, Millis(0), u64::MAX));
            assert!(short <= long, "round {round}: {short} {long}");
        }
        assert_eq!(busy.window, 20 * 4_u64.pow(4));
        assert!(quiet.window < busy.window);
        assert_eq!(quiet.before_write(Millis(1_000_000), 7), None);
        assert!(!quiet.is_contended());
    }

    #[test]
    fn the_longest_pause_without_an_answer_is_bounded() {
        let mut pace = Pace::new(Pacing::Adaptive);
        let pauses: Vec<u64> = (0..40).map(|_| pace.obstacle(u64::MAX)).collect();
        assert!(pauses[0] <= 100 && pauses.iter().all(|pause| *pause <= 5_000), "{pauses:?}");
        assert!(pauses[39] >= 2_500);
    }
}
