//! Hearing that something about a namespace's network has changed. What it was is not said: whoever hears it looks at the whole.

use std::io;
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// Multicast groups of rtnetlink (include/uapi/linux/rtnetlink.h): links, then addresses and routes of both families.
const GROUPS: [u32; 5] = [1, 5, 7, 9, 11];

/// Changes of links, addresses and routes in the namespace of the thread that opened this.
pub struct NetworkEvents {
    socket: netlink_sys::Socket,
}

impl NetworkEvents {
    /// Listens from now on.
    ///
    /// # Errors
    /// There can be no such socket.
    pub fn open() -> io::Result<Self> {
        let mut socket = netlink_sys::Socket::new(netlink_sys::protocols::NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        GROUPS.iter().try_for_each(|group| socket.add_membership(*group))?;
        Ok(Self { socket })
    }

    /// Waits until something has changed since the last call, or since this was opened. False if `end` has something to read or has lost its
    /// other side.
    ///
    /// # Errors
    /// The socket is of no use any more.
    pub fn wait(&self, end: impl AsFd) -> io::Result<bool> {
        loop {
            let mut both = [PollFd::new(&self.socket, PollFlags::IN), PollFd::new(&end, PollFlags::IN)];
            match poll(&mut both, None) {
                Err(Errno::INTR) => continue,
                other => other?,
            };
            if !both[1].revents().is_empty() {
                return Ok(false);
            }
            self.drain()?;
            return Ok(true);
        }
    }

    /// Takes what is there. More than there was room for is a change as well.
    fn drain(&self) -> io::Result<()> {
        let mut buffer = Vec::with_capacity(8192);
        loop {
            buffer.clear();
            match self.socket.recv(&mut buffer, 0) {
                Ok(_) => {}
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(why) => match Errno::from_io_error(&why) {
                    Some(Errno::NOBUFS | Errno::INTR) => {}
                    _ => return Err(why),
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use polynic_net::{Address, Change, IfName, Link, LinkKind, Place};

    use super::*;
    use crate::{Door, RealDoor};

    #[test]
    fn changes_are_heard_until_the_end() {
        let Some(_scratch) = crate::testing::scratch_netns() else { return };
        let mut kernel = RealDoor::default().open(None).unwrap();
        let events = NetworkEvents::open().unwrap();
        let (end, keep) = io::pipe().unwrap();
        let link = IfName::new("br0").unwrap();
        let made = Change::create_link(
            Place::Host,
            Link::new(link.clone(), LinkKind::Bridge { vlan_filtering: false }),
        );
        let address = Change::add_address(Place::Host, Address::new(&link, "10.0.0.1/24".parse().unwrap()));
        for change in [made, Change::up(Place::Host, &link), address] {
            kernel.apply(&change).unwrap();
            assert!(events.wait(&end).unwrap(), "{change}");
        }
        drop(keep);
        assert!(!events.wait(&end).unwrap());
    }
}
