//! Waiting for what the kernel does in its own time.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use polynic_net::{AddressFact, IfName, OperState, Place, Probe, Seek, Wait};

use super::Failure;
use super::space::Space;
use crate::netlink::Fault;
use crate::{Errno, KernelError};

/// How often addresses are looked at (spec/plugins.md 0.3).
const DAD_POLL: Duration = Duration::from_millis(50);
/// How long at most.
const DAD_LIMIT: Duration = Duration::from_secs(5);
/// How often a virtual function's address is set until it has it, and the pause between (spec/sriov.md 4).
const MAC_TRIES: u32 = 20;
const MAC_PAUSE: Duration = Duration::from_millis(100);
/// How often the carrier is looked for, and the pause between: 200 ms in all (spec/sriov.md 4).
const CARRIER_LOOKS: u32 = 10;
const CARRIER_POLL: Duration = Duration::from_millis(20);
/// Pauses before each look at the operational state (spec/plugins.md 1.1).
const OPER_PAUSES: [u64; 5] = [0, 50, 500, 1000, 1000];

impl Space {
    pub(super) fn wait(&mut self, wait: &Wait) -> Result<(), Failure> {
        match wait {
            Wait::Dad { link } => self.wait_for_dad(link),
            Wait::Carrier { link } => self.wait_for_carrier(link),
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

    fn wait_for_carrier(&mut self, link: &IfName) -> Result<(), Failure> {
        for _ in 0..CARRIER_LOOKS {
            if matches!(self.link(link)?.oper, OperState::Up | OperState::Unknown) {
                break;
            }
            std::thread::sleep(CARRIER_POLL);
        }
        Ok(())
    }

    /// Does something until it has the wanted effect; false if it has none to the end. A busy driver is asked again.
    pub(super) fn insist(
        &mut self,
        mut act: impl FnMut(&mut Self) -> Result<bool, Fault>,
    ) -> Result<bool, Fault> {
        for _ in 1..MAC_TRIES {
            match act(self) {
                Ok(false) => {}
                Err(fault) if fault.is(Errno::EAGAIN) || fault.is(Errno::EBUSY) => {}
                outcome => return outcome,
            }
            std::thread::sleep(MAC_PAUSE);
        }
        act(self)
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
