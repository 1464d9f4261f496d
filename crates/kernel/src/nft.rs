//! nf_tables by netlink: every call is one batch, which the kernel carries out whole or not at all.

mod batch;
mod chains;
mod comment;
mod expr;
mod list;
mod message;
mod read;
mod set;
mod table;

use polynic_net::{Change, Diff, FwObject, Object};

use crate::Errno;
use crate::netlink::{Fault, Socket};
use batch::Batch;
pub(crate) use chains::remove as remove_chains;
pub(crate) use list::list;
pub(crate) use read::{inventory, observe};
pub(crate) use table::edit;

/// Why a batch was refused, and by which of its changes if that is known.
pub(crate) struct Refusal {
    /// Position of the change.
    pub(crate) change: Option<usize>,
    /// What the kernel said.
    pub(crate) fault: Fault,
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self { change: None, fault }
    }
}

/// Applies changes as one batch. What is to be made must not exist, what is to be removed must, and chains and tables only
/// go when they are empty.
pub(crate) fn apply(socket: &mut Socket, changes: &[Change]) -> Result<(), Refusal> {
    let mut batch = Batch::new(socket);
    for (position, change) in changes.iter().enumerate() {
        if let Object::Firewall(diff) = &change.object {
            add(&mut batch, position, diff).map_err(|fault| Refusal { change: Some(position), fault })?;
        }
    }
    batch.send()
}

fn add(batch: &mut Batch<'_>, position: usize, diff: &Diff<FwObject>) -> Result<(), Fault> {
    if let (Some(FwObject::Table(_) | FwObject::Chain(_)), Some(_)) = (&diff.before, &diff.after) {
        return Err(Fault::refused(Errno::EOPNOTSUPP, "tables and chains are made and removed, not changed"));
    }
    if let Some(object) = &diff.after {
        let (message, flags) = message::create(object)?;
        batch.push(position, message, flags);
    }
    if let Some(object) = &diff.before {
        let handle = match object {
            FwObject::Rule(rule) => Some(batch.handle_of(rule)?),
            FwObject::Table(_) | FwObject::Chain(_) => None,
        };
        let (message, flags) = message::delete(object, handle);
        batch.push(position, message, flags);
    }
    Ok(())
}
