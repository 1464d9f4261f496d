//! Firewall sockets that wait for their next use.

use std::sync::{Mutex, PoisonError};

use crate::NetnsId;
use crate::netlink::Socket;

/// So many at most: as many as a node has attachments under way at a time.
const MOST: usize = 16;

/// Open firewall sockets of the node's namespace. Closing one after a deletion can wait 10-15 ms for the kernel's clean-up,
/// a batch on an open one takes 0.4 ms; so they pass from one attachment to the next.
#[derive(Default)]
pub(super) struct Idle(Mutex<Vec<(NetnsId, Socket)>>);

impl Idle {
    /// A socket of that namespace, if one is idle.
    pub(super) fn take(&self, netns: NetnsId) -> Option<Socket> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = all.iter().position(|(id, _)| *id == netns)?;
        Some(all.swap_remove(at).1)
    }

    /// Keeps a socket, unless there are enough.
    pub(super) fn keep(&self, netns: NetnsId, socket: Socket) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < MOST {
            all.push((netns, socket));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_serves_again_in_its_own_namespace_only() {
        let idle = Idle::default();
        let id = |inode| NetnsId { device: 4, inode };
        idle.keep(id(1), Socket::open(netlink_sys::protocols::NETLINK_NETFILTER).unwrap());
        assert!(idle.take(id(2)).is_none());
        assert!(idle.take(id(1)).is_some());
        assert!(idle.take(id(1)).is_none());
    }
}
