//! Who is next: calls of one pod in the order in which they came, pods in turn. A pure state machine.

use std::collections::{HashMap, VecDeque};

/// Work that waits, by key.
pub(crate) struct Order<J> {
    /// Keys that have work or are being worked for.
    lines: HashMap<String, Line<J>>,
    /// Keys that have work and nobody who does it, in the order of their turns.
    ready: VecDeque<String>,
}

struct Line<J> {
    waiting: VecDeque<J>,
    is_busy: bool,
}

impl<J> Default for Order<J> {
    fn default() -> Self {
        Self { lines: HashMap::new(), ready: VecDeque::new() }
    }
}

impl<J> Order<J> {
    /// Work comes in.
    pub(crate) fn push(&mut self, key: &str, job: J) {
        let line = self
            .lines
            .entry(key.to_owned())
            .or_insert_with(|| Line { waiting: VecDeque::new(), is_busy: false });
        if line.waiting.is_empty() && !line.is_busy {
            self.ready.push_back(key.to_owned());
        }
        line.waiting.push_back(job);
    }

    /// The next piece of work, with the key that is busy until [`Order::done`].
    pub(crate) fn next(&mut self) -> Option<(String, J)> {
        let key = self.ready.pop_front()?;
        let line = self.lines.get_mut(&key)?;
        let job = line.waiting.pop_front()?;
        line.is_busy = true;
        Some((key, job))
    }

    /// The work for a key is done; if it has more, it is its turn after all others.
    pub(crate) fn done(&mut self, key: String) {
        let Some(line) = self.lines.get_mut(&key) else { return };
        line.is_busy = false;
        if line.waiting.is_empty() {
            self.lines.remove(&key);
        } else {
            self.ready.push_back(key);
        }
    }

    /// Whether somebody could work now.
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Pieces of work that nobody does yet.
    pub(crate) fn waiting(&self) -> usize {
        self.lines.values().map(|line| line.waiting.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_a_pod_come_one_after_the_other_and_pods_take_turns() {
        let mut order = Order::default();
        for (key, job) in [("a", 1), ("a", 2), ("a", 3), ("b", 4)] {
            order.push(key, job);
        }
        let next = |order: &mut Order<i32>| order.next().map(|(key, job)| (key.clone(), job));
        assert_eq!(next(&mut order), Some(("a".to_owned(), 1)));
        assert_eq!(next(&mut order), Some(("b".to_owned(), 4)));
        assert_eq!(next(&mut order), None, "both pods are busy");
        order.push("b", 5);
        order.done("a".to_owned());
        order.done("b".to_owned());
        assert_eq!(next(&mut order), Some(("a".to_owned(), 2)));
        assert_eq!(next(&mut order), Some(("b".to_owned(), 5)));
        assert_eq!(order.waiting(), 1);
        order.done("b".to_owned());
        order.done("a".to_owned());
        assert_eq!(next(&mut order), Some(("a".to_owned(), 3)));
        order.done("a".to_owned());
        assert!(!order.has_ready() && order.lines.is_empty(), "nothing is kept of what is done");
    }
}
