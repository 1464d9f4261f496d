//! The old iptables (x_tables): what it does with packets that pass through the node. It is no part of nf_tables, and nothing there
//! can accept what it drops.

#![allow(unsafe_code, reason = "these questions are asked by getsockopt with the old iptables' own options")]

use std::fs;
use std::io;
use std::os::fd::AsRawFd;

use polynic_net::Family;

/// The hook of packets that pass through (`NF_INET_FORWARD`).
const FORWARD: usize = 2;
const TABLE: &str = "filter";
/// `IPT_SO_GET_INFO` and `IPT_SO_GET_ENTRIES`; IPv6 has the same numbers.
const GET_INFO: libc::c_int = 64;
const GET_ENTRIES: libc::c_int = 65;

/// `struct ipt_getinfo`: a name, the hooks, where each hook begins and where its policy is, how many rules, how many bytes.
const INFO: usize = 84;
const INFO_UNDERFLOWS: usize = 56;
const INFO_SIZE: usize = 80;
/// `struct ipt_get_entries` without its entries: a name and their size, and what aligns them.
const ENTRIES: usize = 40;
const ENTRIES_SIZE: usize = 32;
/// No table that people write is larger.
const LARGEST: usize = 64 << 20;
/// A policy is a rule with the standard target, whose verdict stands after the target's head: `-NF_DROP - 1`.
const TARGET_HEAD: usize = 32;
const DROP: i32 = -1;

/// Families whose packets the calling thread's namespace drops on their way through, if no rule of the old iptables says otherwise.
pub(super) fn forward_drops() -> Vec<Family> {
    let drops = |family: &Family| has_table(*family) && policy(*family).is_ok_and(|verdict| verdict == DROP);
    [Family::V4, Family::V6].into_iter().filter(drops).collect()
}

/// To ask for a table that is not there would make it.
fn has_table(family: Family) -> bool {
    let file = match family {
        Family::V4 => "/proc/thread-self/net/ip_tables_names",
        Family::V6 => "/proc/thread-self/net/ip6_tables_names",
    };
    fs::read_to_string(file).is_ok_and(|names| names.lines().any(|name| name == TABLE))
}

/// The verdict at the end of FORWARD.
fn policy(family: Family) -> io::Result<i32> {
    let mut info = vec![0; INFO];
    ask(family, GET_INFO, &mut info)?;
    let size = number(&info, INFO_SIZE)?;
    if size > LARGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut entries = vec![0; ENTRIES + size];
    let length = u32::try_from(size).map_err(io::Error::other)?;
    entries[ENTRIES_SIZE..ENTRIES_SIZE + 4].copy_from_slice(&length.to_ne_bytes());
    ask(family, GET_ENTRIES, &mut entries)?;
    // `struct ipt_entry` and `struct ip6t_entry` begin with what packets they are about, and then say where their target is.
    let target_offset = match family {
        Family::V4 => 88,
        Family::V6 => 140,
    };
    let rule = ENTRIES + number(&info, INFO_UNDERFLOWS + 4 * FORWARD)?;
    let target = usize::from(u16::from_ne_bytes(bytes(&entries, rule + target_offset)?));
    Ok(i32::from_ne_bytes(bytes(&entries, rule + target + TARGET_HEAD)?))
}

fn bytes<const N: usize>(buffer: &[u8], at: usize) -> io::Result<[u8; N]> {
    let found = buffer.get(at..).and_then(|rest| rest.first_chunk());
    found.copied().ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn number(buffer: &[u8], at: usize) -> io::Result<usize> {
    usize::try_from(u32::from_ne_bytes(bytes(buffer, at)?)).map_err(io::Error::other)
}

/// One question about the table, whose name comes first in the buffer.
fn ask(family: Family, option: libc::c_int, buffer: &mut [u8]) -> io::Result<()> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
    let (domain, level) = match family {
        Family::V4 => (AddressFamily::INET, libc::IPPROTO_IP),
        Family::V6 => (AddressFamily::INET6, libc::IPPROTO_IPV6),
    };
    let socket = socket_with(domain, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::RAW))?;
    buffer[..TABLE.len()].copy_from_slice(TABLE.as_bytes());
    let mut length = libc::socklen_t::try_from(buffer.len()).map_err(io::Error::other)?;
    // SAFETY: the socket is open, and the kernel writes at most `length` bytes into the buffer, which has that many.
    let done = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, option, buffer.as_mut_ptr().cast(), &raw mut length)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
