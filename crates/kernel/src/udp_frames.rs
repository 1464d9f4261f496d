//! Whole Ethernet frames that carry UDP to one port, on one link of a pod: for a protocol that has to speak before the link has an
//! address.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use crate::netns::{Netns, Pod};
use crate::probe::{PacketSocket, Protocol};

/// An open socket. It keeps its namespace alive, so it should not outlive the conversation.
pub struct UdpFrames {
    frames: PacketSocket,
    /// Takes the datagrams that the kernel sees as well: it would answer that nobody is there. Absent if a program of the pod
    /// has the port.
    _sink: Option<UdpSocket>,
}

impl UdpFrames {
    /// Opens a socket on the link with this index in the namespace.
    ///
    /// # Errors
    /// The namespace cannot be entered, there is no such link, or the process may not open packet sockets.
    pub fn open(netns: &Netns<Pod>, index: u32, port: u16) -> io::Result<Self> {
        netns.run(move || {
            let frames = PacketSocket::open(index, Protocol::Udp(port))?;
            Ok(Self { frames, _sink: UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).ok() })
        })?
    }

    /// Sends a whole frame.
    ///
    /// # Errors
    /// The link is down or gone.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.frames.send(frame)
    }

    /// The next frame that is there, cut to `buffer`; none if there is none.
    ///
    /// # Errors
    /// The link is gone.
    pub fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
        self.frames.receive(buffer)
    }
}

impl AsFd for UdpFrames {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.frames.as_fd()
    }
}
