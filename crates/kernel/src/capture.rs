//! Listening to a link: every frame that comes and goes, for tests and for whoever wants to see packets.

use std::io;

use polynic_net::{IfName, Needs, Place};

use crate::netns::{Host, Netns, Pod};
use crate::probe::{PacketSocket, Protocol};
use crate::{Kernel as _, RealKernel};

/// Longer frames are cut.
const LONGEST: usize = 65_536;

/// A socket that hears everything on one link from the moment it is opened.
pub struct Capture(PacketSocket);

impl Capture {
    /// Listens to a link in a namespace.
    ///
    /// # Errors
    /// There is no such link, or the process may not open packet sockets there.
    pub fn open(network: &Netns<Pod>, link: &IfName) -> io::Result<Self> {
        let host = Netns::<Host>::current()?;
        let refused = |why: String| io::Error::other(why);
        let mut kernel = RealKernel::new(host, Some((network.clone(), "the network")))
            .map_err(|e| refused(e.to_string()))?;
        let mut needs = Needs::default();
        needs.pod.link(link);
        let facts = kernel.observe(&needs).map_err(|e| refused(e.to_string()))?;
        let index = facts.link(Place::Pod, link).map(|link| link.index);
        let index = index
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no link {link}")))?;
        network.run(move || PacketSocket::open(index, Protocol::All))?.map(Self)
    }

    /// The frames that have passed since the last call, from the Ethernet header on.
    ///
    /// # Errors
    /// The link is gone.
    pub fn frames(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut buffer = vec![0; LONGEST];
        let mut frames = Vec::new();
        while let Some(frame) = self.0.receive(&mut buffer)? {
            frames.push(frame.to_vec());
        }
        Ok(frames)
    }
}
