//! Who is next: calls of one pod in the order in which they came, pods in turn, and what must not wait beside what may. A pure state machine.
//!
//! One thing overtakes: what takes a sandbox away waits for calls of that sandbox alone. The pod's next sandbox may be waiting for a default
//! network or the API server, and has no part in it. Whatever else is asked for the pod waits for all that came before.

use std::collections::{HashMap, VecDeque};

/// What a piece of work may wait for. Each lane has turns of its own: a full one keeps no other waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// It may wait for long, for a default network, the API server, or an address.
    Patient,
    /// It works with what is on the node.
    Prompt,
}

/// For whom a piece of work is, which decides what it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whose<'a> {
    /// The pod, or what else its work is ordered by.
    pub(crate) key: &'a str,
    /// The sandbox that it is about, if it is about one.
    pub(crate) sandbox: &'a str,
    /// It waits for work of that sandbox alone.
    pub(crate) overtakes: bool,
}

/// Work that waits, by key.
pub(crate) struct Order<J> {
    /// Keys that have work or are being worked for; the work in the order in which it came.
    lines: HashMap<String, VecDeque<Piece<J>>>,
    patient: Turns,
    prompt: Turns,
    /// The number of the next piece of work.
    number: u64,
}

/// The turns of a lane.
#[derive(Default)]
struct Turns {
    /// Work that waits for nothing but its turn, in the order of the turns.
    ready: VecDeque<Ticket>,
    /// Pieces of work that are being done.
    busy: usize,
}

/// A piece of work that is being done, until [`Order::done`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    key: String,
    number: u64,
}

struct Piece<J> {
    number: u64,
    lane: Lane,
    sandbox: String,
    overtakes: bool,
    /// It waits for nothing but its turn, or has it.
    is_ready: bool,
    /// `None` while it is being done.
    job: Option<J>,
}

impl<J> Piece<J> {
    fn waits_for(&self, earlier: &Self) -> bool {
        !self.overtakes || self.sandbox == earlier.sandbox
    }
}

impl<J> Default for Order<J> {
    fn default() -> Self {
        Self { lines: HashMap::new(), patient: Turns::default(), prompt: Turns::default(), number: 0 }
    }
}

impl<J> Order<J> {
    /// Work comes in.
    pub(crate) fn push(&mut self, lane: Lane, whose: Whose<'_>, job: J) {
        self.number += 1;
        self.lines.entry(whose.key.to_owned()).or_default().push_back(Piece {
            number: self.number,
            lane,
            sandbox: whose.sandbox.to_owned(),
            overtakes: whose.overtakes,
            is_ready: false,
            job: Some(job),
        });
        self.make_ready(whose.key);
    }

    /// The next piece of work. Each lane has `limit` turns; the prompt one goes first.
    pub(crate) fn next(&mut self, limit: usize) -> Option<(Ticket, J)> {
        let lane =
            [Lane::Prompt, Lane::Patient].into_iter().find(|lane| self.turns(*lane).runnable(limit) > 0)?;
        let ticket = self.turns(lane).ready.pop_front()?;
        let line = self.lines.get_mut(&ticket.key)?;
        let job = line.iter_mut().find(|piece| piece.number == ticket.number)?.job.take()?;
        self.turns(lane).busy += 1;
        Some((ticket, job))
    }

    /// A piece of work is done; what waited for it has its turn after all others.
    pub(crate) fn done(&mut self, ticket: &Ticket) {
        let Some(line) = self.lines.get_mut(&ticket.key) else { return };
        let Some(at) = line.iter().position(|piece| piece.number == ticket.number) else { return };
        let Some(done) = line.remove(at) else { return };
        self.turns(done.lane).busy -= 1;
        self.make_ready(&ticket.key);
    }

    /// Gives a turn to all work of a line that has to wait for nobody before it.
    fn make_ready(&mut self, key: &str) {
        let Some(line) = self.lines.get_mut(key) else { return };
        if line.is_empty() {
            self.lines.remove(key);
            return;
        }
        let mut ready = Vec::new();
        for at in 0..line.len() {
            let (earlier, rest) = line.make_contiguous().split_at_mut(at);
            let Some(piece) = rest.first_mut().filter(|piece| !piece.is_ready) else { continue };
            if !earlier.iter().any(|earlier| piece.waits_for(earlier)) {
                piece.is_ready = true;
                ready.push((piece.lane, Ticket { key: key.to_owned(), number: piece.number }));
            }
        }
        for (lane, ticket) in ready {
            self.turns(lane).ready.push_back(ticket);
        }
    }

