//! Rules and routes with attributes that no plan can name, written to the kernel as bytes.

use std::net::IpAddr;

use netlink_sys::{Socket, protocols::NETLINK_ROUTE};

/// A message under construction: attributes after a fixed header.
pub struct Message {
    kind: u16,
    flags: u16,
    bytes: Vec<u8>,
}

impl Message {
    pub fn new(kind: u16, flags: u16, header: [u8; 12]) -> Self {
        Self { kind, flags, bytes: header.to_vec() }
    }

    pub fn put(&mut self, kind: u16, value: &[u8]) {
        append(&mut self.bytes, kind, value);
    }

    pub fn number(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_ne_bytes());
    }

    pub fn ip(&mut self, kind: u16, ip: IpAddr) {
        self.put(kind, &octets(ip));
    }
}

/// An attribute at the end of a list.
pub fn append(list: &mut Vec<u8>, kind: u16, value: &[u8]) {
    list.extend((4 + value.len() as u16).to_ne_bytes());
    list.extend(kind.to_ne_bytes());
    list.extend(value);
    list.resize(list.len().next_multiple_of(4), 0);
}

pub fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

pub struct Kernel(Socket);

impl Kernel {
    pub fn open() -> Self {
        Self(Socket::new(NETLINK_ROUTE).unwrap())
    }

    /// Whether the kernel took it: what is impossible (a twin, a gateway that cannot be reached) is left out of the world.
    pub fn send(&self, message: &Message) -> bool {
        const REQUEST_AND_ACK: u16 = 5;
        let mut bytes = (16 + message.bytes.len() as u32).to_ne_bytes().to_vec();
        bytes.extend(message.kind.to_ne_bytes());
        bytes.extend((REQUEST_AND_ACK | message.flags).to_ne_bytes());
        bytes.extend([1, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(&message.bytes);
        self.0.send(&bytes, 0).unwrap();
        let mut answer = Vec::with_capacity(8192);
        self.0.recv(&mut answer, 0).unwrap();
        answer[16..20] == [0; 4]
    }
}
