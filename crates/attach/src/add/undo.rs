//! Taking back what a failing ADD did, in reverse order.

use polynic_cni::{Error, Runtime};

use crate::cause;
use crate::delegate_conf::DelegateConf;
use crate::log::Log;
use crate::runtime_conf::Call;
use crate::scratch::{Scratch, ScratchError};

/// What there is to take back.
pub(super) struct Undo {
    scratch: Scratch,
    before: Option<Vec<u8>>,
    started: Vec<usize>,
}

impl Undo {
    /// Remembers the scratch file as it is.
    pub(super) fn new(scratch: Scratch) -> Result<Undo, Error> {
        let before = scratch.bytes().map_err(|why| plain(&why))?;
        Ok(Undo { scratch, before, started: Vec::new() })
    }

    /// Reads what the scratch file named before this ADD: an earlier ADD of the container that has not come to its end, or that is repeated.
    /// A file that cannot be read names nothing.
    pub(super) fn named_before(&self) -> Vec<DelegateConf> {
        let before = self.before.as_deref().map(|bytes| self.scratch.parse(bytes));
        before.and_then(Result::ok).unwrap_or_default()
    }

    /// Writes the scratch file: before the first delegate runs, so that DEL knows of all of them whatever happens to us.
    pub(super) fn write_scratch(&self, delegates: &[DelegateConf]) -> Result<(), Error> {
        self.scratch.write(delegates).map_err(|why| plain(&why))
    }

    /// A delegate is about to run.
    pub(super) fn started(&mut self, index: usize) {
        self.started.push(index);
    }

    /// Deletes what was started, the failing one included. If one of them fails again, the scratch file stays for the runtime's DEL.
    pub(super) fn run(self, runtime: &Runtime<'_>, call: Call<'_>, delegates: &[DelegateConf], log: &Log) {
        let mut failed = false;
        let started = self.started.iter().rev();
        for (index, delegate) in started.filter_map(|index| Some((*index, delegates.get(*index)?))) {
            let conf = call.conf(index, delegate);
            if let Err(why) = runtime.del_list(&delegate.list, &conf) {
                log.error(&format!("undoing {}: {why}", delegate.display_name));
                failed = true;
            }
            call.device_files.remove(&conf).unwrap_or_else(|why| log.error(&why));
        }
        if !failed && let Err(why) = self.scratch.restore(self.before.as_deref()) {
            log.error(&cause::chain(&why));
        }
    }
}

fn plain(why: &ScratchError) -> Error {
    Error::internal(cause::chain(why))
}
