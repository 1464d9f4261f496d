//! Tap devices, which are made through /dev/net/tun and not by message.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use polynic_net::{IfName, Tap};

/// Makes a persistent tap in the calling thread's namespace.
pub(super) fn create(name: &IfName, options: &Tap) -> io::Result<()> {
    // Attaching to a tap that exists would succeed, and making it persistent would take it from whoever made it.
    if exists(name)? {
        return Err(io::Error::from_raw_os_error(libc::EEXIST));
    }
    let tun = File::options().read(true).write(true).open("/dev/net/tun")?;
    let mut request = request(name);
    request.ifr_ifru.ifru_flags = flags(options);
    ioctl(&tun, libc::TUNSETIFF, &raw const request as libc::c_ulong)?;
    if let Some(owner) = options.owner {
        ioctl(&tun, libc::TUNSETOWNER, owner.into())?;
    }
    if let Some(group) = options.group {
        ioctl(&tun, libc::TUNSETGROUP, group.into())?;
    }
    // Until here the device vanishes when the file is closed, so that a failure leaves nothing behind.
    ioctl(&tun, libc::TUNSETPERSIST, 1)
}

fn flags(options: &Tap) -> libc::c_short {
    let mut flags = libc::IFF_TAP | libc::IFF_NO_PI;
    if options.multi_queue {
        flags |= libc::IFF_MULTI_QUEUE;
    }
    if options.vnet_hdr {
        flags |= libc::IFF_VNET_HDR;
    }
    flags as libc::c_short
}

fn exists(name: &IfName) -> io::Result<bool> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::DGRAM, None)?;
    match rustix::net::netdevice::name_to_index(&socket, name.as_str()) {
        Ok(_) => Ok(true),
        Err(rustix::io::Errno::NODEV) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

#[allow(unsafe_code, reason = "the C structure of an ioctl")]
fn request(name: &IfName) -> libc::ifreq {
    // SAFETY: ifreq is a C structure of bytes, numbers and pointers, for all of which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // A name has at most 15 bytes, so the last of the 16 stays zero.
    for (to, from) in request.ifr_name.iter_mut().zip(name.as_str().bytes()) {
        *to = from as libc::c_char;
    }
    request
}

#[allow(unsafe_code, reason = "tap devices are configured by ioctl alone")]
fn ioctl(tun: &File, code: libc::Ioctl, argument: libc::c_ulong) -> io::Result<()> {
    // SAFETY: the descriptor is open, and the argument of these requests is either a plain number or, for TUNSETIFF, the
    // address of an ifreq that outlives the call.
    let result = unsafe { libc::ioctl(tun.as_raw_fd(), code, argument) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