    /// Pieces of work that somebody could do now.
    pub(crate) fn runnable(&self, limit: usize) -> usize {
        self.patient.runnable(limit) + self.prompt.runnable(limit)
    }

    /// Pieces of work that nobody does yet.
    pub(crate) fn waiting(&self) -> usize {
        self.lines.values().flatten().filter(|piece| piece.job.is_some()).count()
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

    /// An order of numbered work, which notes who is at work by number.
    #[derive(Default)]
    struct Desk {
        order: Order<i32>,
        busy: HashMap<i32, Ticket>,
    }

    impl Desk {
        /// `pod` or `pod/sandbox`; work of the prompt lane that names a sandbox takes it away.
        fn push(&mut self, lane: Lane, whose: &str, job: i32) {
            let (key, sandbox) = whose.split_once('/').unwrap_or((whose, ""));
            let overtakes = lane == Lane::Prompt && !sandbox.is_empty();
            self.order.push(lane, Whose { key, sandbox, overtakes }, job);
        }

        fn next(&mut self, limit: usize) -> Option<i32> {
            let (ticket, job) = self.order.next(limit)?;
            self.busy.insert(job, ticket);
            Some(job)
        }

        fn done(&mut self, job: i32) {
            self.order.done(&self.busy.remove(&job).unwrap());
        }
    }

    #[test]
    fn calls_of_a_pod_come_one_after_the_other_and_pods_take_turns() {
        let mut desk = Desk::default();
        for (key, job) in [("a", 1), ("a", 2), ("a", 3), ("b", 4)] {
            desk.push(Lane::Patient, key, job);
        }
        assert_eq!((desk.next(9), desk.next(9)), (Some(1), Some(4)));
        assert_eq!(desk.next(9), None, "both pods are busy");
        desk.push(Lane::Patient, "b", 5);
        desk.done(1);
        desk.done(4);
        assert_eq!((desk.next(9), desk.next(9)), (Some(2), Some(5)));
        assert_eq!(desk.order.waiting(), 1);
        desk.done(5);
        desk.done(2);
        assert_eq!(desk.next(9), Some(3));
        desk.done(3);
        assert!(
            desk.order.runnable(9) == 0 && desk.order.lines.is_empty(),
            "nothing is kept of what is done"
        );
    }

    #[test]
    fn a_full_lane_keeps_no_other_waiting_and_a_pod_has_one_turn_whatever_its_lane() {
        let mut desk = Desk::default();
        for (key, job) in [("a", 1), ("b", 2), ("c", 3)] {
            desk.push(Lane::Patient, key, job);
        }
        assert_eq!((desk.order.runnable(2), desk.next(2), desk.next(2)), (2, Some(1), Some(2)));
        desk.push(Lane::Prompt, "a", 4);
        desk.push(Lane::Prompt, "d", 5);
        assert_eq!(desk.next(2), Some(5));
        assert_eq!(desk.next(2), None, "a is busy, and c waits for a turn");
        desk.done(1);
        assert_eq!(desk.order.runnable(2), 2);
        assert_eq!((desk.next(2), desk.next(2)), (Some(4), Some(3)));
        desk.push(Lane::Prompt, "e", 6);
        assert_eq!(desk.next(2), None, "the prompt lane has a bound as well");
    }

    #[test]
    fn a_sandbox_goes_though_the_next_one_of_its_pod_is_waiting() {
        let mut desk = Desk::default();
        desk.push(Lane::Patient, "a/new", 1);
        assert_eq!(desk.next(9), Some(1));
        desk.push(Lane::Patient, "a/new", 2);
        desk.push(Lane::Prompt, "a/old", 3);
        assert_eq!((desk.next(9), desk.next(9)), (Some(3), None));
        desk.push(Lane::Patient, "a/newer", 4);
        desk.done(1);
        assert_eq!(desk.next(9), Some(2));
        desk.done(2);
        assert_eq!(desk.next(9), None, "what is attached waits for all that came before");
        desk.done(3);
        assert_eq!(desk.next(9), Some(4));
    }

    #[test]
    fn a_sandbox_goes_only_when_nothing_is_done_for_it_any_more() {
        let mut desk = Desk::default();
        desk.push(Lane::Patient, "a/one", 1);
        desk.push(Lane::Prompt, "a/one", 2);
        desk.push(Lane::Prompt, "a/one", 3);
        for job in [1, 2, 3] {
            assert_eq!((desk.next(9), desk.next(9)), (Some(job), None));
            desk.done(job);
        }
        assert!(desk.order.lines.is_empty());
    }
}
