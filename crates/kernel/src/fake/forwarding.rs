//! Forwarding entries of tunnels.

use polynic_net::Forwarding;

use super::link::Wire;
use super::space::Space;
use super::world::Refusal;
use crate::Errno;

impl Space {
    /// Only tunnels send by this table; other links would take the address into a filter, which no plan means. A hardware address is at one endpoint (`vxlan_fdb_add`).
    pub(super) fn add_forwarding(&mut self, entry: &Forwarding) -> Result<(), Refusal> {
        if !matches!(self.link(&entry.link)?.wire, Wire::Vxlan { .. }) {
            return Err(Errno::EOPNOTSUPP.into());
        }
        if self.forwarding.iter().any(|e| same(e, entry)) {
            return Err(Errno::EEXIST.into());
        }
        self.forwarding.push(entry.clone());
        Ok(())
    }

    pub(super) fn delete_forwarding(&mut self, entry: &Forwarding) -> Result<(), Refusal> {
        self.link(&entry.link)?;
        let at = self.forwarding.iter().position(|e| same(e, entry)).ok_or(Errno::ENOENT)?;
        // With another endpoint nothing happens, and nothing is said (`__vxlan_fdb_delete`).
        if self.forwarding[at] == *entry {
            self.forwarding.remove(at);
        }
        Ok(())
    }
}

fn same(a: &Forwarding, b: &Forwarding) -> bool {
    a.link == b.link && a.mac == b.mac
}
