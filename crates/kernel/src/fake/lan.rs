//! The network around the machine, as far as probes notice it: stations that answer for addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;

use polynic_net::{Announcement, Mac, Probe, Seek};

use super::space::Space;
use super::world::Refusal;
use crate::{Errno, KernelError};

/// The stations outside of the machine, and what they were told. Every link reaches all of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Lan {
    pub(super) stations: BTreeMap<IpAddr, Mac>,
    pub(super) announced: Vec<Announcement>,
}

impl Lan {
    /// Answers probes from links of `space`: links that do not exist or are down cannot be asked from.
    pub(super) fn probe(&self, space: &Space, probes: &[Probe]) -> Result<(), Refusal> {
        for probe in probes {
            if !space.link(&probe.link)?.up {
                return Err(Errno::ENETDOWN.into());
            }
        }
        let verdicts = probes.iter().filter_map(|probe| match (probe.seek, self.stations.get(&probe.ip)) {
            (Seek::Nobody, Some(mac)) => {
                Some(KernelError::Conflict { link: probe.link.clone(), ip: probe.ip, mac: *mac })
            }
            (Seek::Gateway { .. }, None) => {
                Some(KernelError::GatewaySilent { link: probe.link.clone(), gateway: probe.ip })
            }
            _ => None,
        });
        // As with the real network, a conflict weighs more.
        let first = verdicts.min_by_key(|v| !matches!(v, KernelError::Conflict { .. }));
        first.map_or(Ok(()), |verdict| Err(Refusal::Answered(verdict)))
    }
}
