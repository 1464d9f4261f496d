//! How an agent spreads its writes to a pool that other agents write too.
//!
//! Every successful write of one agent makes the pending writes of all others fail. So with N agents at it, the best
//! is that about one of them tries at any time. An agent cannot know N, but two things tell it about N: its own
//! conflicts, and the writes of others that its watch shows. It waits a random time within a window: conflicts widen
//! it, successes narrow it, and so does a time without anybody else's write. `chance` is 64 random bits.

use crate::{Millis, Pacing};

/// The narrowest window that is kept, in milliseconds: about one round trip to the API server.
const ROUND_TRIP: u64 = 10;

/// The widest window.
const WIDEST: u64 = 60_000;

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
    /// When somebody else's write was last noticed.
    foreign: Option<Millis>,
    /// A pause has just been made: the next write goes out.
    rested: bool,
}

impl Pace {
    pub(crate) fn new(pacing: Pacing) -> Self {
        Self { pacing, conflicts: 0, obstacles: 0, window: 0, foreign: None, rested: false }
    }

    /// How long to wait before a write, if at all.
    pub(crate) fn before_write(&mut self, now: Millis, chance: u64) -> Option<u64> {
        if std::mem::take(&mut self.rested) {
            return None;
        }
        self.calm_down(now);
        if self.window == 0 {
            return None;
        }
        self.rested = true;
        Some(within(self.window, chance))
    }

    /// Somebody else wrote the pool.
    pub(crate) fn foreign_write(&mut self, now: Millis) {
        self.foreign = Some(now);
    }

    /// Our write has met a conflict; answers how long to wait.
    pub(crate) fn conflict(&mut self, now: Millis, chance: u64) -> u64 {
        self.conflicts = self.conflicts.saturating_add(1);
        self.foreign = Some(now);
        self.rested = true;
        match self.pacing {
            Pacing::Geometric(first) => geometric(first, self.conflicts, chance),
            Pacing::Adaptive => {
                self.window = (self.window * 2).clamp(ROUND_TRIP, WIDEST);
                within(self.window, chance)
            }
        }
    }

    /// The API server did not answer; answers how long to wait.
    pub(crate) fn obstacle(&mut self, _now: Millis, chance: u64) -> u64 {
        let pause = (OBSTACLE << self.obstacles.min(6)).min(LONGEST_OBSTACLE);
        self.obstacles = self.obstacles.saturating_add(1);
        self.rested = true;
        pause / 2 + within(pause / 2, chance)
    }

    /// Our write was done.
    pub(crate) fn success(&mut self, _now: Millis) {
        self.conflicts = 0;
        self.obstacles = 0;
        self.window = narrowed(self.window);
    }

    /// Narrows the window for the time in which nobody else wrote.
    fn calm_down(&mut self, now: Millis) {
        let Some(foreign) = self.foreign else { return self.window = 0 };
        let mut quiet = now.since(foreign);
        while self.window > 0 && quiet > self.window {
            quiet -= self.window;
            self.window = narrowed(self.window);
        }
    }
}

fn narrowed(window: u64) -> u64 {
    if window / 2 < ROUND_TRIP { 0 } else { window / 2 }
}

fn within(window: u64, chance: u64) -> u64 {
    chance % window.max(1) + 1
}

/// `first` times 1.5 for each retry before, give or take a tenth.
fn geometric(first: u64, retry: u32, chance: u64) -> u64 {
    let pause = (1..retry.min(20)).fold(first, |pause, _| pause.saturating_add(pause / 2)).min(WIDEST);
    pause - pause / 10 + within(pause / 5, chance)
}
