//! Talking netlink: one request at a time on one socket, whose namespace is the one it was opened in.
//!
//! Requests are built from the typed messages of the `netlink-packet-*` crates. Answers are read attribute by attribute
//! with [`attrs`], because a typed parser gives up a whole message for one attribute whose shape a newer kernel changed.

pub(crate) mod attrs;
mod fault;
pub(crate) mod raw;

use std::io;
use std::time::{Duration, Instant};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkHeader,
    NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};

pub(crate) use fault::Fault;
use fault::{AFTER_DONE, AFTER_ERROR, read_error};

/// Room for one datagram. The kernel's dumps fill at most 32 KiB, a link with many virtual functions can be larger.
const BUFFER: usize = 64 * 1024;

/// Room for one batch: some hundred thousand elements of sets. The kernel reserves nothing.
const ROOM: usize = 32 << 20;

/// The kernel answers at once. An answer that never comes is a defect, and an error is better than a hang.
const PATIENCE: Duration = Duration::from_secs(10);

/// For how long a dump that changes underfoot is started anew. On a node that starts hundreds of pods at once, lists of links, routes and
/// neighbours hardly ever hold still.
const DUMP_PATIENCE: Duration = Duration::from_secs(30);

/// The longest pause between two tries: pods come in bursts, and there are gaps.
const DUMP_PAUSE: Duration = Duration::from_millis(20);

/// A netlink socket. It keeps the namespace of the thread that opened it.
pub(crate) struct Socket {
    inner: netlink_sys::Socket,
    sequence: u32,
    buffer: Vec<u8>,
    /// Whether large messages can go out.
    roomy: bool,
}

/// One message of an answer.
struct Reply<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    payload: &'a [u8],
}

impl Reply<'_> {
    fn error(&self, explained_at: usize) -> Result<(), Fault> {
        read_error(self.payload, self.flags, explained_at)
    }
}

impl Socket {
    /// Opens a socket of a netlink family (`NETLINK_ROUTE`, `NETLINK_NETFILTER`) in the calling thread's namespace.
    pub(crate) fn open(family: isize) -> io::Result<Self> {
        let inner = netlink_sys::Socket::new(family)?;
        inner.set_ext_ack(true)?;
        // Errors then carry the request's header only, and the explanation stands at a fixed place.
        inner.set_cap_ack(true)?;
        rustix::net::sockopt::set_socket_timeout(
            &inner,
            rustix::net::sockopt::Timeout::Recv,
            Some(PATIENCE),
        )?;
        // Kernels before 4.20 do not know strict checking. They ignore dump filters, and so every reader filters again.
        let _ = inner.set_netlink_get_strict_chk(true);
        Ok(Self { inner, sequence: 0, buffer: Vec::with_capacity(BUFFER), roomy: false })
    }

    /// Sends a request and waits until the kernel has carried it out.
    pub(crate) fn change<M: NetlinkSerializable>(&mut self, message: M, flags: u16) -> Result<(), Fault> {
        let sequence = self.send(message, NLM_F_REQUEST | NLM_F_ACK | flags)?;
        self.read_until(sequence, |_| {}).map(drop)
    }

