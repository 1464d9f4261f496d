//! Faults that tests order in advance.

use crate::{Errno, KernelError};

/// What happens at an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// This operation is refused.
    Refuse(Errno),
    /// This operation and all later ones fail.
    Crash,
}

/// The count of operations and the faults to come.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    operations: u64,
    planned: Vec<(u64, Fault)>,
    crashed: bool,
}

impl Faults {
    /// Orders a fault for the `n`-th operation from now, counted from 1.
    pub(super) fn plan(&mut self, n: u64, fault: Fault) {
        self.planned.push((self.operations.saturating_add(n), fault));
    }

    pub(super) fn heal(&mut self) {
        self.planned.clear();
        self.crashed = false;
    }

    pub(super) fn operations(&self) -> u64 {
        self.operations
    }

    /// Counts an operation and fails it if a fault is due.
    pub(super) fn strike(&mut self, what: &dyn Fn() -> String) -> Result<(), KernelError> {
        self.operations += 1;
        let due = self.planned.iter().find(|(n, _)| *n == self.operations).map(|(_, fault)| *fault);
        self.crashed |= due == Some(Fault::Crash);
        if self.crashed {
            return Err(KernelError::Talk { what: what(), why: "the process died".to_owned() });
        }
        match due {
            Some(Fault::Refuse(errno)) => {
                let detail = Some("failure on order".to_owned());
                Err(KernelError::Refused { what: what(), errno, detail })
            }
            _ => Ok(()),
        }
    }
}
