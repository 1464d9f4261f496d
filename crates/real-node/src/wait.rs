//! Waiting for a condition, with a deadline.

use std::thread;
use std::time::{Duration, Instant};

/// How long a condition may take to come true, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_millis(50);

/// Waits until there is an answer, or fails with what `why` says.
///
/// # Panics
/// Patience ends first.
pub fn until<T>(what: &str, mut answer: impl FnMut() -> Option<T>, why: impl FnOnce() -> String) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not in {} s; {}", PATIENCE.as_secs(), why());
        thread::sleep(PAUSE);
    }
}
