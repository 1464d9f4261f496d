//! Probes before an address is used, and news of it after (spec/spiderpool.md 4 and 4.1).
//!
//! Both need the interface. A main plugin that is executed has made it before it asks for addresses; our own make it afterwards, so what is
//! to be probed waits in a file until then: `<state>/spiderpool/<container>/<interface>.json`.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use polynic_cni::result::{parse_ip, parse_net};
use polynic_kernel::{Kernel, KernelError};
use polynic_net::{Announcement, Change, Needs, Place, Probe, Seek};
use polynic_wire::messages::{AddResponse, IpConfig};
use serde::{Deserialize, Serialize};

use super::answer;
use crate::{Call, Context};

/// Time for an answer to a probe, in milliseconds.
const WINDOW_MS: u64 = 100;

/// The addresses of an interface that wait for it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Waiting {
    /// Socket of the agent they are from.
    pub(super) socket: PathBuf,
    ips: Vec<IpConfig>,
}

impl Waiting {
    /// What an answer of the agent says about the interface.
    pub(super) fn new(socket: &std::path::Path, response: &AddResponse, ifname: &str) -> Self {
        Self { socket: socket.to_owned(), ips: answer::mine(response, ifname).cloned().collect() }
    }

    fn path(context: &Context<'_>, call: &Call<'_>) -> PathBuf {
        let directory = context.state.join("spiderpool").join(call.container_id());
        directory.join(format!("{}.json", call.ifname))
    }

    /// Lays it down until the interface is there.
    pub(super) fn store(&self, context: &Context<'_>, call: &Call<'_>) -> io::Result<()> {
        let path = Self::path(context, call);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(path, serde_json::to_vec(self)?)
    }

    /// Whether something waits for the interface.
    pub(super) fn is_there(context: &Context<'_>, call: &Call<'_>) -> bool {
        Self::path(context, call).exists()
    }

    /// Picks up what waits for the interface. What cannot be read was torn by a crash, before its ADD could succeed.
    pub(super) fn take(context: &Context<'_>, call: &Call<'_>) -> Option<Self> {
        let path = Self::path(context, call);
        let read = fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
        Self::forget(context, call);
        read
    }

    /// Removes what waits for the interface.
    pub(super) fn forget(context: &Context<'_>, call: &Call<'_>) {
        let path = Self::path(context, call);
        let _ = fs::remove_file(&path);
        // Fails while other interfaces wait.
        let _ = path.parent().map(fs::remove_dir);
    }

    /// Asks whether the addresses are free, then whether their gateways answer, all of a kind at the same time, and announces them.
    pub(super) fn settle(&self, kernel: &mut dyn Kernel, call: &Call<'_>) -> Result<(), KernelError> {
        for probes in [self.conflicts(call), self.gateways(call)] {
            if !probes.is_empty() {
                kernel.probe(Place::Pod, &probes)?;
            }
        }
        self.announce(kernel, call);
        Ok(())
    }

    fn conflicts(&self, call: &Call<'_>) -> Vec<Probe> {
        let wanted = self.ips.iter().filter(|ip| ip.enable_ip_conflict_detection);
        wanted.filter_map(address).map(|ip| probe(call, ip, Seek::Nobody)).collect()
    }

    fn gateways(&self, call: &Call<'_>) -> Vec<Probe> {
        let wanted = self.ips.iter().filter(|ip| ip.enable_gateway_detection);
        let gateway = |config: &IpConfig| parse_ip(&config.gateway).ok().flatten();
        let both = wanted.filter_map(|config| Some((gateway(config)?, address(config)?)));
        both.map(|(gateway, from)| probe(call, gateway, Seek::Gateway { from })).collect()
    }

    /// A failure is nobody's: stations learn of the address when they ask.
    fn announce(&self, kernel: &mut dyn Kernel, call: &Call<'_>) {
        let mut needs = Needs::default();
        needs.pod.link(&call.ifname);
        let Ok(facts) = kernel.observe(&needs) else { return };
        let Some(mac) = facts.link(Place::Pod, &call.ifname).and_then(|link| link.mac) else { return };
        for ip in self.ips.iter().filter_map(address) {
            let news = Announcement { link: call.ifname.clone(), ip, mac };
            let _ = kernel.apply(&Change::announce(Place::Pod, news));
        }
    }
}

/// Sets the interface up if it is there already; answers whether it is.
pub(super) fn is_there(kernel: &mut dyn Kernel, call: &Call<'_>) -> Result<bool, KernelError> {
    let mut needs = Needs::default();
    needs.pod.link(&call.ifname);
    let facts = kernel.observe(&needs)?;
    let Some(link) = facts.link(Place::Pod, &call.ifname) else { return Ok(false) };
    if !link.up {
        kernel.apply(&Change::up(Place::Pod, &call.ifname))?;
    }
    Ok(true)
}

fn address(config: &IpConfig) -> Option<IpAddr> {
    parse_net(&config.address).ok().map(|net| net.addr())
}

fn probe(call: &Call<'_>, ip: IpAddr, seek: Seek) -> Probe {
    Probe { link: call.ifname.clone(), ip, seek, interval_ms: WINDOW_MS, count: 1 }
}
