//! Packet sockets: whole frames of one protocol on one link.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// The protocols that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Arp,
    Ipv6,
    /// Everything, also what this host sends.
    All,
}

/// A socket that stays in the namespace of the thread that opened it.
pub(crate) struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Opens a socket on the link with an index.
    pub(crate) fn open(index: u32, protocol: Protocol) -> io::Result<Self> {
        // Protocol 0 hears nothing: until it is bound, it must not collect frames of other links.
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = rustix::net::socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)?;
        bind(fd.as_fd(), index, protocol)?;
        Ok(Self(fd))
    }

    pub(crate) fn send(&self, frame: &[u8]) -> io::Result<()> {
        Ok(rustix::net::send(&self.0, frame, SendFlags::empty()).map(drop)?)
    }

    /// The next frame that is there, cut to `buffer`; none if there is none.
    pub(crate) fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
        match rustix::net::recv(&self.0, &mut *buffer, RecvFlags::empty()) {
            Ok((length, _)) => Ok(buffer.get(..length)),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
            // Says once that the link went down; the conversation goes on or runs out of time.
            Err(rustix::io::Errno::NETDOWN) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[allow(unsafe_code, reason = "packet addresses have no safe form")]
fn bind(fd: BorrowedFd<'_>, index: u32, protocol: Protocol) -> io::Result<()> {
    let number = match protocol {
        Protocol::Arp => libc::ETH_P_ARP,
        Protocol::Ipv6 => libc::ETH_P_IPV6,
        Protocol::All => libc::ETH_P_ALL,
    };
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (number as u16).to_be(),
        sll_ifindex: i32::try_from(index).map_err(io::Error::other)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the pointer is to a whole sockaddr_ll that lives through the call, and the length is its size.
    let outcome = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