    /// Sends a query that has one answer.
    pub(crate) fn get<M: NetlinkSerializable, T>(
        &mut self,
        message: M,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<T, Fault> {
        let sequence = self.send(message, NLM_F_REQUEST)?;
        loop {
            self.receive()?;
            let Some(reply) = replies(&self.buffer).find(|r| r.sequence == sequence) else { continue };
            if reply.kind == NLMSG_ERROR {
                reply.error(AFTER_ERROR)?;
                return Err(Fault::Talk("the kernel acknowledged a query without answering it".into()));
            }
            return read(reply.payload).ok_or_else(|| Fault::Talk("unreadable answer".into()));
        }
    }

    /// Asks for a list; entries for which `read` returns nothing are left out. Starts anew if the list changed meanwhile.
    pub(crate) fn dump<M: NetlinkSerializable + Clone, T>(
        &mut self,
        message: M,
        mut read: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>, Fault> {
        until_whole(DUMP_PATIENCE, || {
            let sequence = self.send(message.clone(), NLM_F_REQUEST | NLM_F_DUMP)?;
            let mut found = Vec::new();
            let whole = self.read_until(sequence, |payload| found.extend(read(payload)))?;
            Ok(whole.then_some(found))
        })
    }

    /// Lets messages of up to [`ROOM`] bytes go out in one piece; without rights on the machine, of up to its limit (`net.core.wmem_max`).
    pub(crate) fn make_room(&mut self) -> Result<(), Fault> {
        use rustix::net::sockopt::{set_socket_send_buffer_size, set_socket_send_buffer_size_force};
        if !self.roomy {
            // The privileged form is not bound to the limit, which a batch with many elements is above.
            match set_socket_send_buffer_size_force(&self.inner, ROOM) {
                Err(rustix::io::Errno::PERM) => set_socket_send_buffer_size(&self.inner, ROOM),
                made => made,
            }
            .map_err(|e| Fault::io(&e.into()))?;
            self.roomy = true;
        }
        Ok(())
    }

    /// Sends one or more finished messages as they are.
    pub(crate) fn send_raw(&self, bytes: &[u8]) -> Result<(), Fault> {
        self.inner.send(bytes, 0).map(drop).map_err(|e| Fault::Talk(format!("cannot send: {e}")))
    }

    /// A sequence number that no earlier request had.
    pub(crate) fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Reads acknowledgements until one for `last` has come and hands each refusal over, as (sequence number, fault).
    /// An error about `first` ends it too: that is how a batch fails as a whole.
    pub(crate) fn read_acks(&mut self, first: u32, last: u32) -> Result<Vec<(u32, Fault)>, Fault> {
        let mut refused = Vec::new();
        loop {
            self.receive()?;
            for reply in replies(&self.buffer).filter(|r| r.kind == NLMSG_ERROR) {
                if let Err(fault) = reply.error(AFTER_ERROR) {
                    refused.push((reply.sequence, fault));
                    if reply.sequence == first {
                        return Ok(refused);
                    }
                }
                if reply.sequence == last {
                    return Ok(refused);
                }
            }
        }
    }

    fn send<M: NetlinkSerializable>(&mut self, message: M, flags: u16) -> Result<u32, Fault> {
        let sequence = self.next_sequence();
        self.send_raw(&encode(message, flags, sequence))?;
        Ok(sequence)
    }

    /// Reads to the end of an answer; false if the kernel says that the list changed meanwhile.
    fn read_until(&mut self, sequence: u32, mut each: impl FnMut(&[u8])) -> Result<bool, Fault> {
        let mut whole = true;
        loop {
            self.receive()?;
            for reply in replies(&self.buffer).filter(|r| r.sequence == sequence) {
                whole &= reply.flags & NLM_F_DUMP_INTR == 0;
                match reply.kind {
                    NLMSG_ERROR => return reply.error(AFTER_ERROR).map(|()| whole),
                    NLMSG_DONE => return reply.error(AFTER_DONE).map(|()| whole),
                    _ => each(reply.payload),
                }
            }
        }
    }

    fn receive(&mut self) -> Result<(), Fault> {
        self.buffer.clear();
        loop {
            match self.inner.recv(&mut self.buffer, libc::MSG_TRUNC) {
                Ok(length) if length > self.buffer.len() => {
                    return Err(Fault::Talk(format!("an answer of {length} bytes was cut short")));
                }
                Ok(_) => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Fault::Talk(format!("cannot receive: {e}"))),
            }
        }
        #[cfg(any(test, feature = "testing"))]
        crate::testing::count(replies(&self.buffer).count(), self.buffer.len());
        Ok(())
    }
}

/// The bytes of one message.
pub(crate) fn encode<M: NetlinkSerializable>(message: M, flags: u16, sequence: u32) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = sequence;
    let mut whole = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
    whole.finalize();
    let mut bytes = vec![0; whole.buffer_len()];
    whole.serialize(&mut bytes);
    bytes
}

/// The messages of a datagram; a malformed rest is left out.
fn replies(mut bytes: &[u8]) -> impl Iterator<Item = Reply<'_>> {
    std::iter::from_fn(move || {
        let header: &[u8; 16] = bytes.first_chunk()?;
        let length = attrs::u32(&header[..])? as usize;
        let payload = bytes.get(16..length)?;
        let reply = Reply {
            kind: attrs::u16(&header[4..])?,
            flags: attrs::u16(&header[6..])?,
            sequence: attrs::u32(&header[8..])?,
            payload,
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(reply)
    })
}

/// Reads a list again, with growing pauses, until nothing changed while it was read.
fn until_whole<T>(
    patience: Duration,
    mut read: impl FnMut() -> Result<Option<T>, Fault>,
) -> Result<T, Fault> {
    let end = Instant::now() + patience;
    let mut pause = Duration::ZERO;
    loop {
        if let Some(whole) = read()? {
            return Ok(whole);
        }
        if Instant::now() >= end {
            return Err(Fault::Talk(format!("the list changed whenever it was read, for {patience:?}")));
        }
        std::thread::sleep(pause);
        pause = (pause + Duration::from_millis(1)).min(DUMP_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_datagram_is_split_at_aligned_lengths() {
        let mut bytes = vec![18, 0, 0, 0, 2, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0xaa, 0xbb, 0, 0];
        bytes.extend([16, 0, 0, 0, 3, 0, 2, 0, 8, 0, 0, 0, 0, 0, 0, 0]);
        let found: Vec<_> =
            replies(&bytes).map(|r| (r.kind, r.flags, r.sequence, r.payload.to_vec())).collect();
        assert_eq!(found, [(2, 0, 7, vec![0xaa, 0xbb]), (3, 2, 8, vec![])]);
    }

    #[test]
    fn a_list_is_read_until_it_holds_still() {
        let mut left = 20;
        let read = || {
            left -= 1;
            Ok((left == 0).then_some("whole"))
        };
        assert_eq!(until_whole(Duration::from_secs(600), read).ok(), Some("whole"));
        assert_eq!(left, 0);
    }

    #[test]
    fn a_list_that_never_holds_still_is_an_error() {
        let mut reads = 0;
        let read = || {
            reads += 1;
            Ok(None::<()>)
        };
        let fault = until_whole(Duration::ZERO, read).err().map(|fault| fault.about("x").to_string());
        assert_eq!(fault.as_deref(), Some("x: the list changed whenever it was read, for 0ns"));
        assert_eq!(reads, 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_split_without_panic(bytes: Vec<u8>) {
            for reply in replies(&bytes) {
                let _ = reply.error(AFTER_ERROR);
                attrs::Attrs::new(reply.payload).for_each(drop);
            }
        }
    }
}
