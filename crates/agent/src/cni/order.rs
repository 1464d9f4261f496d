//! Who is next: calls of one pod in the order in which they came, pods in turn, and what must not wait beside what may. A pure state machine.

use std::collections::{HashMap, VecDeque};

/// What a piece of work may wait for. Each lane has turns of its own: a full one keeps no other waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// It may wait for long, for a default network, the API server, or an address.
    Patient,
    /// It works with what is on the node.
    Prompt,
}

/// Work that waits, by key.
pub(crate) struct Order<J> {
    /// Keys that have work or are being worked for.
    lines: HashMap<String, Line<J>>,
    patient: Turns,
    prompt: Turns,
}

/// The turns of a lane.
#[derive(Default)]
struct Turns {
    /// Keys whose next work is of this lane, and that nobody works for, in the order of their turns.
    ready: VecDeque<String>,
    /// Pieces of work that are being done.
    busy: usize,
}

struct Line<J> {
    waiting: VecDeque<(Lane, J)>,
    /// Of which lane the work is that is being done.
    busy: Option<Lane>,
}

impl<J> Default for Order<J> {
    fn default() -> Self {
        Self { lines: HashMap::new(), patient: Turns::default(), prompt: Turns::default() }
    }
}

impl<J> Order<J> {
    /// Work comes in.
    pub(crate) fn push(&mut self, lane: Lane, key: &str, job: J) {
        let line =
            self.lines.entry(key.to_owned()).or_insert_with(|| Line { waiting: VecDeque::new(), busy: None });
        let is_next = line.waiting.is_empty() && line.busy.is_none();
        line.waiting.push_back((lane, job));
        if is_next {
            self.turns(lane).ready.push_back(key.to_owned());
        }
    }

    /// The next piece of work, with the key that is busy until [`Order::done`]. Each lane has `limit` turns; the prompt one goes first.
    pub(crate) fn next(&mut self, limit: usize) -> Option<(String, J)> {
        let lane =
            [Lane::Prompt, Lane::Patient].into_iter().find(|lane| self.turns(*lane).runnable(limit) > 0)?;
        let key = self.turns(lane).ready.pop_front()?;
        let line = self.lines.get_mut(&key)?;
        let (_, job) = line.waiting.pop_front()?;
        line.busy = Some(lane);
        self.turns(lane).busy += 1;
        Some((key, job))
    }

    /// The work for a key is done; if it has more, it is its turn after all others.
    pub(crate) fn done(&mut self, key: String) {
        let Some(line) = self.lines.get_mut(&key) else { return };
        let Some(lane) = line.busy.take() else { return };
        let next = line.waiting.front().map(|(lane, _)| *lane);
        self.turns(lane).busy -= 1;
        match next {
            None => drop(self.lines.remove(&key)),
            Some(next) => self.turns(next).ready.push_back(key),
        }
    }

    /// Pieces of work that somebody could do now.
    pub(crate) fn runnable(&self, limit: usize) -> usize {
        self.patient.runnable(limit) + self.prompt.runnable(limit)
    }

    /// Pieces of work that nobody does yet.
    pub(crate) fn waiting(&self) -> usize {
        self.lines.values().map(|line| line.waiting.len()).sum()
    }

    fn turns(&mut self, lane: Lane) -> &mut Turns {
        match lane {
            Lane::Patient => &mut self.patient,
            Lane::Prompt => &mut self.prompt,
        }
    }
}

impl Turns {
    fn runnable(&self, limit: usize) -> usize {
        self.ready.len().min(limit.saturating_sub(self.busy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(order: &mut Order<i32>, limit: usize) -> Option<(String, i32)> {
        order.next(limit)
    }

    fn of(key: &str, job: i32) -> Option<(String, i32)> {
        Some((key.to_owned(), job))
    }

    #[test]
    fn calls_of_a_pod_come_one_after_the_other_and_pods_take_turns() {
        let mut order = Order::default();
        for (key, job) in [("a", 1), ("a", 2), ("a", 3), ("b", 4)] {
            order.push(Lane::Patient, key, job);
        }
        assert_eq!(next(&mut order, 9), of("a", 1));
        assert_eq!(next(&mut order, 9), of("b", 4));
        assert_eq!(next(&mut order, 9), None, "both pods are busy");
        order.push(Lane::Patient, "b", 5);
        order.done("a".to_owned());
        order.done("b".to_owned());
        assert_eq!(next(&mut order, 9), of("a", 2));
        assert_eq!(next(&mut order, 9), of("b", 5));
        assert_eq!(order.waiting(), 1);
        order.done("b".to_owned());
        order.done("a".to_owned());
        assert_eq!(next(&mut order, 9), of("a", 3));
        order.done("a".to_owned());
        assert!(order.runnable(9) == 0 && order.lines.is_empty(), "nothing is kept of what is done");
    }

    #[test]
    fn a_full_lane_keeps_no_other_waiting_and_a_pod_has_one_turn_whatever_its_lane() {
        let mut order = Order::default();
        for (key, job) in [("a", 1), ("b", 2), ("c", 3)] {
            order.push(Lane::Patient, key, job);
        }
        assert_eq!(
            (order.runnable(2), next(&mut order, 2), next(&mut order, 2)),
            (2, of("a", 1), of("b", 2))
        );
        order.push(Lane::Prompt, "a", 4);
        order.push(Lane::Prompt, "d", 5);
        assert_eq!(next(&mut order, 2), of("d", 5));
        assert_eq!(next(&mut order, 2), None, "a is busy, and c waits for a turn");
        order.done("a".to_owned());
        assert_eq!(order.runnable(2), 2);
        assert_eq!((next(&mut order, 2), next(&mut order, 2)), (of("a", 4), of("c", 3)));
        order.push(Lane::Prompt, "e", 6);
        assert_eq!(next(&mut order, 2), None, "the prompt lane has a bound as well");
    }
}
