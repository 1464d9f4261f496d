//! Waiting for what the kernel does in its own time.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use polynic_net::{AddressFact, IfName, OperState, Place, Probe, Seek, Wait};

use super::Failure;
use super::space::Space;
use crate::KernelError;

/// How often addresses are looked at (spec/plugins.md 0.3).
const DAD_POLL: Duration = Duration::from_millis(50);
/// How long at most.
const DAD_LIMIT: Duration = Duration::from_secs(5);
/// Pauses before each look at the operational state (spec/plugins.md 1.1).
const OPER_PAUSES: [u64; 5] = [0, 50, 500, 1000, 1000];

impl Space {
    pub(super) fn wait(&mut self, wait: &Wait) -> Result<(), Failure> {
        match wait {
            Wait::Dad { link } => self.wait_for_dad(link),
            Wait::OperUp { link } => self.wait_for_oper_up(link),
        }
    }

    fn wait_for_dad(&mut self, link: &IfName) -> Result<(), Failure> {
        let end = Instant::now() + DAD_LIMIT;
        // A missing link has no addresses either, but it is no success.
        self.index(link)?;
        loop {
            let addresses = self.addresses(link)?;
            if let Some(failed) = addresses.iter().find(|a| a.dad_failed) {
                return Err(Failure::Done(self.dad_failed(link, failed.net.addr())));
            }
            if !addresses.iter().any(unfinished) {
                return Ok(());
            }
            if Instant::now() >= end {
                return self.dad_timed_out(link);
            }
            std::thread::sleep(DAD_POLL);
        }
    }

    /// The kernel does not say who answered: asked once more, they answer again.
    fn dad_failed(&mut self, link: &IfName, ip: IpAddr) -> KernelError {
        let probe = Probe { link: link.clone(), ip, seek: Seek::Nobody, interval_ms: 100, count: 1 };
        let mac = match self.probe(Place::Pod, &[probe]) {
            Err(KernelError::Conflict { mac, .. }) => Some(mac),
            _ => None,
        };
        KernelError::DadFailed { link: link.clone(), ip, mac }
    }

    /// Detection does not even start on a link without carrier, so that no answer is no error there.
    fn dad_timed_out(&mut self, link: &IfName) -> Result<(), Failure> {
        if self.link(link)?.oper != OperState::Up {
            return Ok(());
        }
        let seconds = DAD_LIMIT.as_secs();
        Err(Failure::Waited(format!("link {link} still has tentative addresses after {seconds} seconds")))
    }

    fn wait_for_oper_up(&mut self, link: &IfName) -> Result<(), Failure> {
        let mut last = OperState::Unknown;
        for pause in OPER_PAUSES {
            std::thread::sleep(Duration::from_millis(pause));
            last = self.link(link)?.oper;
            if last == OperState::Up {
                return Ok(());
            }
        }
        Err(Failure::Waited(format!("bridge port in error state: {}", state(last))))
    }
}

fn unfinished(address: &AddressFact) -> bool {
    address.tentative && address.net.addr().is_ipv6()
}

/// The state as tools print it.
fn state(state: OperState) -> &'static str {
    match state {
        OperState::Unknown => "unknown",
        OperState::Down => "down",
        OperState::LowerLayerDown => "lower-layer-down",
        OperState::Dormant => "dormant",
        OperState::Up => "up",
    }
}
