//! Permanent neighbour entries.

use polynic_net::Neighbour;

use super::space::Space;
use super::world::Refusal;
use crate::Errno;

impl Space {
    pub(super) fn add_neighbour(&mut self, neighbour: &Neighbour) -> Result<(), Refusal> {
        self.link(&neighbour.link)?;
        if self.neighbours.iter().any(|n| same(n, neighbour)) {
            return Err(Errno::EEXIST.into());
        }
        self.neighbours.push(neighbour.clone());
        Ok(())
    }

    pub(super) fn delete_neighbour(&mut self, neighbour: &Neighbour) -> Result<(), Refusal> {
        self.link(&neighbour.link)?;
        let at = self.neighbours.iter().position(|n| same(n, neighbour)).ok_or(Errno::ENOENT)?;
        self.neighbours.remove(at);
        Ok(())
    }
}

fn same(a: &Neighbour, b: &Neighbour) -> bool {
    a.link == b.link && a.ip == b.ip
}
