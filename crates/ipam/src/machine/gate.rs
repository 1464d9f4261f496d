//! Requests of one pod come one after the other.

use std::collections::VecDeque;

use super::Allocator;
use crate::{PodKey, RequestId};

/// The queue before a pod. It exists while somebody is inside.
#[derive(Debug, Default)]
pub(super) struct Gate {
    waiting: VecDeque<RequestId>,
}

impl Allocator {
    /// Lets a request in, or makes it wait. Answers whether it is in.
    pub(super) fn enter(&mut self, pod: &PodKey, id: RequestId) -> bool {
        match self.gates.get_mut(pod) {
            Some(gate) => {
                gate.waiting.push_back(id);
                false
            }
            None => {
                self.gates.insert(pod.clone(), Gate::default());
                true
            }
        }
    }

    /// The one inside leaves; the next begins.
    pub(super) fn leave(&mut self, pod: &PodKey) {
        while let Some(gate) = self.gates.get_mut(pod) {
            let Some(next) = gate.waiting.pop_front() else {
                self.gates.remove(pod);
                return;
            };
            // One whose time ran out before its turn is answered already.
            if self.requests.contains_key(&next) {
                return self.begin(next);
            }
        }
    }
}
