//! Packet sockets: whole frames of one protocol on one link.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// The protocols that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Arp,
    /// Only what carries UDP to a port.
    Udp(u16),
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
        if let Protocol::Udp(port) = protocol {
            filter(fd.as_fd(), &udp_to(port))?;
        }
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
        Protocol::Udp(_) => libc::ETH_P_IP,
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

/// A program of the classic packet filter: IPv4, UDP, not a later fragment, to this port (Documentation/networking/filter.rst).
/// Without it every packet of the pod would be copied to us.
fn udp_to(port: u16) -> [libc::sock_filter; 9] {
    const LOAD_BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
    const LOAD_HALF: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_ABS) as u16;
    const LOAD_HALF_AT: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_IND) as u16;
    const LOAD_HEADER_LENGTH: u16 = (libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH) as u16;
    const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const IF_ANY: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, k, jt, jf| libc::sock_filter { code, jt, jf, k };
    [
        step(LOAD_BYTE, 23, 0, 0),
        step(IF_EQUAL, 17, 0, 6),
        step(LOAD_HALF, 20, 0, 0),
        step(IF_ANY, 0x1fff, 4, 0),
        step(LOAD_HEADER_LENGTH, 14, 0, 0),
        step(LOAD_HALF_AT, 16, 0, 0),
        step(IF_EQUAL, u32::from(port), 0, 1),
        step(RETURN, u32::MAX, 0, 0),
        step(RETURN, 0, 0, 0),
    ]
}

#[allow(unsafe_code, reason = "socket filters have no safe form")]
fn filter(fd: BorrowedFd<'_>, program: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_ptr().cast_mut(),
    };
    let (option, length) = (libc::SO_ATTACH_FILTER, size_of::<libc::sock_fprog>() as libc::socklen_t);
    let pointer = (&raw const program).cast();
    // SAFETY: the pointer is to a whole sock_fprog, whose own pointer and length are those of a slice; both live through the
    // call, which copies the program and writes to neither.
    let outcome = unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, option, pointer, length) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
